"""Files of the repository as pages of the site: results, CONTRIBUTING.md and the like, with their links kept true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs"
RESULTS = "examples/results"
# Pages that stand elsewhere in the repository, and where they are in the site.
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
FENCE = re.compile(r"(^ *```.*?^ *```)", re.M | re.S)
SHOWN = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".txt": "text", ".md": "markdown", ".pyi": "python"}
COPIED = {".png", ".gif", ".csv", ".gz", ".json", ".html", ".tex"}
# Tables of many words, which would come before the pages that explain them
LESS_IN_SEARCH = "---\nsearch:\n  boost: 0.3\n---\n"
# Files that no one runs or edits: of the build.
LEFT_OUT = {"__pycache__"}


def result_pages() -> dict[str, Path]:
    """Every page of the committed results, by its place in the site."""
    return {place_of(file): file for file in sorted((ROOT / RESULTS).rglob("*.md"))}


def own_pages() -> list[Path]:
    """The pages that are written for the site."""
    return [file for file in sorted((ROOT / DOCS).rglob("*.md")) if "notes" not in file.relative_to(ROOT).parts]


def place_of(file: Path) -> str:
    """Where a file of the repository is in the site, whether or not it has a page there yet."""
    path = file.relative_to(ROOT).as_posix()
    if path in PAGES:
        return PAGES[path]
    for start, place in ((f"{DOCS}/", ""), (f"{RESULTS}/", "results/")):
        if path.startswith(start):
            return f"{place}{path.removeprefix(start)}"
    return f"source/{path}.md" if file.suffix in SHOWN else f"source/{path}"


class Linked:
    """The files that pages link to, found while their links are turned to where those files are in the site.

    Attributes:
        files (dict): every such file by its place in the site.
    """

    def __init__(self) -> None:
        self.files: dict[str, Path] = {}

    def turn(self, text: str, file: Path, page: str) -> str:
        """The text of ``file`` with its links to files of the repository as links from ``page``.

        Raises:
            ValueError: on a link to a file that is not there.
        """
        pieces = FENCE.split(text)
        for number in range(0, len(pieces), 2):
            pieces[number] = LINK.sub(lambda match: self._turned(match, file, page), pieces[number])
        return "".join(pieces)

    def _turned(self, match: re.Match[str], file: Path, page: str) -> str:
        target, _, anchor = match[2].partition("#")
        if not target or "://" in target or target.startswith("mailto:"):
            return match[0]
        found = Path(normpath(file.parent / target))
        if file.is_relative_to(ROOT / DOCS) and found.is_relative_to(ROOT / DOCS):
            return match[0]  # MkDocs knows it, and checks it
        if not found.exists():
            raise ValueError(f"a link in {file.relative_to(ROOT)} must lead to a file, but {target} is not there")
        place = self._place(found)
        link = relpath(place, PurePosixPath(page).parent.as_posix())
        return f"{match[1]}({link}{'#' + anchor if anchor else ''})"

    def _place(self, found: Path) -> str:
        if found.is_dir():
            found = next((found / name for name in ("README.md", "report.md") if (found / name).is_file()), found)
        place = f"{place_of(found)}/files.md" if found.is_dir() else place_of(found)
        self.files[place] = found
        return place


def pages_of_files() -> dict[str, str | Path]:
    """Results and other pages of the repository, and all that they and the site's own pages link to: a text or a file
    to copy, by place in the site.
    """
    linked, pages = Linked(), {**result_pages(), **{place: ROOT / file for file, place in PAGES.items()}}
    texts: dict[str, str | Path] = {}
    for place, file in pages.items():
        text = linked.turn(file.read_text(), file, place)
        texts[place] = f"{LESS_IN_SEARCH}{text}" if place.startswith("results/") else text
    for file in own_pages():
        linked.turn(file.read_text(), file, place_of(file))
    for place, file in linked.files.items():
        below = {place_of(inner): inner for inner in files_below(file)} if file.is_dir() else {}
        for page, content in {place: file, **below}.items():
            # MkDocs has what is in its folder.
            if page not in texts and not content.is_relative_to(ROOT / DOCS):
                texts[page] = content if content.suffix in COPIED else page_of_source(content)
    return texts


def page_of_source(file: Path) -> str:
    """A page that shows a text file, or lists a folder."""
    name = file.relative_to(ROOT).as_posix()
    # Not in search: pages of prose should come first there.
    head = "---\nsearch:\n  exclude: true\n---\n"
    if file.is_dir():
        listed = "\n".join(
            f"- [{path.relative_to(file).as_posix()}]({_below(path, file)})" for path in files_below(file)
        )
        return f"{head}# {name}\n\n{listed}\n"
    return f"{head}# {name}\n\n````{SHOWN[file.suffix]}\n{file.read_text()}\n````\n"


def _below(path: Path, folder: Path) -> str:
    place = f"{place_of(folder)}/files.md"
    return relpath(place_of(path), PurePosixPath(place).parent.as_posix())


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder that the site can show or copy."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {*SHOWN, *COPIED} and not LEFT_OUT & set(path.parts):
            yield path
