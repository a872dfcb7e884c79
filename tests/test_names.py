"""Names and places of the user's own: any path, any name, and no two that meet."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from benchmarl_reciprocator.commands import benchmark
from benchmarl_reciprocator.evaluation.layout import RECORD
from benchmarl_reciprocator.evaluation.records import file_names, slug
from benchmarl_reciprocator.evaluation.sections import (
    Measured,
    Section,
    Table,
    literal,
    render_html,
    render_markdown,
    unmarked,
)
from benchmarl_reciprocator.suites.suite import Run, expand, told_apart
from benchmarl_reciprocator.suites.sweep import quoted

TINY = [
    "experiment.on_policy_n_envs_per_worker=8",
    "experiment.on_policy_collected_frames_per_batch=256",
    "experiment.on_policy_minibatch_size=256",
    "experiment.evaluation_interval=256",
    "experiment.evaluation_episodes=4",
    "experiment.max_n_iters=1",
    "hydra/launcher=basic",
]


def suite_of(folder: Path, populations: dict[str, Any], task: str = "pd") -> list[str]:
    (folder / "conf" / "suite").mkdir(parents=True, exist_ok=True)
    suite = {"seeds": 1, "tasks": {task: ["+preset=prisoners_dilemma"]}, "populations": populations}
    file = folder / "conf" / "suite" / "mine.yaml"
    file.write_text(yaml.safe_dump(suite, allow_unicode=True), encoding="utf-8")
    return [f"--config-dir={file.parent.parent}", "suite=mine", *TINY]


@given(st.text(st.one_of(st.sampled_from("'\"\\${},=[]#: \n"), st.characters(codec="utf-8")), max_size=12))
def test_hydra_reads_a_quoted_text_as_it_stands(text: str) -> None:
    value = OverridesParser.create().parse_override(f"x={quoted(text)}").value()
    assert OmegaConf.create({"x": getattr(value, "text", value)}).x == text


def test_a_suite_runs_in_any_folder_with_any_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    place = tmp_path / 'jürgen\'s [work], 100% "own"'
    place.mkdir()
    monkeypatch.chdir(place)
    names = ["ε", "a|b: ${c}", "x" * 300]
    # The default folder, in the present one.
    assert benchmark.main(suite_of(place, dict.fromkeys(names, "ippo"), "Ωmega")) == 0, capsys.readouterr().err
    assert {path.name for path in place.iterdir()} == {"conf", "benchmark_mine"}
    found = [json.loads(file.read_text()) for file in place.glob(f"benchmark_mine/runs/*/*/*/{RECORD}")]
    assert sorted((one["task"], one["population"]) for one in found) == sorted(("Ωmega", name) for name in names)
    table = pd.read_csv(place / "benchmark_mine" / "report" / f"scores_{slug('Ωmega')}.csv")
    assert sorted(table["population"]) == sorted(names)


def test_the_folder_option_takes_any_path(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "größe, 2 (neu)"
    arguments = [*suite_of(tmp_path, {"learner": "ippo"}), f"folder={folder}"]
    assert benchmark.main(arguments) == 0, capsys.readouterr().err
    assert len(list(folder.glob(f"runs/*/*/*/{RECORD}"))) == 1


def test_names_that_look_alike_share_no_folder(tmp_path: Path) -> None:
    names = ["lr 1", "lr_1", "LR 1", "++", "--", "é", "e\u0301", "x" * 300, "x" * 301]
    suite = {"seeds": 2, "tasks": {"pd": "a", "PD": "a"}, "populations": dict.fromkeys(names, "ippo")}
    runs = told_apart(expand(suite), tmp_path)
    assert len({run.folder for run in runs}) == len(runs) == 2 * 2 * len(names)
    assert all(len(part.encode()) < 200 for run in runs for part in run.folder.split("/"))


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_stays_with_the_name_that_it_was_made_for(tmp_path: Path, finished: bool) -> None:
    first, second = (Run("pd", name, 0, ("algorithm=ippo",)) for name in ("lr 1", "lr_1"))
    place = tmp_path / first.folder
    (place / ".hydra").mkdir(parents=True)
    names = {"task": "pd", "population": "lr 1"}
    if finished:
        (place / RECORD).write_text(json.dumps(names))
    else:
        (place / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"run": names}))
    assert [run.folder == first.folder for run in told_apart([second, first], tmp_path)] == [False, True]


def test_ordinary_names_keep_the_folders_of_earlier_versions(tmp_path: Path) -> None:
    run = Run("prisoners_dilemma", "Reciprocator_with_IPPO", 3, ("algorithm=ippo", "task.max_steps=5"))
    assert told_apart([run], tmp_path)[0].folder == "prisoners_dilemma/reciprocator_with_ippo-32b1e9cc/seed_3"


def test_files_of_names_do_not_meet() -> None:
    files = file_names(["pd", "lr 1", "lr_1", "LR 1", "ε"])
    assert files["pd"] == "pd" and files["lr 1"] == "lr_1" and files["ε"] == "ε"
    assert len(set(files.values())) == 5


def test_names_are_shown_as_they_are_and_in_their_own_column() -> None:
    for name in ("a|b", "a\\|b", "*a*", "[a](b)", "`a`", "_a_", "<b>a</b>", "a_b", "two\nlines"):
        shown = " ".join(name.split())
        table = Table(["population", "return"], [[literal(name), Measured(1.0)]], best=[0])
        section = Section("Title", [table])
        # The last row of the markdown, its cells split at what is no part of a name.
        row = render_markdown([section]).splitlines()[-1]
        assert len(re.split(r"(?<!\\)(?:\\\\)*\|", row)) == 4, row
        page = render_html([Section("Head"), section], Path())
        (cell,) = re.findall(r'<th scope="row">(.*?)</th>', page)
        assert html.unescape(cell) == shown
        assert unmarked(literal(name)) == shown


def test_populations_and_tasks_that_look_alike_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = suite_of(tmp_path, {"lr_1": "ippo", "lr 1": "mappo"})
    file = tmp_path / "conf" / "suite" / "mine.yaml"
    suite = yaml.safe_load(file.read_text(encoding="utf-8"))
    file.write_text(yaml.safe_dump({**suite, "tasks": {name: suite["tasks"]["pd"] for name in ("my_pd", "my pd")}}))
    folder = tmp_path / "suite"
    assert benchmark.main([*arguments, f"folder={folder}"]) == 0, capsys.readouterr().err
    tables = [pd.read_csv(table) for table in (folder / "report").glob("scores_*.csv")]
    assert len(tables) == 2
    assert all(sorted(table["population"]) == ["lr 1", "lr_1"] for table in tables)
    page = (folder / "report" / "report.html").read_text()
    assert ">My pd (my_pd)</h3>" in page and ">My pd (my pd)</h3>" in page


def test_files_are_utf_8_whatever_the_locale(tmp_path: Path) -> None:
    code = r"""
import sys
from pathlib import Path
from benchmarl_reciprocator.evaluation.sections import Section, Table, write_sections
from benchmarl_reciprocator.evaluation.tables import write_table
table = Table(["\u03b5"], [["\u2020"]])
write_sections([Section("\u2605", [table])], Path(sys.argv[1]), "some")
write_table(table, Path(sys.argv[1]) / "table")
"""
    # Python's own mode for such a locale is off, as it is for those of Latin alphabets.
    plain_locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env={**os.environ, **plain_locale}, check=True)
    assert "★" in (tmp_path / "some.md").read_text(encoding="utf-8")
    assert "dag" in (tmp_path / "table.tex").read_text(encoding="utf-8")
