"""The pages of the site that are made from the code, the yaml files and other files of the repository."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from benchmarl_reciprocator import CooperationMeasure, ReciprocatorConfig, SocialDilemmaTask, register_task
from benchmarl_reciprocator.algorithms import shipped_algorithms
from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions, symmetric_table

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)")


@pytest.fixture(scope="module", autouse=True)
def hooks() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "docs" / "hooks"))
    yield
    sys.path.remove(str(ROOT / "docs" / "hooks"))


def test_every_task_and_algorithm_has_its_page() -> None:
    import reference

    assert {task.name.lower() for task in SocialDilemmaTask} <= set(reference.tasks())
    assert set(shipped_algorithms()) <= set(reference.algorithms())
    assert "ippo" not in reference.algorithms()
    for name, start in (("loqa", "algorithm=loqa"), ("frozen", "algorithm=frozen algorithm.checkpoint=<file>")):
        assert f"python -m benchmarl.run {start} +preset" in reference.algorithm_page(name)


def test_the_page_of_a_task_says_what_its_code_and_yaml_say() -> None:
    import reference

    page = reference.task_pages("prisoners_dilemma")["reference/tasks/prisoners_dilemma.md"]
    assert "+preset=prisoners_dilemma\n" in page and "+preset=prisoners_dilemma_slips\n" in page
    assert "| measure of cooperation | P(cooperate) (`p_cooperate`) in [0, 1] |" in page
    assert "all cooperate return -32, all defect return -64" in page
    assert "| **action 0** | -1, -1 | -3, 0 |" in page
    assert "| `task.max_steps` | `32` |" in page
    assert "- Foerster et al. 2018, [arXiv 1709.04326](https://arxiv.org/abs/1709.04326)" in page
    assert "| `grim` | " in page and "(../../results/matrix_games/report.md)" in page
    # Every method once, of the first report that has it
    assert re.search(r"\n\| Advantage Alignment \| -32\.00 .* \| 1\.00 \[1\.00, 1\.00\] \(P\(cooperate\)\) \|", page)
    assert page.count("\n| IPPO | ") == 1
    # Of each number the name beside it
    assert "\n- [arXiv 2405.01035](https://arxiv.org/abs/2405.01035)\n" in page and "Xiv 1709," not in page


def test_the_page_of_a_task_names_the_noise_that_all_have() -> None:
    import reference

    page = reference.task_pages("negotiation")["reference/tasks/negotiation.md"]
    assert "0 by default: `task.reward_noise` and `task.observation_noise`, see [Noise](../../how-to/noise.md)" in page


def test_the_page_of_an_algorithm_has_the_options_of_all_its_yaml_files() -> None:
    import reference

    page = reference.algorithm_page("reciprocator")
    assert re.search(r"algorithm\.reward_weight_end`.*`10\.0`", page)
    for name in ReciprocatorConfig.get_from_yaml().__dict__:
        assert page.count(f"`algorithm.{name}`") == 1, name
    assert "::: benchmarl_reciprocator.influence.balance.reciprocal_reward\n" in page
    # Rivals tell what they maximise, and what they come to
    for name in set(shipped_algorithms()) - {"frozen", "mixed", "scripted"}:
        assert "## Equations\n" in reference.algorithm_page(name), name
    page = reference.algorithm_page("loqa")
    assert re.search(r"\| Prisoner's dilemma \| LOQA \| -\d.*\[rivals/suite\]\(../../results/rivals/README.md\)", page)
    assert re.search(r"## Cost\n(.|\n)*\| Prisoner's dilemma \| \d+ \| 1\.\d\d \| \[rivals/suite\]", page)


def test_a_task_of_ones_own_gets_a_page_without_yaml_or_measure() -> None:
    import reference

    module = ModuleType("paged")
    module.TaskConfig = Paged
    register_task(module)
    page = reference.task_pages("paged")["reference/tasks/paged.md"]
    assert "| `task.max_steps` | `4` |" in page and "No committed report yet." in page


@dataclass
class Paged(MatrixGameOptions):
    """A game with its defaults in the dataclass."""

    max_steps: int = 4
    continuation_probability: float = 1.0
    reward_noise: float = 0.0
    action_noise: float = 0.0
    observation: str = "joint"
    grouping: str = "auto"

    def payoff_table(self):
        return symmetric_table((1.0, 0.0, 2.0, -1.0))

    def cooperation(self) -> CooperationMeasure | None:
        return None


def test_options_stand_below_their_comments(tmp_path: Path) -> None:
    from options import head_comment, merged, tables

    base, more = tmp_path / "base.yaml", tmp_path / "more.yaml"
    base.write_text(
        "# Head\ndefaults:\n  - _self_\n\n# Two\n# of them: a | b\none: 1\ntwo: null\n# Alone\nthree: [1, 2]\n"
    )
    more.write_text("# --- More\n# Alone, changed\nthree: 3\nfour: true\n")
    assert head_comment(base) == "Head"
    text = tables(merged([(base, "Base"), (more, "")]), {"one": 1, "two": None, "three": 3, "four": True}, "x.")
    assert text.splitlines() == [
        "### Base",
        "",
        "| option | default | |",
        "| --- | --- | --- |",
        "| `x.one`<br>`x.two` | `1`<br>`null` | Two of them: a \\| b |",
        "| `x.three` | `3` | Alone, changed |",
        "",
        "### More",
        "",
        "| option | default | |",
        "| --- | --- | --- |",
        "| `x.four` | `true` | Alone, changed |",
    ]


def test_docstrings_become_markdown() -> None:
    from docstrings import as_markdown

    text = "See :class:`~a.b.C`::\n\n    x\n\n=== ====\na   b\n=== ====\n1   one\n    more\n=== ====\nend"
    assert as_markdown(text) == "See `C`:\n\n    x\n\n| a | b |\n| --- | --- |\n| 1 | one more |\nend"


def test_links_lead_to_where_files_are_in_the_site() -> None:
    from repository import Linked

    linked, file = Linked(), ROOT / "examples" / "results" / "README.md"
    text = linked.turn(
        "[a](coins/README.md#x) [b](../../conf/suite/quick.yaml) [c](https://a.b) [d](league/)",
        file,
        "results/README.md",
    )
    assert (
        text == "[a](coins/README.md#x) [b](../source/conf/suite/quick.yaml.md) [c](https://a.b) [d](league/README.md)"
    )
    assert set(linked.files) == {
        "results/coins/README.md",
        "source/conf/suite/quick.yaml.md",
        "results/league/README.md",
    }
    with pytest.raises(
        ValueError, match=r"a link in examples/results/README.md must lead to a file, but gone.md is not"
    ):
        linked.turn("[a](gone.md)", file, "results/README.md")


def test_pages_of_files_leave_the_pages_of_the_site_alone() -> None:
    from repository import own_pages, pages_of_files, place_of

    made = pages_of_files()
    assert not set(made) & {place_of(file) for file in own_pages()}
    assert "# Results" in made["results/README.md"] and made["contributing.md"].startswith("# Contributing")
    assert "```python" in made["source/examples/custom_task.py.md"]
    assert made["results/quick/curves_stag_hunt.png"] == ROOT / "examples/results/quick/curves_stag_hunt.png"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "examples/extension_package/README.md"])
def test_links_of_the_repository_lead_somewhere(name: str) -> None:
    file = ROOT / name
    targets = [target for target in LINK.findall(file.read_text()) if "://" not in target]
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_the_readme_is_short() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 120
    assert not re.search(r"\b[0-9a-f]{7}\b", readme), "no commits: results pages have them"
