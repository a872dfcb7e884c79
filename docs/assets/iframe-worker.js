// Search from a disk. Browsers do not let a page from a disk start a worker: the theme's worker for search then runs in
// a hidden frame instead. The theme knows such workers by this name.
window.IFrameWorker = class extends EventTarget {
  constructor(url) {
    super();
    this.waiting = [];
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    this.frame.addEventListener("answer", (event) => {
      const answer = new MessageEvent("message", { data: event.data });
      this.dispatchEvent(answer);
      if (this.onmessage) this.onmessage(answer);
    });
    this.frame.addEventListener("load", () => {
      const waiting = this.waiting;
      this.waiting = null;
      waiting.forEach((data) => this.postMessage(data));
    });
    this.frame.srcdoc = `<!doctype html><body><script>
      window.postMessage = (data) => frameElement.dispatchEvent(new MessageEvent("answer", { data }));
      const load = (url) => new Promise((done, failed) => {
        const script = document.createElement("script");
        Object.assign(script, { src: url, onload: done, onerror: failed });
        document.body.append(script);
      });
      window.importScripts = (...urls) => urls.reduce((before, url) => before.then(() => load(url)), Promise.resolve());
    </script><script src="${new URL(url, location)}"></script></body>`;
    document.body.append(this.frame);
  }

  postMessage(data) {
    if (this.waiting) this.waiting.push(data);
    else this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }));
  }

  terminate() {
    this.frame.remove();
  }
};
if (location.protocol === "file:") window.Worker = window.IFrameWorker;
