"""Runs a suite: what is missing of its runs, by any of Hydra's launchers, with one progress bar over all of them.

Hydra composes the configuration and owns the launchers. It is entered by its ``hydra.main``, which calls back the
sweeper that ``hydra/sweeper=suite`` names, in ``hydra_plugins/benchmarl_reciprocator_suite_sweeper.py``, and that hands
on to :meth:`SuiteTask.sweep`. A launcher then calls :class:`SuiteTask` once for every run, in whatever process it
starts.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast

import hydra
import torch
from benchmarl.hydra_config import load_algorithm_config_from_hydra, load_experiment_config_from_hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from benchmarl_reciprocator.evaluation.layout import FAILURE
from benchmarl_reciprocator.evaluation.locks import InUseError, locked
from benchmarl_reciprocator.evaluation.reports.study import keep_study
from benchmarl_reciprocator.plugin.checks import refuse_missing_devices
from benchmarl_reciprocator.plugin.experiments import hydra_left_as_it_was
from benchmarl_reciprocator.plugin.schedule import settle_frames
from benchmarl_reciprocator.suites.earlier import made_otherwise
from benchmarl_reciprocator.suites.run import refuse_what_cannot_be_recorded, run
from benchmarl_reciprocator.suites.suite import Run, expand, failure, has_record, is_done, iterations_done, told_apart

CONFIG = "benchmark"
# What Hydra's own messages call the program.
PROGRAM = "benchmarl-reciprocator benchmark"
OF_THE_SUITE = ("suite", "folder")
SECONDS_BETWEEN_LOOKS = 2.0

# What stands beside the bar: of the suite's folder and the runs that are under way.
Describe = Callable[[Path, Sequence[Run]], str]


@dataclass
class Outcome:
    """What came of a suite.

    Args:
        folder (Path): of the suite.
        runs (list of Run): all that it stands for.
        failures (list of str): a line for each run that has not finished, and why.
    """

    folder: Path
    runs: list[Run]
    failures: list[str]


def run_suite(arguments: Sequence[str], describe: Describe | None = None) -> Outcome:
    """Run what is missing of a suite, as ``benchmarl-reciprocator benchmark <arguments>`` does before its report.

    Args:
        arguments (sequence of str): Hydra's command line, such as ``["suite=quick", "experiment.lr=0.001"]``.
        describe (callable, optional): what stands beside the progress bar; default: how many runs have finished.

    Returns:
        Outcome: what came of it; a run that failed has left the others as they are.

    Raises:
        ValueError: if the suite or an override is wrong, before anything was started.
        SystemExit: with code 1 where Hydra itself has said on stderr what is wrong, with code 0 where it was asked for
            something else than to run.
    """
    task = SuiteTask(describe)
    arguments = [_path_as_it_is(argument) for argument in arguments]
    with hydra_left_as_it_was(), _command_line(*arguments, "--multirun"):
        program = hydra.main(version_base=None, config_path="pkg://benchmarl_reciprocator.conf", config_name=CONFIG)(
            task
        )
        try:
            program()
        except HydraException as error:
            # Hydra prints its errors itself, but not in a process that is traced, as by a debugger or for coverage.
            raise ValueError(str(error)) from error
    if task.error is not None:
        raise task.error
    if task.outcome is None:
        raise ValueError("hydra/sweeper must be suite: nothing was run")
    return task.outcome


class SuiteTask:
    """What Hydra takes for the program: called for every single run, and by the sweeper for the suite as a whole.

    Args:
        describe (callable, optional): see :func:`run_suite`.
    """

    def __init__(self, describe: Describe | None = None) -> None:
        self.describe = describe or runs_finished
        self.outcome: Outcome | None = None
        self.error: ValueError | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: workers only do single runs."""
        return {}

    def __call__(self, cfg: DictConfig) -> None:
        """One run, in the process that a launcher gave it. A failure is written down, so that the others go on."""
        folder = Path(HydraConfig.get().runtime.output_dir)
        # Another process may be at the same run, or have been since this suite looked what is missing.
        with suppress(InUseError), locked(folder), _quiet_single_thread():
            if has_record(folder):
                return
            (folder / FAILURE).unlink(missing_ok=True)
            try:
                run(folder, cfg, HydraConfig.get().runtime.choices)
            except Exception:
                (folder / FAILURE).write_text(traceback.format_exc(), encoding="utf-8")

    def sweep(self, config: DictConfig, config_loader: Any, launcher: Any, arguments: Sequence[str]) -> Sequence[Any]:
        """Run the suite and keep its outcome. What is the user's to mend is kept too: Hydra would print a traceback.

        Args:
            config (DictConfig): of the whole program.
            config_loader: Hydra's.
            launcher: Hydra's.
            arguments (sequence of str): the command line's overrides.

        Returns:
            sequence: what the launcher returned.
        """
        try:
            self.outcome, returned = sweep(config, config_loader, launcher, arguments, self.describe)
        except ValueError as error:
            self.error = error
            return []
        return returned


def sweep(
    config: DictConfig, config_loader: Any, launcher: Any, arguments: Sequence[str], describe: Describe
) -> tuple[Outcome, Sequence[Any]]:
    """Run what is missing of ``config.suite`` by ``launcher``.

    Args:
        config (DictConfig): of the whole program.
        config_loader: Hydra's.
        launcher: Hydra's.
        arguments (sequence of str): the command line's overrides; those that are not about the suite go to every run.
        describe (callable): what stands beside the progress bar.

    Returns:
        tuple[Outcome, sequence]: what came of it, and what the launcher returned.

    Raises:
        ValueError: if a run cannot be composed, before anything is started.
    """
    # The default folder is named after what Hydra chose.
    HydraConfig.instance().set_config(config)
    common = _common_overrides(config_loader, arguments)
    suite = cast("dict[str, Any]", OmegaConf.to_container(config.suite, resolve=False))
    runs = expand(suite, common)
    folder = Path(config.folder).resolve()
    runs = told_apart(runs, folder / "runs")
    missing = [one for one in runs if not is_done(folder / "runs", one)]
    iterations = _checked(config_loader, config, missing, folder)
    begun = [one for one in runs if (folder / "runs" / one.folder).is_dir()]
    for sentence in made_otherwise(
        folder / "runs", begun, lambda one: config_loader.load_sweep_config(config, _job(one, folder))
    ):
        warnings.warn(sentence, stacklevel=2)
    returned: Sequence[Any] = []
    _refuse_unless_writable(folder)
    if suite.get("study") is not None:
        name = str(HydraConfig.get().runtime.choices.get("suite") or "study")
        keep_study(folder, name, suite["study"], suite["tasks"], suite["populations"])
    if missing:
        total = sum(iterations[one.task, one.population] for one in missing)
        with _progress(folder / "runs", missing, total, describe):
            try:
                returned = launcher.launch([_job(one, folder) for one in missing], initial_job_idx=0)
                for job in returned:
                    # Raises what ended it before its run began; a run's own failure is on disk.
                    _ = job.return_value
            except Exception as error:  # of the launcher: a killed worker, for one. What its runs left stands.
                warnings.warn(f"the launcher stopped: {error!r}", stacklevel=2)
    failures = [
        f"{one.task}, {one.population}, seed {one.seed}: {failure(folder / 'runs', one)}"
        for one in runs
        if not is_done(folder / "runs", one)
    ]
    return Outcome(folder, runs, failures), returned


def _common_overrides(config_loader: Any, arguments: Sequence[str]) -> list[str]:
    """The overrides that are for every run."""
    common = []
    for override in OverridesParser.create(config_loader=config_loader).parse_overrides(list(arguments)):
        line = override.input_line or ""
        if override.is_sweep_override():
            raise ValueError(
                f"{override.key_or_group} must be one value, but is {line.partition('=')[2]!r}: what is to be compared "
                "is a population of the suite, +suite.populations.<name>=[<overrides>]"
            )
        if override.key_or_group.partition(".")[0] not in OF_THE_SUITE:
            common.append(line)
    return common


def _job(one: Run, folder: Path) -> list[str]:
    return [
        "~suite",
        f"folder={quoted(str(folder))}",
        *one.overrides,
        f"seed={one.seed}",
        f"+run.task={quoted(one.task)}",
        f"+run.population={quoted(one.population)}",
        f"+run.overrides=[{','.join(map(quoted, one.overrides))}]",
        f"hydra.sweep.subdir={quoted(one.folder)}",
    ]


def _path_as_it_is(argument: str) -> str:
    """``folder=<any path>``, which Hydra would have quoted where it holds more than ASCII's letters and digits."""
    key, equals, path = argument.partition("=")
    if key != "folder" or not path or path[0] in "'\"" or "${" in path:
        return argument
    return f"{key}{equals}{quoted(path)}"


def quoted(text: str) -> str:
    """Any ``text`` as a value that Hydra's override grammar and OmegaConf's interpolation read as just that."""
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)
    return QuotedString(text=literal, quote=Quote.double).with_quotes()


def _checked(config_loader: Any, config: DictConfig, runs: Sequence[Run], folder: Path) -> dict[tuple[str, str], int]:
    """Iterations by task and population, of runs that are all known to begin.

    Raises:
        ValueError: with a line for every population and task that cannot be composed, before anything is run.
    """
    iterations: dict[tuple[str, str], int] = {}
    errors = []
    for one in runs:
        kind = (one.task, one.population)
        if kind in iterations:
            continue
        iterations[kind] = 0
        try:
            cfg = config_loader.load_sweep_config(config, _job(one, folder))
            on_policy = load_algorithm_config_from_hydra(cfg.algorithm).on_policy()
            experiment = load_experiment_config_from_hydra(cfg.experiment)
            refuse_what_cannot_be_recorded(experiment)
            refuse_missing_devices(experiment)
            settle_frames(experiment, on_policy)
            iterations[kind] = experiment.get_max_n_iters(on_policy)
        except (HydraException, OmegaConfBaseException, ValueError, TypeError, KeyError) as error:
            errors.append(f"{one.task}, {one.population} ({' '.join(one.overrides)}): {error}")
    if errors:
        raise ValueError("\n".join(["these runs cannot be composed, nothing was started:", *errors]))
    return iterations


def _refuse_unless_writable(folder: Path) -> None:
    """Raise if nothing can be written into the suite's folder, whether or not there are runs to be done: the report
    goes there too.

    Raises:
        ValueError: before anything is started.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"folder must be one that can be written, but is {str(folder)!r} ({error})") from error


def runs_finished(folder: Path, runs: Sequence[Run]) -> str:
    """How many of ``runs`` have finished."""
    return f"{sum(is_done(folder, one) for one in runs)}/{len(runs)} runs"


@contextmanager
def _progress(folder: Path, runs: Sequence[Run], total: int, describe: Describe) -> Iterator[None]:
    """A bar over all ``runs`` with the time left, read off the disk: it works with any launcher."""
    finished = Event()

    def show() -> None:
        start = iterations_done(folder, runs)
        with tqdm(total=total, initial=start, unit="iteration", smoothing=0.02, dynamic_ncols=True) as bar:
            waiting = True
            while waiting:
                waiting = not finished.wait(SECONDS_BETWEEN_LOOKS)
                bar.set_postfix_str(describe(folder, runs), refresh=False)
                bar.n = iterations_done(folder, runs)
                bar.refresh()

    watcher = Thread(target=show, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        finished.set()
        watcher.join()


@contextmanager
def _quiet_single_thread() -> Iterator[None]:
    """One thread, the cores being the launcher's to give away, and none of TorchRL's messages."""
    threads, logger = torch.get_num_threads(), logging.getLogger("torchrl")
    level = logger.level
    torch.set_num_threads(1)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        logger.setLevel(level)


@contextmanager
def _command_line(*arguments: str) -> Iterator[None]:
    """What ``hydra.main`` reads in place of the process' own arguments."""
    before, sys.argv = sys.argv, [PROGRAM, *arguments]
    try:
        yield
    finally:
        sys.argv = before
