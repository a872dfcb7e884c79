"""What yaml files say of options: their defaults, and the comments above them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

KEY = re.compile(r"^(\w+):")


@dataclass
class Group:
    """Options that stand below one comment."""

    comment: str
    keys: list[str] = field(default_factory=list)


@dataclass
class Section:
    """Groups of options below one heading, ``# --- like this``."""

    title: str
    groups: list[Group] = field(default_factory=list)


def head_comment(file: Path) -> str:
    """The comment at the top of a yaml file, without what is for Hydra."""
    lines: list[str] = []
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def sections_of(file: Path, title: str) -> list[Section]:
    """The options of a yaml file as its comments group them. The head comment is left out: what is before
    ``defaults`` or, where there are none, before the first empty line.
    """
    sections, comment, fresh = [Section(title)], [], True
    lines = file.read_text().splitlines()
    if any(line.startswith("defaults:") for line in lines):
        lines = lines[next(n for n, line in enumerate(lines) if line.startswith("defaults:")) + 1 :]
    elif lines and lines[0].startswith("#"):
        # Else of the first option, if no empty line is between
        head = next((n for n, line in enumerate(lines) if not line.startswith("#")), 0)
        lines = lines[head if not lines[head].strip() else 0 :]
    for line in lines:
        if line.startswith("# ---"):
            sections.append(Section(line.strip("# -")))
            comment, fresh = [], True
        elif line.startswith("#"):
            comment.append(line.strip("# "))
            fresh = True
        elif key := KEY.match(line):
            if fresh:
                sections[-1].groups.append(Group(" ".join(comment)))
                comment, fresh = [], False
            sections[-1].groups[-1].keys.append(key[1])
        elif not line.strip() and not comment:
            fresh = True
    return [section for section in sections if section.groups]


def merged(files: list[tuple[Path, str]]) -> list[Section]:
    """The sections of several files, of which a later one's comment on an option comes in place of an earlier one's."""
    sections: list[Section] = []
    for file, title in files:
        for section in sections_of(file, title):
            known = {key: group for earlier in sections for group in earlier.groups for key in group.keys}
            for group in section.groups:
                if group.comment:
                    for key in group.keys:
                        if key in known and known[key].keys == [key]:
                            known[key].comment = group.comment
                group.keys = [key for key in group.keys if key not in known]
            section.groups = [group for group in section.groups if group.keys]
            if section.groups:
                sections.append(section)
    return sections


def tables(sections: list[Section], values: dict[str, Any], prefix: str) -> str:
    """The sections as tables of Markdown.

    Args:
        sections (list of Section): the options.
        values (dict): their defaults.
        prefix (str): of the options on the command line, such as ``"task."``.
    """
    parts = []
    for section in sections:
        parts.append(f"### {section.title}\n")
        parts.append("| option | default | |\n| --- | --- | --- |")
        for group in section.groups:
            names = "<br>".join(f"`{prefix}{key}`" for key in group.keys)
            defaults = "<br>".join(f"`{_shown(values.get(key))}`" for key in group.keys)
            parts.append(f"| {names} | {defaults} | {cell(group.comment)} |")
        parts.append("")
    return "\n".join(parts)


def cell(text: str) -> str:
    """A text as the cell of a table."""
    return re.sub(r"\s+", " ", text.replace("|", "\\|")).strip()


def _shown(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip().removesuffix("...").strip()
    return text.replace("|", "\\|")
