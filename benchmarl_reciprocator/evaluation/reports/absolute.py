"""The absolute metric: the best policy of every run, evaluated again over ten times as many episodes (Gorsane et al.
2022, arXiv 2209.10485).

The policy is chosen by the evaluations during training. The highest of them is the luckiest too: what the policy is
worth is told by other episodes. BenchMARL's ``absolute_metrics`` is the highest return of a single episode.
"""

from __future__ import annotations

import io
import json
import math
import tempfile
import warnings
from collections import defaultdict
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.agents.setup import read_setup, read_task_file
from benchmarl_reciprocator.agents.trained import load_checkpoint
from benchmarl_reciprocator.evaluation.layout import find_records, runs_folder
from benchmarl_reciprocator.evaluation.locks import locked
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.records import digest_of, earlier_record, slug, write_json
from benchmarl_reciprocator.evaluation.reports.measured import MeasuredMeetings
from benchmarl_reciprocator.evaluation.reports.ordered import OF_TRAINING, OrderedResults, in_order, measured
from benchmarl_reciprocator.evaluation.result_files import RUN, Results, read_results
from benchmarl_reciprocator.evaluation.sections import (
    Bullets,
    Cell,
    Measured,
    Paragraph,
    Section,
    Table,
    literal,
    write_sections,
)
from benchmarl_reciprocator.plugin.best_policy import best_policies, frames_of, return_of
from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# As many as in an evaluation during training, times this
TIMES = 10
RECORDS = "records"
CHOSEN = "return_when_chosen"


class BestOfRun(NamedTuple):
    """The best policy of a run.

    Args:
        file (Path): its checkpoint.
        run (tuple): task, population and seed.
        frames (int): that it was trained on.
        chosen_by (float): the return of the evaluation by which it was chosen.
        episodes (int): of an evaluation during training.
    """

    file: Path
    run: tuple[str, str, int]
    frames: int
    chosen_by: float
    episodes: int


def absolute_metric(
    folder: Path, episodes: int | None = None, output: Path | None = None, device: str = "cpu"
) -> MeasuredMeetings:
    """Evaluate what has no record yet, and write the table.

    Args:
        folder (Path): of a suite.
        episodes (int, optional): of each run, rounded up to whole evaluations as in training; default: ten times as
            many as these have.
        output (Path, optional): where everything goes; default: ``folder / "absolute"``.
        device (str): where it is evaluated.

    Returns:
        MeasuredMeetings: what came out, and the runs that have no absolute metric, with the reasons.

    Raises:
        ValueError: if the folder holds no finished run of a suite, or none has a best policy.
    """
    register()
    output = output or folder / "absolute"
    if not find_records(runs_folder(folder)):
        raise ValueError(f"folder must hold finished runs of a suite, but {str(folder)!r} holds none")
    results = read_results(folder)
    rows, skipped = [], list(results.skipped)
    with locked(output):
        (output / RECORDS).mkdir(exist_ok=True)
        for run, best in tqdm([*_best_of_runs(folder, results)], unit="run"):
            try:
                if isinstance(best, str):
                    raise ValueError(best)
                rows.append(_evaluated(best, runs_folder(folder), episodes, output, device))
            except ValueError as error:
                task, population, seed = run
                skipped.append(f"{task}, {population}, seed {seed}: {error}")
                warnings.warn(f"skipped {skipped[-1]}", stacklevel=2)
        if not rows:
            raise ValueError(f"no run has an absolute metric: {skipped[0]}")
        evaluations = pd.DataFrame(rows)
        runs = results.runs.merge(evaluations[RUN], on=RUN)
        of = in_order(Results(evaluations, pd.DataFrame(columns=RUN), runs))
        _runs_as_table(of).to_csv(output / "absolute_runs.csv", index=False, float_format="%.6g")
        sections = absolute_sections(of)
        skipped += of.left_out
        if skipped:
            reasons = Bullets([literal(reason) for reason in skipped])
            sections.append(Section("Runs without an absolute metric", [reasons]))
        text = write_sections(sections, output, "absolute")
        add_setting(output / "setting.json", "benchmarl-reciprocator absolute")
    return MeasuredMeetings(output, text, tuple(skipped))


def absolute_sections(of: OrderedResults) -> list[Section]:
    """The table.

    Args:
        of (OrderedResults): of one evaluation of every run, see :func:`absolute_metric`.
    """
    rows: list[list[Cell]] = []
    for task in of.tasks:
        measure = of.measures.get(task)
        for population in of.populations_on(task):
            ends = of.ends_of(task, population)
            cooperation: Cell = ""
            if measure is not None:
                cooperation = measured(ends[measure.metric], (measure.low, measure.high))
            rows.append(
                [
                    literal(of.title(task)),
                    of.named(population),
                    measured(ends["score"]),
                    cooperation,
                    measured(ends["worst_off"]),
                    Measured(measured(ends[CHOSEN]).estimate),
                    f"{ends['frames'].median() / 1e6:.2f}",
                    str(len(ends)),
                ]
            )
    head = ["task", "population", "return", "cooperation", "worst-off agent", "return when chosen"]
    table = Table([*head, "million frames when chosen", "seeds"], rows, name="absolute")
    episodes = sorted(set(of.final["episodes"].astype(int)))
    text = (
        "The policy of every run with the highest return in an evaluation during training, evaluated again with other "
        f"random numbers, {' or '.join(map(str, episodes))} episodes each (Gorsane et al. 2022). Interquartile mean "
        "over seeds with its 95% interval. *return when chosen*: of the evaluation by which it was chosen, which is "
        "the highest of many and so too high. *million frames when chosen*: median over seeds."
    )
    return [Section("Absolute metric", [Paragraph(text), table], level=1)]


def _best_of_runs(folder: Path, results: Results) -> Iterator[tuple[tuple[str, str, int], BestOfRun | str]]:
    """The best policy of every run, or why there is none."""
    files: dict[tuple[str, str, int], Path] = {}
    for file in find_records(runs_folder(folder)):
        try:
            record = json.loads(file.read_text())
            run = (str(record["task"]), str(record["population"]), int(record["seed"]))
            files[run] = (file.parent / record["json"]).parent
        except (OSError, ValueError, KeyError, TypeError):
            # Results tell of it.
            continue
    for (task, population, seed), evaluations in results.evaluations.groupby(RUN, sort=False):
        run = (str(task), str(population), int(seed))
        if run not in files:
            yield run, "is not a run of a suite"
            continue
        try:
            yield run, _best_of_run(files[run], run, evaluations)
        except Exception as error:  # what a foreign or half-written file does to unpickling is anything
            yield run, str(error)


def _best_of_run(experiment: Path, run: tuple[str, str, int], evaluations: pd.DataFrame) -> BestOfRun:
    """The best policy of a run.

    Raises:
        ValueError: if it was not kept, or plays by rules that have changed since.
    """
    files = best_policies(experiment)
    if not files:
        raise ValueError("its best policy was not kept (runs of version 0.2 and earlier kept none)")
    chosen_by = return_of(files[-1])
    if "utilitarian" in evaluations and evaluations["utilitarian"].notna().any():
        highest = evaluations["utilitarian"].max()
        # The same, but for the precision in which they were added up
        if highest > chosen_by and not math.isclose(highest, chosen_by, rel_tol=1e-4, abs_tol=1e-4):
            frame = int(evaluations.loc[evaluations["utilitarian"].idxmax(), "frames"])
            raise ValueError(f"the policy of its best evaluation, at frame {frame:,}, was not kept")
    setup = read_setup(files[-1])
    written = (read_task_file(experiment) or {}).get("version")
    if isinstance(setup.task, SocialDilemmaClass) and written not in (None, setup.task.version):
        raise ValueError(f"it was trained on version {written} of its task, but version {setup.task.version} is here")
    return BestOfRun(files[-1], run, frames_of(files[-1]), chosen_by, setup.experiment.evaluation_episodes)


def _evaluated(best: BestOfRun, runs: Path, episodes: int | None, output: Path, device: str) -> dict[str, Any]:
    """A row of evaluations, see :class:`~benchmarl_reciprocator.evaluation.result_files.Results`: from its record where
    there is one.
    """
    batches = TIMES if episodes is None else -(-episodes // best.episodes)
    identity = {
        **dict(zip(RUN, best.run)),
        "checkpoint": best.file.relative_to(runs).as_posix(),
        "frames": best.frames,
        "episodes": batches * best.episodes,
        CHOSEN: best.chosen_by,
    }
    digest = digest_of(identity)
    file = output / RECORDS / f"{slug(best.run[0])}__{slug(best.run[1])}__{digest}.json"
    record = earlier_record(file)
    if record is None:
        record = {**identity, **evaluate_again(best.file, batches, int(digest[:7], 16), device)}
        write_json(file, record)
    return {key: value for key, value in record.items() if key != "checkpoint"}


def evaluate_again(checkpoint: Path, batches: int, seed: int, device: str = "cpu") -> dict[str, float]:
    """Evaluate a checkpoint as its experiment evaluated in training, but with other random numbers.

    Args:
        checkpoint (Path): that an experiment saved.
        batches (int): so many evaluations, each with as many episodes as one in training: no more memory is needed.
        seed (int): of the first; each has one of its own.
        device (str): where it is evaluated.

    Returns:
        dict: by metric the mean over all episodes in which it is defined.

    Raises:
        ValueError: if it cannot be loaded.
    """
    episodes = read_setup(checkpoint).experiment.evaluation_episodes
    values: dict[str, list[float]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as folder,
        seeded(seed),
        redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        # What is to be said of the run was said when it was trained.
        warnings.simplefilter("ignore")
        # BenchMARL's own evaluation, and the JSON that it writes
        experiment = load_checkpoint(
            checkpoint,
            device=device,
            save_folder=folder,
            create_json=True,
            evaluation=True,
            evaluation_episodes=episodes,
        )
        for batch in range(batches):
            experiment.seed = seed + batch
            experiment.test_env.set_seed(experiment.seed)
            experiment.evaluate()
            for name, of_episodes in _metrics(Path(experiment.logger.json_writer.path)).items():
                values[name] += of_episodes
        means = {name: float(np.nanmean(of_episodes)) for name, of_episodes in values.items()}
    return means


def _metrics(json_file: Path) -> dict[str, list[float]]:
    """The values of all episodes of the one evaluation in a JSON of BenchMARL."""
    content = json.loads(json_file.read_text())
    while not any(key.startswith("step_") for key in content):
        (content,) = content.values()
    (metrics,) = (value for key, value in content.items() if key.startswith("step_"))
    return {name: of_episodes for name, of_episodes in metrics.items() if name != "step_count"}


def _runs_as_table(of: OrderedResults) -> pd.DataFrame:
    """A row for each run: all that was measured of it, which is nothing of its training."""
    return of.final.drop(columns=[*OF_TRAINING]).dropna(axis=1, how="all")
