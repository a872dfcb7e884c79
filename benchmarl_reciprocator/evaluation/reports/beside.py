"""What other commands left in a suite's folder, beside its runs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarl_reciprocator.evaluation.layout import runs_folder
from benchmarl_reciprocator.evaluation.sections import FILE, Figure, Paragraph, Section, read_sections

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


def _folders(folder: Path, output: Path) -> Iterator[Path]:
    names = {FILE, *(f"{name}.md" for name in COMMANDS)}
    for place in {file.parent for name in names for file in folder.glob(f"*/**/{name}")}:
        inside = {place, *place.parents}
        if runs_folder(folder) not in inside and output not in inside:
            yield place
