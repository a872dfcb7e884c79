"""Types of the whole package, and that the list of modules which are excused (pyproject.toml) is as short as it can be.

python .ci/check_types.py          # fails on an error in a module that is not excused, and on an excuse without need
python .ci/check_types.py --write  # takes the modules that are clean by now out of the list
python .ci/check_types.py --write --all  # lists every module that has errors: for a large merge only
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# These have no excuse.
ALWAYS_CLEAN = ("influence", "agents", "testing")
EXCUSES = re.compile(r"(ignore_errors = )true(\nmodule = \[\n)((?: .*\n)*)\]")


def excused(settings: str) -> list[str]:
    (found,) = EXCUSES.findall(settings)
    return re.findall(r'"(.+)"', found[2])


def errors_by_module(settings: str) -> dict[str, list[str]]:
    """What mypy says of each module when none is excused."""
    with tempfile.TemporaryDirectory() as folder:
        strict = Path(folder) / "pyproject.toml"
        strict.write_text(EXCUSES.sub(r"\1false\2\3]", settings))
        command = [sys.executable, "-m", "mypy", "--config-file", str(strict), "--no-error-summary"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    errors = defaultdict(list)
    for line in done.stdout.splitlines():
        if ": error:" in line:
            module = line.split(":")[0].removesuffix(".py").replace("/", ".").removesuffix(".__init__")
            errors[module].append(line)
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="shorten the list in pyproject.toml")
    parser.add_argument("--all", action="store_true", help="with --write: also add modules to it")
    options = parser.parse_args()
    file = ROOT / "pyproject.toml"
    settings = file.read_text()
    errors = errors_by_module(settings)
    listed = excused(settings)
    if options.write:
        needed = sorted(errors) if options.all else [module for module in listed if module in errors]
        listed = [module for module in needed if module.split(".")[1] not in ALWAYS_CLEAN]
        lines = "".join(f'    "{module}",\n' for module in listed)
        file.write_text(EXCUSES.sub(lambda match: f"{match[1]}true{match[2]}{lines}]", settings))
    wrong = [line for module in sorted(errors) if module not in listed for line in errors[module]]
    wrong += [f"{module} is clean, or gone: take it out of the list" for module in listed if module not in errors]
    wrong += [f"{module} may not be excused" for module in listed if module.split(".")[1] in ALWAYS_CLEAN]
    count = sum(map(len, errors.values()))
    print("\n".join([*wrong, f"{count} errors in {len(errors)} modules, {len(listed)} modules excused"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
