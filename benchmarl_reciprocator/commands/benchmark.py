"""Train a suite, populations x tasks x seeds, and report on it.

    benchmarl-reciprocator benchmark suite=quick
    benchmarl-reciprocator benchmark suite=coins suite.seeds=3 folder=results experiment.lr=0.001
    benchmarl-reciprocator benchmark suite=quick +suite.populations.mine=my_algorithm hydra/launcher=ray
    benchmarl-reciprocator benchmark --config-dir=configs suite=mine      (a suite of your own: configs/suite/mine.yaml)

Every run is an ordinary BenchMARL experiment in a folder of its own. Results are on disk as they come. If the command
is stopped, the same command goes on with what is missing, and runs that were under way from their last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec

from benchmarl_reciprocator import extensions
from benchmarl_reciprocator.commands.arguments import (
    BAD_INPUT,
    FAILED,
    FINE,
    PROGRAM,
    inputs_and_outputs,
    with_device,
)
from benchmarl_reciprocator.evaluation.reports.report import write_report
from benchmarl_reciprocator.suites.sweep import run_suite

READS = """
suite=<name>: which runs there are, the file suite/<name>.yaml of this package, of another that extends it, or of
--config-dir
suite.seeds=<number or list>, +suite.populations.<name>=<algorithm or overrides>, +suite.tasks.<name>=...: changes to it
--device <device>: where every run collects, learns and keeps its buffers, such as cuda (default: the cpu)
any other override goes to every run, as in python -m benchmarl.run; hydra/launcher=<name> picks who runs them
folder=<folder>: where the results go (default: benchmark_<suite>); suites can share a folder
"""
WRITES = """
<folder>/runs/<task>/<population>/seed_<n>/: the experiment, its checkpoints, config and record (run.record)
<folder>/report/: tables, statistics and figures, see the command report; report.html opens in any browser
The table of final scores is printed. A run that fails leaves its reason in failure.txt, and the exit code is 1.
"""
LAUNCHER = "hydra_plugins.hydra_joblib_launcher"


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, run the suite and report on all that is in its folder."""
    arguments = list(sys.argv[1:] if command_line is None else command_line)
    if {"-h", "--help"} & set(arguments):
        # Hydra's own would compose one run, which a suite alone does not tell.
        suites = "\n".join(["suites:", f"  {', '.join(sorted(extensions.yaml_files('suite')))}"])
        usage = f"usage: {PROGRAM} benchmark suite=<name> [<override> ...]"
        sys.stdout.write("\n\n".join([usage, (__doc__ or "").strip(), inputs_and_outputs(READS, WRITES), suites, ""]))
        return FINE
    arguments = with_device(f"{PROGRAM} benchmark", arguments)
    if not any(entry.startswith("hydra/launcher=") for entry in arguments):
        need_launcher()
    try:
        outcome = run_suite(arguments)
    except ValueError as error:
        sys.stderr.write(f"{PROGRAM} benchmark: error: {error}\n")
        return BAD_INPUT
    except SystemExit as ended:
        # Hydra has printed why, or what it was asked for.
        return BAD_INPUT if ended.code else FINE
    table = write_report(outcome.folder, failures=outcome.failures)
    sys.stdout.write(f"\n{table}\n\nThe report is {outcome.folder}/report/report.html\n")
    if outcome.failures:
        lines = ["These runs have not finished; the same command goes on with them:", *outcome.failures]
        sys.stderr.write("\n".join(lines) + "\n")
        return FAILED
    return FINE


def need_launcher() -> None:
    """Raise a ``ModuleNotFoundError`` if the launcher that suites use by default is not installed."""
    if find_spec(LAUNCHER) is None:
        raise ModuleNotFoundError(f"No module named {LAUNCHER!r}", name=LAUNCHER)
