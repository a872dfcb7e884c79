"""Sections of reports: kept as JSON, rendered as markdown and as one HTML page."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from benchmarl_reciprocator.evaluation.sections import (
    FILE,
    Bullets,
    Figure,
    Measured,
    Paragraph,
    Section,
    Table,
    from_json,
    inline,
    read_sections,
    render_html,
    render_markdown,
    to_json,
    write_sections,
)

NUMBER = Measured(0.5, 0.25, 0.75, bounds=(0.0, 2.0))
DOCUMENT = [
    Section("Results", [Paragraph("**Reciprocator** cooperates most.", lead=True)], level=1),
    Section("Scores", [Paragraph("Of `all_c` play."), Bullets(["one", "- two"])]),
    Section(
        "Pd",
        [
            Table(["population", "score"], [["a|b", NUMBER], ["<i>x</i>", Measured(1.0)]], best=[0]),
            Figure("a.png", "A"),
        ],
        level=3,
    ),
    Section("Scores"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(b"a picture")
    return tmp_path


def test_json_there_and_back() -> None:
    assert render_markdown(from_json(json.loads(json.dumps(to_json(DOCUMENT))))) == render_markdown(DOCUMENT)
    (table, figure) = from_json(json.loads(json.dumps(to_json(DOCUMENT))))[2].blocks
    assert table.rows[0][1] == NUMBER and math.isnan(table.rows[1][1].low)
    assert figure == Figure("a.png", "A")
    json.dumps(to_json(DOCUMENT), allow_nan=False)
    for content in ([{}], [{"title": "x", "blocks": [{"kind": "film"}]}], [{"title": "x", "blocks": [], "tone": 1}]):
        with pytest.raises(ValueError, match="sections must be what this version writes"):
            from_json(content)


def test_markdown() -> None:
    assert render_markdown(DOCUMENT) == (
        "# Results\n\n**Reciprocator** cooperates most.\n\n"
        "## Scores\n\nOf `all_c` play.\n\n- one\n- - two\n\n"
        "### Pd\n\n"
        "| population | score             |\n|------------|-------------------|\n"
        "| **a\\|b**   | 0.50 [0.25, 0.75] |\n| <i>x</i>   | 1.00              |\n\n"
        "![A](a.png)\n\n## Scores\n"
    )


def test_the_page_stands_alone(folder: Path) -> None:
    page = render_html(DOCUMENT, folder)
    assert re.findall(r'src="([^"]{22})', page) == ["data:image/png;base64,"]
    assert not re.findall(r'(?:href|src)="(?!#|data:)', page)
    # Every entry of the contents leads to a heading, also where two have the same title.
    anchors = re.findall(r'href="#([^"]+)"', page)
    assert anchors == ["scores", "pd", "scores_2"] == re.findall(r'<h\d id="([^"]+)"', page)
    assert '<p class="lead"><strong>Reciprocator</strong> cooperates most.</p>' in page
    assert "<li>- two</li>" in page
    assert '<tr class="best">\n<th scope="row">a|b</th>' in page
    # An interval is one piece beside its number; a bar says how far between the bounds the number is.
    assert '--share:25.0%">0.50 <small>[0.25, 0.75]</small></td>' in page
    assert "<i>x</i>" not in page and "&lt;i&gt;x&lt;/i&gt;" in page


def test_inline_markdown_is_no_more_than_that() -> None:
    assert inline("all_c *or* `a_b`") == "all_c <em>or</em> <code>a_b</code>"
    for text in ("1. first", "# no heading", "> no quotation", "-", "[0 or 1]: no link", "    no code"):
        assert inline(text).strip() == text.strip().replace(">", "&gt;")
    # An interval is not torn apart.
    assert inline("0.50 [0.25, -0.75]") == "0.50 [0.25,&nbsp;-0.75]"
    assert inline("<script>x</script> & `<b>`") == "&lt;script&gt;x&lt;/script&gt; &amp; <code>&lt;b&gt;</code>"


def test_documents_of_several_commands_lie_in_one_file(folder: Path) -> None:
    text = write_sections(DOCUMENT, folder, "crossplay")
    assert (folder / "crossplay.md").read_text() == text == render_markdown(DOCUMENT)
    write_sections(DOCUMENT[:1], folder, "tournament")
    assert {name: len(found) for name, found in read_sections(folder / FILE).items()} == {
        "crossplay": 4,
        "tournament": 1,
    }
    (folder / FILE).write_text("{")
    with pytest.raises(ValueError, match=r"section.json cannot be read"):
        read_sections(folder / FILE)
    write_sections(DOCUMENT[:1], folder, "tournament")
    assert list(read_sections(folder / FILE)) == ["tournament"]


def test_sections_move_into_another_document() -> None:
    moved = DOCUMENT[2].deeper().with_figures("sub/{}".format)
    assert moved.level == 4 and moved.blocks[1] == Figure("sub/a.png", "A")
    assert DOCUMENT[2].blocks[1] == Figure("a.png", "A")


def test_numbers() -> None:
    assert [str(Measured(*values)) for values in ((-0.001, -0.2, 0.1), (math.nan,), (1.0,))] == [
        "0.00 [-0.20, 0.10]",
        "-",
        "1.00",
    ]
    assert Measured(3.0, bounds=(0.0, 2.0)).share == 1.0
    assert Measured(math.nan, bounds=(0.0, 2.0)).share is None
