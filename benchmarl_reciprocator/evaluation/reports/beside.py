"""What other commands left in a suite's folder, beside its runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from benchmarl_reciprocator.evaluation.layout import WORST_CASES, runs_folder
from benchmarl_reciprocator.evaluation.records import file_names
from benchmarl_reciprocator.evaluation.sections import FILE, Figure, Measured, Paragraph, Section, read_sections

# Those that wrote markdown alone before there were sections.
COMMANDS = ("crossplay", "exploitability", "tournament")


def sections_beside(folder: Path, output: Path) -> tuple[list[Section], list[str]]:
    """Cross-play, exploitability, tournaments and whatever else has a ``section.json``; figures go to ``output``.

    Returns:
        tuple[list, list]: the sections, and what could not be read.
    """
    sections: list[Section] = []
    skipped: list[str] = []
    for place in sorted(_folders(folder, output)):
        prefix = "_".join(place.relative_to(folder).parts)
        documents: dict[str, list[Section]] = {}
        if (place / FILE).is_file():
            try:
                documents = read_sections(place / FILE)
            except ValueError as error:
                skipped.append(str(error))
        for document in documents.values():
            for section in document:
                for block in section.blocks:
                    if isinstance(block, Figure) and (place / block.file).is_file():
                        shutil.copyfile(place / block.file, output / f"{prefix}_{block.file}")
                sections.append(section.deeper().with_figures(f"{prefix}_{{}}".format))
        for name in COMMANDS:
            file = place / f"{name}.md"
            if name not in documents and file.is_file():
                text = (
                    f"`{file.relative_to(folder)}` is of an earlier version and is not shown here. The command that "
                    f"made it (`benchmarl-reciprocator {name} ... --output {place.relative_to(folder)}`, in full in "
                    "`setting.json` beside it) renews it, and plays nothing again that it finds played."
                )
                sections.append(Section(f"{name.capitalize()} of an earlier version", [Paragraph(text)]))
    return sections, skipped


def worst_cases_beside(folder: Path, tasks: Mapping[str, str]) -> dict[str, dict[str, Measured]]:
    """The worst case over co-players of every population, from the cross-play in ``<folder>/crossplay/``.

    Args:
        folder (Path): of a suite.
        tasks (mapping): the registered name of every task of the suite. The cross-play of a task is in a folder of its
            name in the suite, else in one of its registered name if no other task is registered by it.

    Returns:
        dict: by task and population; of a population of several algorithms the worst of theirs.
    """
    found: dict[str, dict[str, Measured]] = {}
    files_of = file_names(tasks)
    for task, registered in tasks.items():
        names = [files_of[task], *([registered] if list(tasks.values()).count(registered) == 1 else [])]
        files = (folder / "crossplay" / name / WORST_CASES for name in names)
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            continue
        rows = pd.read_csv(file).sort_values("mean")
        # A contestant of several algorithms is called "<population>: <algorithm>"
        rows["population"] = rows["row"].str.partition(": ")[0]
        for name in ("row", "population"):
            for row in rows.drop_duplicates(name).itertuples():
                found.setdefault(task, {}).setdefault(getattr(row, name), Measured(row.mean, row.low, row.high))
    return found


def _folders(folder: Path, output: Path) -> Iterator[Path]:
    names = {FILE, *(f"{name}.md" for name in COMMANDS)}
    for place in {file.parent for name in names for file in folder.glob(f"*/**/{name}")}:
        inside = {place, *place.parents}
        if runs_folder(folder) not in inside and output not in inside:
            yield place
