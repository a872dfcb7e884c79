"""A suite's section `study`: what it must say, that it is kept, and what the report makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarl_reciprocator.evaluation.paired_tests import paired_test
from benchmarl_reciprocator.evaluation.reports.ordered import in_order
from benchmarl_reciprocator.evaluation.reports.study import Study, keep_study, kept_studies, read_study
from benchmarl_reciprocator.evaluation.reports.study_sections import outcome_values, study_sections, verdict
from benchmarl_reciprocator.evaluation.result_files import read_results
from benchmarl_reciprocator.evaluation.sections import render_markdown
from benchmarl_reciprocator.suites.suite import expand

TASKS, POPULATIONS = ("short", "long"), ("ippo", "mine")
SECTION = {
    "question": "Does it depend on the length?",
    "outcomes": {"cooperation": 0.1, "worst_off": None},
    "varied": [
        {
            "name": "episode length",
            "unit": "steps",
            "log": True,
            "values": {"short": 8, "long": 32},
            "baseline": "short",
        },
        {"name": "algorithm", "values": {"ippo": "IPPO", "mine": "ours"}},
    ],
    "baseline": "ippo",
}
VARIED = SECTION["varied"][0]


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ([], r"suite.study must be a mapping with the entries outcomes, question, varied, .* but is \[\]"),
        ({"answer": 1}, "suite.study must be a mapping with .* 'answer'"),
        ({"question": ""}, "suite.study.question must be a sentence, but is ''"),
        ({"outcomes": {}}, "suite.study.outcomes must be a mapping of outcomes, but is {}"),
        ({"outcomes": {"coop": None}}, "an entry of suite.study.outcomes must be one of cooperation, .*'coop'"),
        ({"outcomes": {"cooperation": 0}}, "suite.study.outcomes.cooperation must be null or .* but is 0"),
        ({"varied": {}}, "suite.study.varied must be a list of what is varied, but is {}"),
        ({"baseline": "QMIX"}, "suite.study.baseline must be null or one of .*ippo, mine, but is 'QMIX'"),
        ({"varied": [{**VARIED, "values": {"other": 8}}]}, r"varied\[0\].values must be by names of tasks .*'other'"),
        ({"varied": [{**VARIED, "values": {"short": 8, "long": "x"}}]}, r"varied\[0\].values must be all numbers"),
        ({"varied": [{**VARIED, "values": {"short": 0, "long": 8}}]}, r"varied\[0\].log must be false where"),
        ({"varied": [{**VARIED, "baseline": "ippo"}]}, r"varied\[0\].baseline must be null or one of short, long"),
    ],
)
def test_a_bad_study_is_told_by_its_key_before_any_training(section: Any, named: str) -> None:
    study = {**SECTION, **section} if isinstance(section, dict) else section
    suite = {"seeds": 1, "tasks": dict.fromkeys(TASKS, "a/b"), "populations": dict.fromkeys(POPULATIONS, "c")}
    with pytest.raises(ValueError, match=named):
        expand({**suite, "study": study})


def test_what_is_taken_out_of_a_suite_is_left_out_of_its_study() -> None:
    with pytest.warns(UserWarning, match=r"varied\[0\].values names short, which the suite has not in its tasks"):
        study = read_study(SECTION, ("long",), POPULATIONS)
    assert study.varied[0].values == {"long": 32} and study.varied[0].baseline is None
    assert study.varied[1].values == {"ippo": "IPPO", "mine": "ours"}


def test_a_study_is_kept_in_the_folder_by_the_name_of_its_suite(tmp_path: Path) -> None:
    keep_study(tmp_path, "study_length", {**SECTION, "question": "earlier"}, TASKS, POPULATIONS)
    keep_study(tmp_path, "study_length", SECTION, TASKS, POPULATIONS)
    keep_study(tmp_path, "another", SECTION, TASKS, POPULATIONS)
    (tmp_path / "studies" / "broken.json").write_text("{")
    studies, skipped = kept_studies(tmp_path)
    assert studies == dict.fromkeys(("another", "study_length"), read_study(SECTION, TASKS, POPULATIONS))
    assert len(skipped) == 1
    assert "broken.json" in skipped[0]


@pytest.mark.parametrize(
    ("one", "margin", "said"),
    [
        ([0.50, 0.51, 0.49], 0.1, "no effect: less than 0.1"),
        ([0.55, 0.56, 0.54], 0.1, "higher, by less than 0.1"),
        ([0.1, 0.11, 0.09], 0.1, "lower"),
        ([0.2, 0.9, 0.5], 0.1, "not told apart"),
        ([0.50, 0.51, 0.49], None, "not told apart"),
        ([0.9], 0.1, "too few seeds"),
    ],
)
def test_what_an_interval_excludes(one: list[float], margin: float | None, said: str) -> None:
    test = paired_test(dict(enumerate(one)), dict.fromkeys(range(3), 0.5))
    assert verdict(test, test.p, margin) == said


def test_a_difference_that_the_number_of_comparisons_explains_is_none() -> None:
    test = paired_test({0: 0.1, 1: 0.11, 2: 0.09}, dict.fromkeys(range(3), 0.5))
    assert verdict(test, 0.06, 0.1) == "not told apart"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three seeds: cooperation of IPPO is 0.2 in short and long episodes, ours 0.8 in short ones and 0.5 in long."""
    cooperation = {("short", "ippo"): 0.2, ("long", "ippo"): 0.2, ("short", "mine"): 0.8, ("long", "mine"): 0.5}
    for (task, population), value in cooperation.items():
        for seed in range(3):
            _add_run(tmp_path, task, population, seed, value + 0.01 * (seed - 1))
    keep_study(tmp_path, "study_length", SECTION, TASKS, POPULATIONS)
    return tmp_path


def _add_run(folder: Path, task: str, population: str, seed: int, cooperation: float) -> None:
    place = folder / "runs" / task / f"{population}-0" / f"seed_{seed}"
    scalars = place / "experiment" / "experiment" / "scalars"
    scalars.mkdir(parents=True)
    step = {"step_count": 100, "return": [4.0], "agent_0_return": [4.0], "agent_1_return": [2.0], "utilitarian": [3.0]}
    evaluations = {"step_0": {**step, "p_cooperate": [cooperation]}}
    content = {"social_dilemmas": {task: {population: {f"seed_{seed}": evaluations}}}}
    (place / "experiment" / "experiment.json").write_text(json.dumps(content))
    for pair, size in (("0_on_1", 1.0), ("1_on_0", 3.0)):
        # Of ten iterations the last two count.
        lines = [f"{iteration},{size if iteration >= 8 else 100}" for iteration in range(10)]
        (scalars / f"reciprocity_influence_{pair}.csv").write_text("\n".join(lines))
    record = {"task": task, "population": population, "seed": seed, "agents": [population] * 2, "frames": 100}
    record |= {"cpu_seconds": 7.0, "resumed": seed == 0, "json": "experiment/experiment.json", "task_version": 1}
    record["cooperation"] = {"metric": "p_cooperate", "label": "P(cooperate)", "low": 0.0, "high": 1.0}
    (place / "run.record").write_text(json.dumps(record))


def test_the_report_answers_the_question(folder: Path) -> None:
    report = folder / "report"
    report.mkdir()
    study_sections(in_order(read_results(folder)), folder, report)
    assert (report / "study_length.png").is_file()
    text = (report / "study_length.md").read_text()
    assert text.startswith("# Study: length\n")
    assert SECTION["question"] in text
    numbers = pd.read_csv(report / "study_length.csv")
    of = numbers[(numbers["varied"] == "episode length") & (numbers["outcome"] == "cooperation")]
    assert of.set_index(["value", "population"])["estimate"].to_dict() == pytest.approx(
        {("8", "ippo"): 0.2, ("32", "ippo"): 0.2, ("8", "mine"): 0.8, ("32", "mine"): 0.5}
    )
    assert (numbers[numbers["outcome"] == "worst_off"]["estimate"] == 2).all()
    # What is varied by population, beside what is varied by task
    assert set(numbers[numbers["varied"] == "algorithm"]["value"]) == {"IPPO", "ours"}
    differences = pd.read_csv(report / "study_length_differences.csv")
    differences = differences[differences["outcome"] == "cooperation"]
    named = ["task", "population", "against_task", "against_population"]
    said = differences.set_index(named)["verdict"].to_dict()
    assert said == {
        ("short", "mine", "short", "ippo"): "higher",
        ("long", "mine", "long", "ippo"): "higher",
        ("long", "mine", "short", "mine"): "lower",
        ("long", "ippo", "short", "ippo"): "no effect: less than 0.1",
    }


def test_outcomes_of_records_and_of_diagnostics(folder: Path) -> None:
    ordered = in_order(read_results(folder))
    seconds = outcome_values(ordered, "cpu_seconds")
    # Of the first seed, which was resumed, not all of the time is known.
    assert seconds["short", "mine"].isna().tolist() == [True, False, False]
    assert seconds["short", "mine", 1] == 7
    assert (outcome_values(ordered, "diagnostic/influence") == 2).all()
    assert (outcome_values(ordered, "measure/agent_1_return") == 2).all()
    assert outcome_values(ordered, "diagnostic/no_such").isna().all()
    assert outcome_values(ordered, "measure/no_such").isna().all()


def test_what_was_not_run_or_measured_is_no_error(folder: Path) -> None:
    values = {"short": 8, "long": 32, "never": 128}
    section = {
        **SECTION,
        "outcomes": {"sustainability": None, "return": None},
        "varied": [{**VARIED, "values": values}],
    }
    keep_study(folder, "study_length", section, values, POPULATIONS)
    (section_of_report,), _ = study_sections(in_order(read_results(folder)), folder, folder)
    assert "Not measured: sustainability." in render_markdown([section_of_report])
    assert set(pd.read_csv(folder / "study_length.csv")["value"]) == {8, 32}


def test_a_value_has_one_point_on_every_line() -> None:
    study: Study = read_study(SECTION, TASKS, POPULATIONS)
    by_task, by_population = study.varied
    assert by_task.points(TASKS, POPULATIONS)[0] == ("short", "ippo", "short")
    assert by_population.points(TASKS, POPULATIONS) == [
        ("short", "ippo", "ippo"),
        ("short", "mine", "mine"),
        ("long", "ippo", "ippo"),
        ("long", "mine", "mine"),
    ]
