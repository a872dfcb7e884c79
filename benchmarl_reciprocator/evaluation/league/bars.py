"""What the agents of a league are to reach, each bar as it is read off results on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from benchmarl_reciprocator.evaluation.crossplay_sections import agent_means
from benchmarl_reciprocator.evaluation.layout import find_records
from benchmarl_reciprocator.evaluation.pairings import OTHER_SEED, SAME_SEED
from benchmarl_reciprocator.evaluation.reports.words import counted
from benchmarl_reciprocator.evaluation.sections import Cell, Measured, Table, literal

FILE = Path(__file__).with_name("bars.yaml")
OVER: dict[str, Callable[[np.ndarray], Any]] = {"min": np.min, "max": np.max, "mean": np.mean}
SIDES = {"own": ("row", "focal"), "other": ("column", "opponent")}
ITSELF, STRANGER = "itself", "another seed"


@dataclass(frozen=True)
class Bar:
    """A bar, as ``bars.yaml`` tells what its entries mean."""

    what: str
    source: str
    of: str
    over: str
    against: str = ""
    side: str = "own"
    row: str = ""
    least: float | None = None
    most: float | None = None

    @property
    def unit(self) -> str:
        """What its numbers are of, one each."""
        return "run" if self.source == "runs" else "meeting" if self.side == "less" else "agent"

    @property
    def whom(self) -> str:
        """Over whom it is, in words."""
        return f"mean of {self.unit}s" if self.over == "mean" else f"every {self.unit}"

    @property
    def must(self) -> str:
        """The bar in words."""
        if self.least is None and self.most is None:
            return ""
        return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"

    def met_by(self, value: float) -> bool | None:
        """Whether ``value`` reaches it; ``None`` if there is nothing to reach."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


@dataclass(frozen=True)
class Results:
    """What is on disk of one task of a suite.

    Args:
        folder (Path): of the suite.
        task (str): its name in the suite.
        file_name (str): its name in the names of folders.
        runs (dict): the folders of its finished runs, and their populations.
        pairings (DataFrame): of its cross-play, see
            :func:`~benchmarl_reciprocator.evaluation.pairings.as_table`.
    """

    folder: Path
    task: str
    file_name: str
    runs: dict[Path, str]
    pairings: pd.DataFrame

    def values(self, bar: Bar, population: str) -> np.ndarray:
        """What the bar is about, a number for every agent of every seed of ``population``; empty if it is not
        measured.
        """
        if bar.source == "crossplay":
            values = self._of_crossplay(bar, population)
        elif bar.source == "exploitability":
            rows = self._table("meetings.csv", "exploitability", focal=population, opponent=bar.against)
            values = rows.get(f"{SIDES[bar.side][1]}_{bar.of}", pd.Series(dtype=float))
        elif bar.source == "tournament":
            values = self._table("ranking.csv", "tournament", population=population, trained=True).get(bar.of, [])
        else:
            mine = [run for run, name in self.runs.items() if name == population]
            records = (json.loads(file.read_text()) for run in mine for file in find_records(run))
            values = [record[bar.of] for record in records if bar.of in record]
        known = np.asarray(values, dtype=float)
        return known[~np.isnan(known)]

    def _of_crossplay(self, bar: Bar, population: str) -> Any:
        table = self.pairings
        if f"row_{bar.of}" not in table:
            return []
        row = bar.row or population
        column = population if bar.row or bar.against in (ITSELF, STRANGER) else bar.against
        kind = OTHER_SEED if bar.against == STRANGER else SAME_SEED
        met = table[(table["row"] == row) & (table["column"] == column) & (table["kind"] == kind)]
        if bar.side == "less":
            return met[f"row_{bar.of}"] - met[f"column_{bar.of}"]
        return agent_means(met, bar.of)[SIDES[bar.side][0]]

    def _table(self, name: str, command: str, **where: Any) -> pd.DataFrame:
        file = self.folder / command / self.file_name / name
        if not file.is_file():
            return pd.DataFrame()
        table = pd.read_csv(file)
        for column, value in where.items():
            table = table[table[column] == value]
        return table


def read_bars(file: Path = FILE) -> dict[str, list[Bar]]:
    """The bars by the name of the task in the suite.

    Args:
        file (Path): a yaml like this package's ``bars.yaml``.
    """
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    return {
        task: [Bar(source=entry.pop("from"), **entry) for entry in map(dict, entries)]
        for task, entries in content.items()
    }


def bars_table(results: Results, bars: Sequence[Bar], populations: Sequence[str]) -> Table:
    """A row for each bar: what is to be reached, and what each population came to."""
    rows: list[list[Cell]] = []
    for bar in bars:
        cells: list[str] = []
        for population in populations:
            values = results.values(bar, population)
            if not len(values):
                cells.append("not measured")
                continue
            value = float(OVER[bar.over](values))
            verdict = {True: ", met", False: ", not met", None: ""}[bar.met_by(value)]
            cells.append(f"{Measured(value)}{verdict} ({counted(len(values), bar.unit)})")
        rows.append([literal(bar.what), bar.whom, bar.must, *cells])
    columns = ["what", "over", "must be", *map(literal, populations)]
    return Table(columns, rows, name=f"bars_{results.file_name}")


def missing(results: Results, bars: Sequence[Bar]) -> list[str]:
    """Which commands have not been run for these bars, ``exploitability`` and ``tournament``."""
    commands = dict.fromkeys(bar.source for bar in bars if bar.source in ("exploitability", "tournament"))
    return [one for one in commands if not (results.folder / one / results.file_name).is_dir()]


def answers_table(pairings: pd.DataFrame, labels: Mapping[str, str], against: str, name: str) -> Table | None:
    """How often every agent cooperates after each outcome, as it was observed with a co-player; ``None`` if the game
    has no such measures or nobody met it.

    Args:
        pairings (DataFrame): see :class:`Results`.
        labels (mapping): headings of the measures that are shown, by name.
        against (str): the co-player.
        name (str): of the file where reports also write it.
    """
    met = pairings[(pairings["column"] == against) & pairings["row_agent"].notna()]
    shown = {measure: heading for measure, heading in labels.items() if f"row_{measure}" in pairings}
    if met.empty or not shown:
        return None
    rows: list[list[Cell]] = []
    for population, of in met.groupby("row", sort=False):
        by_agent = pd.DataFrame({measure: agent_means(of, measure)["row"] for measure in shown})
        for (seed, agent), values in by_agent.iterrows():
            rows.append([literal(str(population)), str(seed), str(agent), *(Measured(value) for value in values)])
    return Table(["population", "seed", "agent", *shown.values()], rows, name=name)
