"""How results came about: machine, versions of packages and tasks, seeds and overrides."""

from __future__ import annotations

import pandas as pd

from benchmarl_reciprocator.evaluation.reports.ordered import OrderedResults
from benchmarl_reciprocator.evaluation.reports.words import counted
from benchmarl_reciprocator.evaluation.sections import Block, Bullets, Cell, Paragraph, Section, Table, literal


def setting_sections(ordered: OrderedResults) -> list[Section]:
    """Machine, versions, seeds and, where records tell them, every population's overrides."""
    runs = ordered.results.runs
    items = []
    for column, name in (("machine", "hardware"), ("python", "Python"), ("commit", "git commit")):
        if column in runs:
            items.append(f"{name}: {', '.join(sorted(set(runs[column].dropna()))) or 'not known'}")
    if "versions" in runs:
        versions = {f"{package} {v}" for row in runs["versions"].dropna() for package, v in row.items()}
        items.append(f"versions: {', '.join(sorted(versions))}")
    if "seconds" in runs:
        items.append(f"{counted(len(runs), 'run')}, {runs['seconds'].sum() / 3600:.1f} hours of run time in all")
    items.append(f"seeds: {', '.join(str(seed) for seed in sorted({int(seed) for seed in runs['seed']}))}")
    blocks: list[Block] = [Bullets(items), _tasks(ordered), _cost(ordered)]
    if "overrides" in runs:
        rows: list[list[Cell]] = [
            [ordered.named(population), literal(ordered.title(task)), f"`{' '.join(overrides)}`"]
            for task in ordered.tasks
            for population in ordered.populations_on(task)
            if isinstance(overrides := ordered.runs_of(task, population)["overrides"].iloc[0], list)
        ]
        blocks += [
            Table(["population", "task", "overrides"], rows),
            Paragraph("The full config of every row is in `configs/`."),
        ]
    return [Section("Setting", blocks)]


def _tasks(ordered: OrderedResults) -> Table:
    """Which game each task is, in which version of its rules, and by what its cooperation is measured."""
    rows: list[list[Cell]] = []
    for task in ordered.tasks:
        runs = ordered.runs_of(task)
        measure = ordered.measures.get(task)
        rows.append(
            [
                literal(ordered.title(task)),
                ", ".join(f"`{name}`" for name in sorted(set(runs["registered"]))),
                _versions(runs["task_version"]),
                f"{measure.label} (`{measure.metric}`)" if measure is not None else "not measured",
            ]
        )
    return Table(["task", "game", "version of its rules", "cooperation"], rows)


def _cost(ordered: OrderedResults) -> Table:
    """What a run of each population took, means over seeds."""
    rows: list[list[Cell]] = []
    timed = "seconds" in ordered.results.runs
    for task in ordered.tasks:
        for population in ordered.populations_on(task):
            runs = ordered.runs_of(task, population)
            seconds = [f"{runs['seconds'].mean():.0f}"] if timed else []
            frames = f"{runs['frames'].mean() / 1e6:.2f}"
            rows.append([ordered.named(population), literal(ordered.title(task)), frames, *seconds])
    columns = ["population", "task", "million frames", *(["seconds"] if timed else [])]
    return Table(columns, rows, name="cost")


def _versions(versions: pd.Series) -> str:
    known = sorted({int(version) for version in versions.dropna()})
    unknown = int(versions.isna().sum())
    texts = [str(version) for version in known]
    return ", ".join([*texts, f"not known of {counted(unknown, 'run')}"] if unknown else texts)
