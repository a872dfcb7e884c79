"""Runs a suite, and reports it: populations x tasks x seeds by one command.

    benchmarl-reciprocator benchmark suite=quick
    benchmarl-reciprocator benchmark suite=coins suite.seeds=3 folder=results experiment.lr=0.001
    benchmarl-reciprocator benchmark suite=quick +suite.populations.mine=my_algorithm hydra/launcher=ray

Every run is an ordinary BenchMARL experiment in a folder of its own. Results are on disk as they come; the same command
goes on with what is missing, runs that were killed from their last checkpoint.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

# Read when tqdm is imported: the bars of single runs would tear the suite's own.
os.environ["TQDM_DISABLE"] = "1"

import hydra
import torch
from benchmarl.hydra_config import (
    load_algorithm_config_from_hydra,
    load_experiment_config_from_hydra,
)
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

import benchmarl_reciprocator.conf
from benchmarl_reciprocator.commands.report import write_report
from benchmarl_reciprocator.evaluation.layout import FAILURE
from benchmarl_reciprocator.suites.run import run
from benchmarl_reciprocator.suites.suite import Run, expand, failure, is_done, iterations_done

OF_THE_SUITE = ("suite", "folder")


@hydra.main(version_base=None, config_path="pkg://benchmarl_reciprocator.conf", config_name="benchmark")
def benchmark(cfg: DictConfig) -> None:
    """One run, in the process that a launcher gave it. A failure is written down, so that the others go on."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    (folder / FAILURE).unlink(missing_ok=True)
    torch.set_num_threads(1)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    try:
        run(folder, cfg, HydraConfig.get().runtime.choices)
    except Exception:
        (folder / FAILURE).write_text(traceback.format_exc())


def sweep(config: DictConfig, config_loader: Any, launcher: Any, arguments: Sequence[str]) -> Sequence[Any]:
    """Run what is missing of ``config.suite`` by ``launcher``, then write and print the report.

    Args:
        config (DictConfig): of the whole program.
        config_loader: Hydra's.
        launcher: Hydra's.
        arguments (sequence of str): the command line's overrides; those that are not about the suite go to every run.

    Returns:
        sequence: what the launcher returned.

    Raises:
        SystemExit: with code 1 if a run failed, with a line for each and why.
    """
    # The default folder is named after what Hydra chose.
    HydraConfig.instance().set_config(config)
    common = _common_overrides(config_loader, arguments)
    runs = expand(OmegaConf.to_container(config.suite, resolve=False), common)
    folder = Path(config.folder).resolve()
    missing = [one for one in runs if not is_done(folder / "runs", one)]
    iterations = _checked(config_loader, config, missing, folder)
    returned: Sequence[Any] = []
    if missing:
        jobs = [_job(one, folder) for one in missing]
        finished, total = Event(), sum(iterations[one.task, one.population] for one in missing)
        bar = Thread(target=_show_progress, args=(folder / "runs", missing, total, finished), daemon=True)
        bar.start()
        try:
            returned = launcher.launch(jobs, initial_job_idx=0)
            for job in returned:
                # Raises what ended it before its run began; a run's own failure is on disk.
                _ = job.return_value
        except Exception as error:  # of the launcher: a killed worker, for one. What its runs left stands.
            warnings.warn(f"the launcher stopped: {error!r}", stacklevel=2)
        finally:
            finished.set()
            bar.join()
    failures = [
        f"{one.task}, {one.population}, seed {one.seed}: {failure(folder / 'runs', one)}"
        for one in runs
        if not is_done(folder / "runs", one)
    ]
    sys.stdout.write(f"\n{write_report(folder, failures=failures)}\n\nThe report is {folder}/report/report.html\n")
    if failures:
        sys.exit("\n".join(["These runs failed; the same command tries them again:", *failures]))
    return returned


def _common_overrides(config_loader: Any, arguments: Sequence[str]) -> list[str]:
    """The overrides that are for every run."""
    common = []
    for override in OverridesParser.create(config_loader=config_loader).parse_overrides(list(arguments)):
        if override.is_sweep_override():
            raise ValueError(
                f"{override.input_line} is not allowed, allowed: one value. What is to be compared is a population of "
                "the suite, +suite.populations.<name>=[<overrides>]"
            )
        if override.key_or_group.partition(".")[0] not in OF_THE_SUITE:
            common.append(override.input_line)
    return common


def _job(one: Run, folder: Path) -> list[str]:
    return [
        "~suite",
        f"folder={json.dumps(str(folder))}",
        *one.overrides,
        f"seed={one.seed}",
        f"+run.task={json.dumps(one.task)}",
        f"+run.population={json.dumps(one.population)}",
        f"+run.overrides={json.dumps(list(one.overrides))}",
        f"hydra.sweep.subdir={json.dumps(one.folder)}",
    ]


def _checked(config_loader: Any, config: DictConfig, runs: Sequence[Run], folder: Path) -> dict[tuple[str, str], int]:
    """Iterations by task and population, of runs that are all known to begin.

    Raises:
        ValueError: with a line for every population and task that cannot be composed, before anything is run.
    """
    iterations, errors = {}, []
    for one in runs:
        kind = (one.task, one.population)
        if kind in iterations:
            continue
        iterations[kind] = 0
        try:
            cfg = config_loader.load_sweep_config(config, _job(one, folder))
            on_policy = load_algorithm_config_from_hydra(cfg.algorithm).on_policy()
            iterations[kind] = load_experiment_config_from_hydra(cfg.experiment).get_max_n_iters(on_policy)
        except (HydraException, OmegaConfBaseException, ValueError, TypeError, KeyError) as error:
            errors.append(f"{one.task}, {one.population} ({' '.join(one.overrides)}): {error}")
    if errors:
        raise ValueError("\n".join(["these runs cannot be composed, nothing was started:", *errors]))
    return iterations


def _show_progress(folder: Path, runs: Sequence[Run], total: int, finished: Event) -> None:
    """A bar over all ``runs`` with the time left, read off the disk: it works with any launcher."""
    start = iterations_done(folder, runs)
    with tqdm(total=total, initial=start, unit="iteration", smoothing=0.02, disable=False) as bar:
        while not finished.wait(2.0):
            bar.update(iterations_done(folder, runs) - bar.n)
            bar.set_postfix_str(f"{sum(is_done(folder, one) for one in runs)}/{len(runs)} runs")
        bar.update(iterations_done(folder, runs) - bar.n)


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line and run the suite; errors of the user's are a few lines, not a traceback."""
    arguments = list(sys.argv[1:] if command_line is None else command_line)
    if {"-h", "--help"} & set(arguments):
        # Hydra's own would compose one run, which a suite alone does not tell.
        suites = (Path(benchmarl_reciprocator.conf.__file__).parent / "suite").glob("*.yaml")
        sys.stdout.write(f"{__doc__}\nSuites: {', '.join(sorted(file.stem for file in suites))}\n")
        return 0
    before, sys.argv = sys.argv, [sys.argv[0], *arguments, "--multirun"]
    try:
        benchmark()
    except ValueError as error:
        sys.exit(str(error))
    finally:
        sys.argv = before
    return 0
