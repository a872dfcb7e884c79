"""The league of a suite: cross-play of every task, in one table with published figures, and the bars that are set."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarl_reciprocator.evaluation.checkpoints import find_checkpoints
from benchmarl_reciprocator.evaluation.crossplay import CrossPlay, crossplay
from benchmarl_reciprocator.evaluation.layout import find_records
from benchmarl_reciprocator.evaluation.league.bars import Bar, Results, answers_table, bars_table, missing, read_bars
from benchmarl_reciprocator.evaluation.league.published import Published, published
from benchmarl_reciprocator.evaluation.league.tables import (
    as_rows,
    league_table,
    our_meetings,
    published_meetings,
)
from benchmarl_reciprocator.evaluation.locks import locked
from benchmarl_reciprocator.evaluation.pairings import ALL
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.records import file_names
from benchmarl_reciprocator.evaluation.reports.measured import MeasuredMeetings, skipped_section
from benchmarl_reciprocator.evaluation.reports.words import title_of, told
from benchmarl_reciprocator.evaluation.sections import (
    Block,
    Bullets,
    Paragraph,
    Section,
    literal,
    write_sections,
)
from benchmarl_reciprocator.tasks.options import check_option, one_of

NAME = "league"
# After what a memory-one strategy would decide
ANSWERS = {f"p_cooperate_after_{outcome}": f"P(C) after {outcome}" for outcome in ("start", "CC", "CD", "DC", "DD")}
# With whom every outcome occurs
PROBE = "random"


def league(
    folder: Path,
    against: Sequence[str] | None = None,
    episodes: int = 200,
    agents: str = ALL,
    device: str = "cpu",
    populations: Sequence[str] | None = None,
) -> MeasuredMeetings:
    """Play what is missing of every task's cross-play, and write the league's tables into ``<folder>/league``.

    Args:
        folder (Path): of a suite, whose finished runs have checkpoints.
        against (sequence of str, optional): scripted players, each in the games that have it; default: see
            :func:`~benchmarl_reciprocator.evaluation.crossplay.crossplay`.
        episodes (int): of each pairing.
        agents (str): which agents of every checkpoint are measured, ``"all"`` or ``"first"``.
        device (str): where agents play.
        populations (sequence of str, optional): names, or patterns such as ``Recip*``, of those that take part;
            default: all.

    Returns:
        MeasuredMeetings: the league's folder, its report, and which pairings could not be played.

    Raises:
        ValueError: if there is no such folder, it has no finished run, a player is no game's, a pattern is no
            population's, or nothing could be played.
    """
    runs = taking_part(runs_by_task(folder), populations)
    players = {task: find_checkpoints([next(iter(places))])[0].task.players() for task, places in runs.items()}
    everybody = sorted(set().union(*players.values()))
    for name in against or ():
        check_option("against", name, name in everybody, one_of(everybody))
    output = folder / NAME
    bars = read_bars()
    with locked(output):
        sections = [_head()]
        numbers: list[dict[str, Any]] = []
        skipped: list[str] = []
        files = file_names(runs)
        for task, places in runs.items():
            met = None if against is None else [name for name in against if name in players[task]]
            played = crossplay([*places], (), met, episodes, folder / "crossplay" / files[task], agents, device)
            skipped += [f"{task}: {line}" for line in played.skipped]
            leagues = published(played.task)
            results = Results(folder, task, files[task], places, played.table)
            meetings = [*our_meetings(played.table)]
            meetings += [meeting for one in leagues for meeting in published_meetings(one)]
            numbers += as_rows(task, meetings)
            trained = [one for one in played.contestants if not one.scripted]
            learned = [one.name for one in sorted(trained, key=lambda one: not one.own)]
            scripted = [one.name for one in played.contestants if one.scripted]
            table = league_table(meetings, learned, scripted, f"{NAME}_{files[task]}")
            sections.append(Section(title_of(task), [Paragraph(_setting(played)), table, *_sources(leagues)]))
            sections += _of_agents(results, bars.get(task, []), learned)
        pd.DataFrame(numbers).to_csv(output / f"{NAME}.csv", index=False)
        text = write_sections([*sections, *skipped_section(skipped)], output, NAME)
        add_setting(output / "setting.json", f"benchmarl-reciprocator {NAME}")
    return MeasuredMeetings(output, text, tuple(skipped))


def runs_by_task(folder: Path) -> dict[str, dict[Path, str]]:
    """The finished runs of a suite by the names of its tasks, each with its population.

    Raises:
        ValueError: if there is none.
    """
    runs: dict[str, dict[Path, str]] = {}
    for file in find_records(folder / "runs"):
        record = json.loads(file.read_text())
        runs.setdefault(str(record["task"]), {})[file.parent] = str(record["population"])
    if not runs:
        raise ValueError(f"folder must hold finished runs of a suite, <folder>/runs/, but is {str(folder)!r}")
    return runs


def taking_part(runs: dict[str, dict[Path, str]], patterns: Sequence[str] | None) -> dict[str, dict[Path, str]]:
    """The ``runs`` of those populations whose names match one of ``patterns`` (default: all), see
    :func:`runs_by_task`.

    Raises:
        ValueError: if a pattern matches none.
    """
    if patterns is None:
        return runs
    names = sorted({name for places in runs.values() for name in places.values()})
    for pattern in patterns:
        check_option("populations", pattern, any(fnmatchcase(name, pattern) for name in names), one_of(names))
    chosen = {
        task: {place: name for place, name in places.items() if any(fnmatchcase(name, one) for one in patterns)}
        for task, places in runs.items()
    }
    return {task: places for task, places in chosen.items() if places}


def _head() -> Section:
    text = (
        "Who comes to what with whom: populations that were trained here, scripted players, and published figures of "
        "the same game. Scores per step, the population's / its co-player's. Ours: mean [95% interval by a bootstrap "
        "of two levels: seeds, then the agents of both sides]; published figures as they were published. *with "
        "itself*: those that trained together. *worst case*: the lowest of the row."
    )
    return Section("The league", [Paragraph(text)], level=1)


def _setting(played: CrossPlay) -> str:
    text = f"{told(played.task.config)}. {played.table['episodes'].max()} episodes of each pairing."
    n_agents = played.task.options.make_env(1, "cpu", seed=0).n_agents
    if n_agents > 2:
        text += f" The population has one agent in the game, its co-player the {n_agents - 1} others."
    return text


def _sources(leagues: Sequence[Published]) -> list[Block]:
    if not leagues:
        return [Paragraph("No published league of this game is known to this package.")]
    return [
        Paragraph("Published figures, and what is not the same there:"),
        Bullets([f"{literal(one.name)}: {literal(one.source)}. {one.unit}. {one.difference}." for one in leagues]),
    ]


def _of_agents(results: Results, bars: Sequence[Bar], learned: Sequence[str]) -> list[Section]:
    """The bars that are set for a task, and how every agent answers."""
    sections = []
    title = title_of(results.task)
    if bars:
        blocks: list[Block] = [bars_table(results, bars, learned)]
        lines = [f"`{_command(results, one, learned[0])}`" for one in missing(results, bars)]
        if lines:
            blocks += [Paragraph("What is not measured yet is measured by:"), Bullets(lines)]
        sections.append(Section(f"{title}: what is to be reached", blocks, level=3))
    answers = answers_table(results.pairings, ANSWERS, PROBE, f"answers_{results.file_name}")
    if answers is not None:
        text = f"Each agent with `{PROBE}`, with whom every outcome occurs; its own action is named first:"
        sections.append(Section(f"{title}: how every agent answers", [Paragraph(text), answers], level=3))
    return sections


def _command(results: Results, command: str, population: str) -> str:
    """By which the results of ``command`` on a population come beside the runs."""
    # A contestant of several algorithms is called "<population>: <algorithm>".
    names = (population, population.rpartition(": ")[0])
    runs = sorted({str(run.parent) for run, name in results.runs.items() if name in names})
    output = results.folder / command / results.file_name
    return shlex.join(["benchmarl-reciprocator", command, *runs, "--output", str(output)])
