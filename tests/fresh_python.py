"""Fresh Python processes without the seconds that PyTorch takes to load: each is forked from one that has loaded it,
and nothing of BenchMARL or of this package.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

SERVER = r"""
import json
import os
import sys
import types

import tensordict.nn
import torch
import torchrl.collectors, torchrl.data, torchrl.envs, torchrl.modules, torchrl.objectives

torch.set_num_threads(1)
# readline, not iteration: what is read ahead would be the child's too.
for line in iter(sys.stdin.readline, ""):
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    sys.exit()
printed = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
for number in (1, 2):
    os.dup2(printed, number)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
os.chdir(order["cwd"])
os.environ.clear()
os.environ.update(order["environment"])
path = [folder for folder in order["environment"]["PYTHONPATH"].split(os.pathsep) if folder]
sys.path[1:1] = path
if any(os.path.exists(os.path.join(folder, "sitecustomize.py")) for folder in path):
    # Python has looked for it when it started.
    sys.modules.pop("sitecustomize", None)
    import sitecustomize
sys.argv = ["-c", *order["arguments"]]
main = sys.modules["__main__"] = types.ModuleType("__main__")
exec(compile(order["code"], "<string>", "exec"), main.__dict__)
"""


class Ended(NamedTuple):
    """How a process ended, and what it printed on both streams."""

    code: int
    printed: str


@lru_cache
def _server() -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "OMP_NUM_THREADS": "1"},
    )
    atexit.register(server.communicate)
    return server


def fresh_python(
    code: str, *arguments: str, cwd: Path | str = ".", path: Sequence[Path] = (), more: Mapping[str, str] | None = None
) -> Ended:
    """Run ``code`` as ``python -c code arguments`` does, in a process that has loaded only PyTorch and TorchRL.

    Args:
        code (str): the program.
        *arguments (str): its arguments.
        cwd (Path): where it runs.
        path (sequence of Path): what ``PYTHONPATH`` holds.
        more (mapping, optional): further variables of its environment.
    """
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(more or {})}
    environment["PYTHONPATH"] = os.pathsep.join(map(str, path))
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        order = {"code": code, "arguments": arguments, "cwd": str(Path(cwd).resolve()), "output": str(output)}
        server.stdin.write(json.dumps({**order, "environment": environment}) + "\n")
        server.stdin.flush()
        return Ended(int(server.stdout.readline()), output.read_text())
