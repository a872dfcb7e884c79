"""Trained populations in the scenarios of their games: plays what is missing, and writes tables and figures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarl_reciprocator.evaluation.checkpoints import (
    Checkpoint,
    differing,
    find_checkpoints,
    who_can_play,
)
from benchmarl_reciprocator.evaluation.layout import record_of
from benchmarl_reciprocator.evaluation.locks import locked
from benchmarl_reciprocator.evaluation.pairings import AGENTS, ALL, contestants_of
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.reports.measured import MeasuredMeetings, skipped_section
from benchmarl_reciprocator.evaluation.scenarios.meetings import Meeting, MeetingRecords, meetings_of
from benchmarl_reciprocator.evaluation.scenarios.reference import Reference, reference_of
from benchmarl_reciprocator.evaluation.scenarios.scenario import OF_AGENTS, Scenario, find_scenarios
from benchmarl_reciprocator.evaluation.scenarios.sections import scenario_sections
from benchmarl_reciprocator.evaluation.scenarios.summary import overall, summarise
from benchmarl_reciprocator.evaluation.scenarios.trained_with import trained_with
from benchmarl_reciprocator.evaluation.sections import write_sections
from benchmarl_reciprocator.tasks.options import check_option, one_of

NAME = "scenarios"


def scenarios(
    places: Sequence[Path],
    only: Sequence[str] = (),
    suite: Mapping[str, Any] | None = None,
    output: Path | None = None,
    agents: str = ALL,
    device: str = "cpu",
) -> MeasuredMeetings:
    """Play what is missing, and write tables, a heat map for each game and what they stand on.

    Args:
        places (sequence of Path): checkpoints and folders, see
            :func:`~benchmarl_reciprocator.evaluation.checkpoints.find_checkpoints`.
        only (sequence of str): names of scenarios, or patterns of them; default: all of the checkpoints' games.
        suite (mapping, optional): whose ``populations`` and ``tasks``, by name, are measured; default: all.
        output (Path, optional): where everything goes; default: ``scenarios`` in the folder of results if there is one
            alone, else here.
        agents (str): which agents of every checkpoint are measured, ``"all"`` or ``"first"``.
        device (str): where agents play.

    Returns:
        MeasuredMeetings: the folder, the report, and which meetings could not be played.

    Raises:
        ValueError: on bad input, or if nothing could be played.
    """
    check_option("agents", agents, agents in AGENTS, one_of(AGENTS))
    checkpoints = find_checkpoints(places)
    if suite is not None:
        known = sorted({checkpoint.population for checkpoint in checkpoints})
        checkpoints = [checkpoint for checkpoint in checkpoints if is_of_suite(checkpoint, suite)]
        names = f"{', '.join(suite['populations'])} in {', '.join(suite['tasks'])}"
        check_option("the suite", names, bool(checkpoints), f"one of whose runs some are there ({one_of(known)})")
    games = {checkpoint.task.name.lower() for checkpoint in checkpoints}
    chosen = [scenario for scenario in find_scenarios(only) if scenario.task in games]
    check_option("the game of the checkpoints", ", ".join(sorted(games)), bool(chosen), "one that has scenarios")
    for scenario in chosen:
        scenario.check()
    alone = len(places) == 1 and places[0].is_dir()
    folder = output or (places[0] / NAME if alone else Path(NAME))
    with locked(folder):
        table = MeetingRecords(folder, device)
        rows: list[dict[str, Any]] = []
        references: dict[str, Reference] = {}
        to_play = [(scenario, _meetings(scenario, checkpoints, agents, table)) for scenario in chosen]
        progress = tqdm(total=sum(len(meetings) for _, meetings in to_play), unit="meeting")
        for scenario, meetings in to_play:
            records = []
            for meeting in meetings:
                records.append((meeting, table.record_of(meeting)))
                progress.update()
            played = [(meeting, record) for meeting, record in records if record is not None]
            if played:
                references[scenario.name] = reference_of(scenario, table)
                rows += as_rows(scenario, played, references[scenario.name])
        progress.close()
        if not rows:
            reasons = table.skipped or ["no population was trained with the rules of a scenario"]
            raise ValueError(f"no scenario could be played: {reasons[0]}")
        by_agent = pd.DataFrame(rows)
        cells = summarise(by_agent)
        totals = overall(by_agent, cells)
        for name, content in (("agents", by_agent), ("scenarios", cells), ("overall", totals)):
            content.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
        shown = [scenario for scenario in chosen if scenario.name in references]
        sections = scenario_sections(by_agent, cells, totals, shown, references, folder)
        text = write_sections([*sections, *skipped_section(table.skipped)], folder, NAME)
        add_setting(folder / "setting.json", f"benchmarl-reciprocator {NAME}")
    return MeasuredMeetings(folder, text, tuple(table.skipped))


def _meetings(
    scenario: Scenario, checkpoints: Sequence[Checkpoint], agents: str, table: MeetingRecords
) -> list[Meeting]:
    """The meetings of all populations that were trained in the game of a scenario."""
    same = [one for one in checkpoints if is_of_its_game(one, scenario)]
    rules = {key: value for key, value in scenario.game().config.items() if key not in OF_AGENTS}
    found: list[Meeting] = []
    for population in dict.fromkeys(checkpoint.population for checkpoint in same):
        own = [checkpoint for checkpoint in same if checkpoint.population == population]
        seen_by = _most_like(own, rules).task.config
        task = scenario.game(seen_by)
        try:
            env = task.options.make_env(1, "cpu", seed=0)
            for contestant in contestants_of(who_can_play(own, task)):
                found += meetings_of(scenario, task, contestant, env, agents)
        except ValueError as error:
            table.skipped.append(f"{population} in {scenario.name}: {error}")
    return found


def is_of_its_game(checkpoint: Checkpoint, scenario: Scenario) -> bool:
    """Whether a checkpoint was trained in the game of a scenario: its task with all options that the scenario names."""
    config = checkpoint.task.config
    same = all(key in config and config[key] == value for key, value in scenario.options.items())
    return checkpoint.task.name.lower() == scenario.task and same


def is_of_suite(checkpoint: Checkpoint, suite: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of a population and, where its run's record tells, of a task of a suite."""
    experiment = checkpoint.file.resolve().parent.parent
    record = record_of(experiment) or record_of(experiment.parent)
    task = None if record is None else json.loads(record.read_text()).get("task")
    return checkpoint.population in suite["populations"] and (task is None or task in suite["tasks"])


def as_rows(
    scenario: Scenario, played: Sequence[tuple[Meeting, Mapping[str, Any]]], reference: Reference
) -> list[dict[str, Any]]:
    """A row for every focal agent, with its mean over the meetings that it took part in.

    Args:
        scenario (Scenario): what was played.
        played (sequence of tuple): meetings and their records, see
            :meth:`~benchmarl_reciprocator.evaluation.scenarios.meetings.MeetingRecords.record_of`.
        reference (Reference): of the scenario.

    Returns:
        list of dict: ``game``, ``scenario``, ``population``, ``own`` (whether they are Reciprocators), ``seed`` and
        ``agent``; ``per_capita``, the return in an episode, and ``normalised`` by the reference; ``others``, the mean
        return of the background, and ``cooperation``, of all focal agents; ``trained_with``, the members of the
        background that the population had learned with, and ``other_rules``, those that it had learned by.
    """
    by_agent: dict[tuple[str, int | None, int | None], list[tuple[Meeting, float, Mapping[str, Any]]]] = {}
    for meeting, record in played:
        for agent, value in zip(meeting.agents, record["by_agent"]):
            by_agent.setdefault((meeting.focal.name, meeting.seed, agent), []).append((meeting, value, record))
    met = {meeting.focal.name: trained_with(meeting.focal, scenario) for meeting, _ in played}
    rows = []
    for (population, seed, agent), found in by_agent.items():
        meeting = found[0][0]
        value = float(np.mean([one for _, one, _ in found]))
        checkpoint = meeting.focal.of_seed(seed)
        others = [key for key in differing(checkpoint, meeting.task) if key not in OF_AGENTS]
        measured = pd.Series([record["cooperation"] for _, _, record in found], dtype=float)
        rows.append(
            {
                "game": game_of(scenario),
                "scenario": scenario.name,
                "population": population,
                "own": meeting.focal.own,
                "seed": seed,
                "agent": agent,
                "per_capita": value,
                "normalised": reference.normalised(value),
                "others": float(np.mean([record["others"] for _, _, record in found])),
                "cooperation": measured.mean(),
                "trained_with": " ".join(met[population]),
                "other_rules": " ".join(f"{key}={checkpoint.task.config[key]}" for key in others),
            }
        )
    return rows


def game_of(scenario: Scenario) -> str:
    """What tells its game from others: the task and the options that it names."""
    return ", ".join([scenario.task, *(f"{key}={value}" for key, value in scenario.options.items())])


def _most_like(checkpoints: Sequence[Checkpoint], rules: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint whose training had the most of the rules."""
    return max(checkpoints, key=lambda one: sum(one.task.config.get(key) == value for key, value in rules.items()))
