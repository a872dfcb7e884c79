"""What the committed reports say of a task or an algorithm: scores and costs, as tables of Markdown."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from options import cell

from benchmarl_reciprocator.evaluation.reports.words import title_of

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "examples" / "results"
# Longer tables are folded.
MANY = 12
SHORT = ["task", "population", "return", "cooperation", "worst-off agent", "seeds", "report"]
# Columns that are no task's measure of cooperation
OF_EVERY_TASK = {
    *("population", "return", "by role", "worst-off agent", "equality", "sustainability", "peace", "seeds"),
    *(
        "area under the curve",
        "frames until cooperation stands",
        "seconds until it stands",
        "million frames",
        "seconds",
    ),
    "worst case over co-players",
}
INTRO = "Interquartile means over seeds with 95% bootstrap intervals, from the committed reports.\n\n"


@dataclass
class Scores:
    """A table of scores in a committed report.

    Args:
        place (str): its folder, below that of all results.
        page (str): the report that it belongs to, below that of all results.
        task (str): the task's name in the suite.
        game (str): the registered task, without the name of its collection.
        head (list of str): columns.
        rows (list of lists): cells, the population first.
        agents (dict): the algorithms of every population, by its name in the table; empty where the report does not
            tell.
        costs (dict): CPU seconds for a million frames of every run, by population.
    """

    place: str
    page: str
    task: str
    game: str
    head: list[str]
    rows: list[list[str]]
    agents: dict[str, set[str]] = field(default_factory=dict)
    costs: dict[str, list[float]] = field(default_factory=dict)

    @property
    def link(self) -> str:
        """From a page of the reference on a task or an algorithm."""
        return f"[{self.place}](../../results/{self.page})"


@cache
def tables(game_of_preset: Callable[[str], str | None]) -> list[Scores]:
    """All tables of scores that a committed report has; not those of an earlier version of one.

    Args:
        game_of_preset (callable): the task that a preset chooses.
    """
    found = []
    for file in sorted(RESULTS.rglob("scores_*.csv"), key=lambda file: (len(file.parts), str(file))):
        page = _page_of(file.parent)
        if page is None or "before" in file.parts:
            continue
        with file.open() as stream:
            head, *rows = csv.reader(stream)
        task = file.stem.removeprefix("scores_")
        place = file.parent.relative_to(RESULTS).as_posix()
        scores = Scores(place, page.relative_to(RESULTS).as_posix(), task, task, head, rows)
        runs = file.parent / "runs.csv"
        if runs.is_file():
            _add_runs(scores, runs, game_of_preset)
        found.append(scores)
    return found


def _page_of(folder: Path) -> Path | None:
    """The report on a folder of results, or the text about it: its own, else of the folder that it is in."""
    for place in (folder, *folder.parents):
        if place == RESULTS:
            return None
        page = next((place / name for name in ("report.md", "README.md") if (place / name).is_file()), None)
        if page is not None:
            return page
    return None


def _add_runs(scores: Scores, runs: Path, game_of_preset: Callable[[str], str | None]) -> None:
    with runs.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("task") == scores.task]
    for row in rows:
        presets = [word.partition("=")[2] for word in json.loads(row["overrides"]) if word.startswith("+preset=")]
        registered = row.get("registered", "").rpartition("/")[2]
        scores.game = registered or next(filter(None, map(game_of_preset, presets)), scores.game)
        name = row["population"].replace("_", " ")
        scores.agents.setdefault(name, set()).update(json.loads(row["agents"]))
        if row.get("cpu_seconds"):
            scores.costs.setdefault(name, []).append(float(row["cpu_seconds"]) / float(row["frames"]) * 1e6)


def of_task(name: str, methods: set[str], all_tables: list[Scores]) -> str:
    """Every method on a task, of the first report that has it, and all populations, a table for each report.

    Args:
        name (str): of the registered task.
        methods (set of str): names of algorithms and players. Populations that are called otherwise are variants of
            one, or ablations.
        all_tables (list of Scores): of :func:`tables`.
    """
    rows: dict[tuple[str, str], list[str]] = {}
    parts = []
    for scores in all_tables:
        if scores.game != name:
            continue
        for row in scores.rows:
            population = row[0].removesuffix(" †")
            if {part.lower().replace(" ", "_") for part in population.split(" with ")} <= methods:
                rows.setdefault((scores.task, population), _short(scores, row))
        title = scores.place if scores.task == name else f"{scores.place}: {title_of(scores.task)}"
        lines = _table(scores.head, scores.rows)
        parts.append(f'??? note "{title}"\n')
        parts += [*(f"    {line}" for line in lines), f"\n    From {scores.link}.\n"]
    if not parts:
        return "No committed report yet.\n"
    # One task of that game needs no column.
    first = int(len({task for task, _ in rows}) == 1)
    by_method = "\n".join(_table(SHORT[first:], [row[first:] for row in rows.values()])) + "\n\n" if rows else ""
    return INTRO + by_method + "All columns and populations, by report:\n\n" + "\n".join(parts)


def of_algorithm(name: str, title: str, all_tables: list[Scores]) -> str:
    """Every population with an algorithm, over all reports."""
    rows = []
    for scores in all_tables:
        for row in scores.rows:
            population = row[0].removesuffix(" †")
            known = scores.agents.get(population)
            if name in known if known is not None else title.lower() in population.lower():
                rows.append(_short(scores, row))
    if not rows:
        return "No committed report yet.\n"
    lines = _table(SHORT, rows)
    if len(rows) > MANY:
        lines = [f'??? note "{len(rows)} populations"\n', *(f"    {line}" for line in lines)]
    return INTRO + "\n".join(lines) + "\n"


def _short(scores: Scores, row: list[str]) -> list[str]:
    """A row of :data:`SHORT`."""
    of = dict(zip(scores.head, row))
    measure = next((column for column in scores.head if column.partition(",")[0] not in OF_EVERY_TASK), "")
    cooperation = f"{of[measure]} ({measure})" if of.get(measure) else "-"
    return [title_of(scores.task), row[0], of["return"], cooperation, of["worst-off agent"], of["seeds"], scores.link]


def cost_of(name: str, all_tables: list[Scores]) -> str:
    """What training takes where all agents are of an algorithm, and by how much more than IPPO in the same report;
    empty where no report tells.
    """
    rows = []
    for scores in all_tables:
        own = _costs(scores, name)
        ippo = _costs(scores, "ippo")
        if own is None:
            continue
        ratio = f"{own / ippo:.2f}" if ippo is not None else "-"
        rows.append([title_of(scores.task), f"{own:.0f}", ratio, scores.link])
    if not rows:
        return ""
    intro = (
        "CPU seconds of training and evaluation for a million frames, on one thread: medians over seeds where all "
        "agents are of this algorithm, and over those of IPPO in the same report.\n\n"
    )
    return intro + "\n".join(_table(["task", "CPU seconds", "times IPPO's", "report"], rows)) + "\n"


def _costs(scores: Scores, algorithm: str) -> float | None:
    """The median over the runs of the first population all of whose agents are of an algorithm."""
    for population, algorithms in scores.agents.items():
        if algorithms == {algorithm} and scores.costs.get(population):
            return statistics.median(scores.costs[population])
    return None


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(map(cell, row))} |" for row in (head, ["---"] * len(head), *rows)]
