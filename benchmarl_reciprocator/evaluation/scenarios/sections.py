"""What scenarios came to, in sections: an overview, then a table and a heat map for each game."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarl_reciprocator.evaluation.figures import heat_map
from benchmarl_reciprocator.evaluation.records import file_names
from benchmarl_reciprocator.evaluation.reports.words import counted, listed, plain, title_of
from benchmarl_reciprocator.evaluation.scenarios.reference import Reference
from benchmarl_reciprocator.evaluation.scenarios.scenario import Scenario
from benchmarl_reciprocator.evaluation.scenarios.summary import NORMALISED, RETURN
from benchmarl_reciprocator.evaluation.sections import (
    Block,
    Bullets,
    Cell,
    Figure,
    Measured,
    Paragraph,
    Section,
    Table,
    literal,
)

MARK = "†"


def scenario_sections(
    rows: pd.DataFrame,
    cells: pd.DataFrame,
    totals: pd.DataFrame,
    scenarios: Sequence[Scenario],
    references: Mapping[str, Reference],
    folder: Path,
) -> list[Section]:
    """The document, whose figures are drawn into ``folder``.

    Args:
        rows (DataFrame): by agent, see :func:`~benchmarl_reciprocator.evaluation.scenarios.scenarios.as_rows`.
        cells (DataFrame): by population and scenario, see
            :func:`~benchmarl_reciprocator.evaluation.scenarios.summary.summarise`.
        totals (DataFrame): by population and game, see
            :func:`~benchmarl_reciprocator.evaluation.scenarios.summary.overall`.
        scenarios (sequence of Scenario): that were played.
        references (mapping): by the scenarios' names.
        folder (Path): where the figures go.
    """
    text = (
        "Trained agents in the focal seats, among others whom they have not learned with and who do not learn from "
        "them. Returns in an episode, of each focal agent, normalised by the scenario's reference set: 0 as the worst "
        "scripted player in the focal seats, 1 as the best. Interquartile mean [95% interval by a bootstrap over "
        "seeds, each with all its agents]."
    )
    if (cells["trained_with"] != "").any():
        text += f" {MARK}: the population had learned with a part of this background."
    head = Section("Scenarios", [Paragraph(text), _overview(totals)], level=1)
    sections = [head]
    files = file_names(cells["game"].unique())
    for game in cells["game"].unique():
        own = cells[cells["game"] == game]
        names = [one.name for one in scenarios if one.name in set(own["scenario"])]
        own_method = set(rows.loc[rows["own"], "population"])
        populations = sorted(own["population"].unique(), key=lambda name: name not in own_method)
        picture = f"{files[game]}.png"
        _draw(own, names, populations, folder / picture)
        played = [one for one in scenarios if one.name in names]
        name, _, settings = game.partition(", ")
        title = title_of(name) + (f": {settings}" if settings else "")
        blocks: list[Block] = [
            Paragraph("Normalised return of a focal agent:"),
            _normalised(own, names, populations, f"scenarios_{files[game]}"),
            Figure(picture, f"Normalised return of a focal agent in the scenarios of {title}"),
            Paragraph("Return in an episode, and the ends of the reference set:"),
            _returns(own, played, populations, references),
            Paragraph("Who is met:"),
            Bullets([_told(one, references[one.name]) for one in played]),
            *_trained_otherwise(rows[rows["game"] == game]),
        ]
        sections.append(Section(title, blocks))
    return sections


def _overview(totals: pd.DataFrame) -> Table:
    table: list[list[Cell]] = []
    for row in totals.itertuples():
        worst = Measured(row.worst, row.worst_low, row.worst_high)
        number = Measured(row.normalised, row.normalised_low, row.normalised_high, bounds=(0.0, 1.0))
        counts = f"{counted(row.seeds, 'seed')}, {counted(row.agents, 'agent')}"
        in_which = f"{worst} in {literal(row.worst_scenario)}"
        table.append([literal(row.population), literal(row.game), number, in_which, str(row.scenarios), counts])
    columns = ["population", "game", "normalised return, all scenarios", "worst case over scenarios", "scenarios", "of"]
    return Table(columns, table, name="scenarios")


def _at(cells: pd.DataFrame, scenario: str, population: str) -> pd.Series | None:
    found = cells[(cells["scenario"] == scenario) & (cells["population"] == population)]
    return None if found.empty else found.iloc[0]


def _measured(cell: pd.Series | None, value: str) -> tuple[float, float, float]:
    if cell is None:
        return (math.nan,) * 3
    return cell[value], cell[f"{value}_low"], cell[f"{value}_high"]


def _normalised(cells: pd.DataFrame, scenarios: Sequence[str], populations: Sequence[str], name: str) -> Table:
    table: list[list[Cell]] = []
    for scenario in scenarios:
        found = [_at(cells, scenario, population) for population in populations]
        shown = [Measured(*_measured(cell, NORMALISED)) for cell in found]
        marks = ["" if cell is None or not cell["trained_with"] else f" {MARK}" for cell in found]
        table.append([literal(scenario), *(f"{value}{mark}" for value, mark in zip(shown, marks))])
    return Table(["scenario", *map(literal, populations)], table, name=name)


def _returns(
    cells: pd.DataFrame,
    scenarios: Sequence[Scenario],
    populations: Sequence[str],
    references: Mapping[str, Reference],
) -> Table:
    table: list[list[Cell]] = []
    for scenario in scenarios:
        reference = references[scenario.name]
        ends = [f"{reference.returns[name]:.2f} ({literal(name)})" for name in (reference.worst, reference.best)]
        values = [Measured(*_measured(_at(cells, scenario.name, name), RETURN)) for name in populations]
        table.append([literal(scenario.name), *values, *ends])
    return Table(["scenario", *map(literal, populations), "worst of the reference", "best of the reference"], table)


def _told(scenario: Scenario, reference: Reference) -> str:
    """A scenario in a line."""
    total = sum(one.weight for one in scenario.background)
    whom = [f"{literal(str(one))} ({one.weight / total:.0%})" for one in scenario.background]
    focal = counted(scenario.focal, "focal agent")
    source = "" if reference.committed else " The reference was played now, since none is committed for this version."
    text = (
        f"{literal(scenario.name)} (version {scenario.version}): {scenario.role}, {focal}, {scenario.episodes} episodes"
    )
    return f"{text}. In the seats that are left: {listed(whom)}.{source}"


def _trained_otherwise(rows: pd.DataFrame) -> list[Block]:
    """What populations had learned with that is in a background, and which other rules they had learned by."""
    lines = []
    for (population, scenario), own in rows[rows["trained_with"] != ""].groupby(["population", "scenario"], sort=False):
        members = own["trained_with"].iloc[0].split()
        lines.append(f"{literal(population)} in {literal(scenario)}: had learned with {literal(listed(members))}.")
    for population, own in rows[rows["other_rules"] != ""].groupby("population", sort=False):
        rules = sorted(set(" ".join(own["other_rules"]).split()))
        lines.append(f"{literal(population)}: had learned by other rules, {literal(listed(rules))}.")
    return [Paragraph("What is not held out:"), Bullets(lines)] if lines else []


def _draw(cells: pd.DataFrame, scenarios: Sequence[str], populations: Sequence[str], file: Path) -> None:
    values = [[_measured(_at(cells, one, other), NORMALISED) for other in populations] for one in scenarios]
    means, lows, highs = np.moveaxis(np.array(values, dtype=float), -1, 0)
    heat_map(means, lows, highs, scenarios, f"{plain(NORMALISED)} return", file, (0.0, 1.0), populations)
