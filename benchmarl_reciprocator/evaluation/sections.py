"""What a result looks like before it is rendered: sections of paragraphs, lists, tables and figures.

Every command that writes results builds such sections. They are kept as ``section.json`` beside the markdown, so that a
report can show them again without reading markdown, and are rendered by one template for each format. All text may hold
inline markdown; HTML in it is shown, not obeyed.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown import Markdown
from markdown.blockprocessors import ParagraphProcessor
from markdown.util import Registry
from markupsafe import Markup

from benchmarl_reciprocator.evaluation.records import slug, write_json

FILE = "section.json"
TEMPLATES = Path(__file__).parent / "templates"
# Cells of more characters may be wrapped, others not.
LONG = 40
# What markdown would take for its own; an underscore only at the edge of a word.
SPECIAL = re.compile(r"[\\`*\[\]]|(?<!\w)_|_(?!\w)")
INTERVAL = re.compile(r"\[(-?[\d.]+), (-?[\d.]+)\]")


@dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Args:
        text (str): inline markdown.
        lead (bool): whether it says the most important thing of the page.
    """

    kind: ClassVar[str] = "paragraph"
    text: str
    lead: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list.

    Args:
        items (sequence of str): inline markdown.
    """

    kind: ClassVar[str] = "bullets"
    items: Sequence[str]


@dataclass(frozen=True)
class Measured:
    """A number in a table, with its interval.

    Args:
        estimate (float): ``nan`` where there is nothing.
        low (float): lower end of the interval, ``nan`` where there is none.
        high (float): upper end.
        digits (int): after the point.
        bounds (tuple of float, optional): least and largest possible value, by which a page draws a bar.
    """

    kind: ClassVar[str] = "measured"
    estimate: float
    low: float = math.nan
    high: float = math.nan
    digits: int = 2
    bounds: tuple[float, float] | None = None

    @property
    def number(self) -> str:
        """The estimate alone, a dash where there is nothing."""
        return _rounded(self.estimate, self.digits)

    @property
    def interval(self) -> str:
        """The interval alone, empty where there is none."""
        if math.isnan(self.estimate) or math.isnan(self.low):
            return ""
        return f"[{_rounded(self.low, self.digits)}, {_rounded(self.high, self.digits)}]"

    @property
    def share(self) -> float | None:
        """How far the estimate is from the lower to the upper bound, in ``[0, 1]``; ``None`` without bounds."""
        if self.bounds is None or math.isnan(self.estimate):
            return None
        least, largest = self.bounds
        return min(1.0, max(0.0, (self.estimate - least) / (largest - least))) if largest > least else None

    def __str__(self) -> str:
        return f"{self.number} {self.interval}".rstrip()


Cell = str | Measured


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        columns (sequence of str): headings.
        rows (sequence of sequences): the cells, inline markdown or numbers; what a row is about comes first.
        best (sequence of int): numbers of the rows that are marked.
        name (str): of the file where reports also write it, as CSV and LaTeX, without ending; empty: nowhere.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    best: Sequence[int] = ()
    name: str = ""

    @property
    def texts(self) -> list[list[str]]:
        """The cells as text, marked rows in bold."""
        rows = [[str(cell) for cell in row] for row in self.rows]
        for index in self.best:
            rows[index][0] = f"**{rows[index][0]}**"
        return rows


@dataclass(frozen=True)
class Figure:
    """A picture.

    Args:
        file (str): a PNG, relative to the folder of the section.
        text (str): what it shows, beneath it and in its place.
    """

    kind: ClassVar[str] = "figure"
    file: str
    text: str


Block = Paragraph | Bullets | Table | Figure
KINDS: dict[str, type] = {kind.kind: kind for kind in (Paragraph, Bullets, Table, Figure, Measured)}


@dataclass(frozen=True)
class Section:
    """A heading and what comes beneath it.

    Args:
        title (str): plain text.
        blocks (sequence of Block): in their order.
        level (int): of the heading: 1 is the whole document's, whose first section it is.
    """

    title: str
    blocks: Sequence[Block] = ()
    level: int = 2

    def deeper(self, by: int = 1) -> Section:
        """This section as a part of another."""
        return replace(self, level=self.level + by)

    def with_figures(self, moved: Callable[[str], str]) -> Section:
        """This section with the files of its figures renamed by ``moved``."""
        blocks = [
            replace(block, file=moved(block.file)) if isinstance(block, Figure) else block for block in self.blocks
        ]
        return replace(self, blocks=blocks)


def to_json(sections: Iterable[Section]) -> list[dict[str, Any]]:
    """Sections as what JSON can hold."""
    return [_plain(section) for section in sections]


def from_json(content: Iterable[dict[str, Any]]) -> list[Section]:
    """The sections that :func:`to_json` took apart.

    Raises:
        ValueError: if it is something else.
    """
    try:
        return [Section(**{**section, "blocks": [_whole(block) for block in section["blocks"]]}) for section in content]
    except (KeyError, TypeError) as error:
        raise ValueError(f"sections must be what this version writes, but: {error!r}") from error


def write_sections(sections: Sequence[Section], folder: Path, name: str) -> str:
    """Write ``<name>.md``, and the sections under ``name`` in ``section.json``, beside those of other commands.

    Args:
        sections (sequence of Section): of the whole document, files of figures relative to ``folder``.
        folder (Path): exists.
        name (str): of the command.

    Returns:
        str: the markdown.
    """
    text = render_markdown(sections)
    (folder / f"{name}.md").write_text(text, encoding="utf-8")
    file = folder / FILE
    try:
        others = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        others = {}
    write_json(file, {**others, name: to_json(sections)})
    return text


def read_sections(file: Path) -> dict[str, list[Section]]:
    """The documents in a ``section.json``, by the name of the command that wrote each.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        return {name: from_json(content) for name, content in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error


def render_markdown(sections: Sequence[Section]) -> str:
    """The document as markdown, tables aligned."""
    return _templates().get_template("report.md.jinja").render(sections=sections).rstrip() + "\n"


def render_html(sections: Sequence[Section], folder: Path) -> str:
    """The document as one HTML page that needs nothing else: a table of contents, figures embedded.

    Args:
        sections (sequence of Section): the first is the head of the page.
        folder (Path): where the figures are.
    """
    taken: dict[str, int] = {}
    anchors = []
    for section in sections:
        anchor = slug(section.title)
        taken[anchor] = taken.get(anchor, 0) + 1
        anchors.append(anchor if taken[anchor] == 1 else f"{anchor}_{taken[anchor]}")

    def embedded(file: str) -> str:
        return f"data:image/png;base64,{base64.b64encode((folder / file).read_bytes()).decode()}"

    template = _templates().get_template("report.html.jinja")
    return template.render(head=sections[0], sections=list(zip(anchors, sections))[1:], embedded=embedded, LONG=LONG)


def literal(text: str) -> str:
    """``text`` of a user's own, such as a name, as inline markdown that shows just that."""
    return SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def unmarked(text: str) -> str:
    """What :func:`literal` was made of, for files that are not markdown."""
    return re.sub(r"\\([\\`*\[\]_])", r"\1", text)


def inline(text: str) -> Markup:
    """Inline markdown as HTML; what looks like HTML is escaped."""
    renderer = Markdown()
    renderer.preprocessors.deregister("html_block")
    renderer.inlinePatterns.deregister("html")
    # What would begin a list or a heading at the start of a text is meant as it stands.
    renderer.parser.blockprocessors = Registry()
    renderer.parser.blockprocessors.register(ParagraphProcessor(renderer.parser), "paragraph", 0)
    rendered = renderer.convert(text).removeprefix("<p>").removesuffix("</p>")
    # An interval stays on its line.
    return Markup(INTERVAL.sub(r"[\1,&nbsp;\2]", rendered))


def aligned(table: Table) -> str:
    """A table as markdown, its columns as wide as they need to be."""
    cells = [
        [cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in (list(table.columns), *table.texts)
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"inline": inline, "aligned": aligned}
    return environment


def _rounded(value: float, digits: int) -> str:
    """With so many digits, and no minus before a zero; a dash for ``nan``."""
    return "-" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kinds = [name for name, one in KINDS.items() if type(value) is one]
        return {
            **({"kind": kinds[0]} if kinds else {}),
            **{field.name: _plain(getattr(value, field.name)) for field in fields(value)},
        }
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    # JSON knows no nan.
    return None if isinstance(value, float) and math.isnan(value) else value


def _whole(content: dict[str, Any]) -> Any:
    """The block or cell that :func:`_plain` took apart."""
    entries = dict(content)
    kind = KINDS[entries.pop("kind")]
    if kind is Measured:
        ends = {key: math.nan if entries[key] is None else entries[key] for key in ("estimate", "low", "high")}
        bounds = None if entries["bounds"] is None else tuple(entries["bounds"])
        return Measured(**{**entries, **ends, "bounds": bounds})
    if kind is Table:
        entries["rows"] = [
            [_whole(cell) if isinstance(cell, dict) else cell for cell in row] for row in entries["rows"]
        ]
    return kind(**entries)
