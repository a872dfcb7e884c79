"""Reports from files alone: hand-worked numbers, foreign and broken files, what tables must say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rliable import metrics

from benchmarl_reciprocator.commands import report as command
from benchmarl_reciprocator.evaluation.reports.beside import worst_cases_beside
from benchmarl_reciprocator.evaluation.reports.headline import finding, headline
from benchmarl_reciprocator.evaluation.reports.ordered import in_order
from benchmarl_reciprocator.evaluation.reports.report import write_configs, write_report
from benchmarl_reciprocator.evaluation.reports.words import counted, listed, title_of
from benchmarl_reciprocator.evaluation.result_files import (
    evaluated_too_early,
    final_rows,
    read_evaluations,
    read_results,
)
from benchmarl_reciprocator.evaluation.sections import Figure, Section, write_sections
from benchmarl_reciprocator.evaluation.statistics import (
    area_under_curve,
    difference,
    interquartile_mean,
    interquartile_means_over_time,
    median_with_never,
    performance_profiles,
    probability_of_improvement,
    share_of_wins,
    show,
    stands_from,
    trimmed_mean,
    within_noise_of_the_best,
)
from benchmarl_reciprocator.tasks.measure import CooperationMeasure

# Ten evaluations of two episodes: an agent's return rises from 0 to 9 over training.
EVALUATIONS = 10


def evaluations(offset: float, **measures: float) -> dict:
    steps = {}
    for step in range(EVALUATIONS):
        returns = [offset + step - 0.5, offset + step + 0.5]
        steps[f"step_{step}"] = {
            "step_count": 100 * step,
            "return": returns,
            "agent_0_return": returns,
            "agent_1_return": [value - 2 for value in returns],
            "utilitarian": [value - 1 for value in returns],
            **{name: [value, value] for name, value in measures.items()},
        }
    return steps


P_COOPERATE = {"metric": "p_cooperate", "label": "P(cooperate)", "low": 0.0, "high": 1.0}


def add_run(
    folder: Path,
    population: str,
    seed: int,
    agents: tuple[str, str],
    offset: float,
    task: str = "pd",
    recorded: dict | None = None,
    **measures: float,
) -> Path:
    """What a suite's run leaves."""
    place = folder / "runs" / task / f"{population}-0" / f"seed_{seed}"
    experiment = place / "experiment"
    experiment.mkdir(parents=True)
    content = {"social_dilemmas": {task: {agents[0]: {f"seed_{seed}": evaluations(offset, **measures)}}}}
    (experiment / "experiment.json").write_text(json.dumps(content))
    record = {
        "task": task,
        "population": population,
        "seed": seed,
        "agents": list(agents),
        "frames": 900,
        "seconds": 3.0,
        **({"task_version": 1, "cooperation": P_COOPERATE} if recorded is None else recorded),
    }
    (place / "run.json").write_text(json.dumps({**record, "json": "experiment/experiment.json"}))
    return place


@pytest.fixture
def results_folder(tmp_path: Path) -> Path:
    for seed in range(4):
        bounds = {"all_cooperate_return": 20.0, "all_defect_return": 0.0}
        add_run(tmp_path, "pair_of_kinds", seed, ("reciprocator", "ippo"), 10 + seed, p_cooperate=0.9, **bounds)
        add_run(tmp_path, "pooled", seed, ("qmix", "qmix"), seed, p_cooperate=0.1, **bounds)
    return tmp_path


def test_final_scores_are_the_interquartile_mean_of_the_last_fifth(results_folder: Path) -> None:
    printed = write_report(results_folder)
    table = pd.read_csv(results_folder / "report" / "scores_pd.csv").set_index("population")
    # Evaluations after frame 720 are those with 8 and 9; seeds 10 to 13, of which the middle two count; less 1.
    score = table.loc["pair of kinds", "return"]
    assert score.startswith("19.00 [")
    # Agent 0 is the Reciprocator, agent 1 has two less.
    roles = pd.read_csv(results_folder / "report" / "roles_pd.csv").set_index("role")
    assert roles.loc["reciprocator", "return"].startswith("20.00 [")
    assert roles.loc["ippo", "return"].startswith("18.00 [")
    assert table.loc["pair of kinds", "worst-off agent"].startswith("18.00")
    assert table.loc["pooled †", "P(cooperate)"] == "0.10 [0.10, 0.10]"
    assert "group's mean reward" in printed
    assert "all cooperate 20.00, all defect 0.00" in printed
    normalised = pd.read_csv(results_folder / "report" / "normalised.csv").set_index("population")
    assert normalised.loc["pair of kinds", "normalised return"].startswith("0.95 [")
    improvement = pd.read_csv(results_folder / "report" / "improvement.csv").set_index("population")
    assert improvement.loc["pair of kinds", "over pooled †"] == "1.00 [1.00, 1.00]"


def test_when_cooperation_stands_and_what_was_earned_until_then(tmp_path: Path) -> None:
    # In 10 evaluations from frame 0 to 900: seed 0 never falls below 0.8 again after frame 300, seed 1 after 500.
    for seed, last_below in ((0, 200), (1, 400), (2, 900)):
        experiment = add_run(tmp_path, "mine", seed, ("ippo", "ippo"), offset=0.0, p_cooperate=0.0) / "experiment"
        content = json.loads((experiment / "experiment.json").read_text())
        for step in content["social_dilemmas"]["pd"]["ippo"][f"seed_{seed}"].values():
            step["p_cooperate"] = 2 * [0.7 if step["step_count"] == last_below else 0.8]
        (experiment / "experiment.json").write_text(json.dumps(content))
        scalars = experiment / "experiment" / "scalars"
        scalars.mkdir(parents=True)
        # Iterations of 150 frames, two seconds each
        (scalars / "counters_total_frames.csv").write_text("".join(f"{i},{150.0 * (i + 1)}\n" for i in range(6)))
        (scalars / "timers_total_time.csv").write_text("".join(f"{i},{2.0 * (i + 1)}\n" for i in range(6)))
    write_report(tmp_path)
    final = pd.read_csv(tmp_path / "report" / "final.csv").set_index("seed")
    assert final["stands_frames"].tolist()[:2] == [300, 500] and final["stands_frames"].isna()[2]
    assert final["stands_seconds"].tolist()[:2] == [4.0, 8.0] and final["stands_seconds"].isna()[2]
    # The mean of agents' returns rises from -1 to 8.
    assert final["area_under_curve"].tolist() == [3.5] * 3
    table = pd.read_csv(tmp_path / "report" / "scores_pd.csv").iloc[0]
    assert table["frames until cooperation stands"] == "500 (2 of 3)"
    assert table["seconds until it stands"] == "8 (2 of 3)"
    assert table["area under the curve"] == "3.50 [3.50, 3.50]"
    assert "worst case over co-players, per step" not in table


def test_the_worst_case_comes_from_the_cross_play_beside_the_runs(results_folder: Path) -> None:
    folder = results_folder / "crossplay" / "pd"
    folder.mkdir(parents=True)
    (folder / "worst_cases.csv").write_text(
        "row,column,mean,low,high\npooled,all_d,-2.9,-3,-2.8\npair_of_kinds: ippo,all_d,-2.5,-2.6,-2.4\n"
        "pair_of_kinds: reciprocator,all_d,-2.1,-2.2,-2.0\n"
    )
    assert set(worst_cases_beside(results_folder, {"pd": "other", "pd_2": "other"})) == {"pd"}
    write_report(results_folder)
    table = pd.read_csv(results_folder / "report" / "scores_pd.csv").set_index("population")
    # Of a population of two kinds the worse one's
    assert table["worst case over co-players, per step"].to_dict() == {
        "pair of kinds": "-2.50 [-2.60, -2.40]",
        "pooled †": "-2.90 [-3.00, -2.80]",
    }


def test_curves_by_hand() -> None:
    nan = float("nan")
    times = [0, 10, 20, 30]
    assert stands_from(times, [0.9, 0.7, 0.8, 0.9], 0.8) == 20
    assert stands_from(times, [0.9, nan, 0.8, nan], 0.8) == 0
    assert np.isnan([stands_from(times, [0.9, 0.9, 0.9, 0.7], 0.8), stands_from([], [], 0.8)]).all()
    assert area_under_curve([0, 10, 40], [0.0, 2.0, 4.0]) == (10 * 1 + 30 * 3) / 40
    assert area_under_curve([0, 10, 40], [0.0, nan, 4.0]) == 2.0
    assert area_under_curve([5], [3.0]) == 3.0 and np.isnan(area_under_curve([], []))
    assert median_with_never([nan, 2.0, 1.0]) == 2.0
    assert median_with_never([nan, 1.0]) == median_with_never([nan]) == np.inf


def test_the_report_is_one_folder_that_needs_nothing_else(results_folder: Path) -> None:
    write_report(results_folder)
    report = results_folder / "report"
    names = {file.name for file in report.iterdir()}
    assert {"report.md", "report.html", "runs.csv", "evaluations.csv.gz", "scores_pd.csv", "scores_pd.tex"} <= names
    assert {
        f"{figure}.{kind}" for figure in ("curves_pd", "normalised", "profiles") for kind in ("png", "pdf")
    } <= names
    page = (report / "report.html").read_text()
    assert set(re.findall(r'src="(.{5})', page)) == {"data:"}
    assert r"\dag" in (report / "scores_pd.tex").read_text()
    # From the same files comes the same report.
    first = {file.name: file.read_bytes() for file in report.iterdir() if file.suffix in (".md", ".csv", ".gz", ".tex")}
    write_report(results_folder)
    assert first == {name: (report / name).read_bytes() for name in first}


def test_unreadable_files_are_told_and_left_out(results_folder: Path) -> None:
    broken = results_folder / "runs" / "pd" / "pooled-0" / "seed_0"
    (broken / "experiment" / "experiment.json").write_text('{"social_dilemmas": ')
    half = add_run(results_folder, "half_written", 0, ("ippo", "ippo"), 0)
    (half / "run.json").write_text('{"task": "p')
    (half / "progress").write_text("3")
    write_report(results_folder)
    text = (results_folder / "report" / "report.md").read_text()
    skipped = text[text.index("## Files that could not be read") :]
    assert "pooled-0/seed_0/run.json" in skipped
    assert "half_written-0/seed_0/run.json" in skipped
    assert pd.read_csv(results_folder / "report" / "scores_pd.csv")["seeds"].tolist() == [4, 3]


def test_few_seeds_are_stated(tmp_path: Path) -> None:
    add_run(tmp_path, "alone", 0, ("ippo", "ippo"), 0)
    assert "Fewer than 3 seeds" in write_report(tmp_path)
    assert pd.read_csv(tmp_path / "report" / "scores_pd.csv")["return"].tolist() == [7.5]


def test_results_of_benchmarls_own_command_are_read(small_experiment, tmp_path: Path) -> None:
    for seed in (0, 1):
        experiment = small_experiment("algorithm=mixed", f"seed={seed}", "experiment.loggers=[csv]")
        experiment.run()
    results = read_results(tmp_path)
    runs = sorted(results.runs[["task", "seed"]].itertuples(index=False, name=None))
    assert runs == [("prisoners_dilemma", 0), ("prisoners_dilemma", 1)]
    assert not results.skipped
    # What the Reciprocator logged comes from its csv files.
    assert results.diagnostics["influence_0_on_1"].notna().all()
    assert sorted(results.diagnostics["iteration"].unique()) == [0, 1]
    assert "Prisoner's dilemma" in write_report(tmp_path)


def test_the_same_name_twice_is_no_replication(results_folder: Path) -> None:
    add_run(results_folder / "runs" / "again", "pooled", 0, ("qmix", "qmix"), 0)
    results = read_results(results_folder)
    assert len(results.runs) == 8
    assert "pd, pooled, seed 0: found more than once" in results.skipped[0]


def test_cross_play_beside_the_runs_is_a_part_of_the_report(results_folder: Path) -> None:
    folder = results_folder / "crossplay" / "pd"
    folder.mkdir(parents=True)
    (folder / "scores.png").write_bytes(b"a picture")
    document = [Section("Cross-play: pd", level=1), Section("Scores", [Figure("scores.png", "Scores")])]
    write_sections(document, folder, "crossplay")
    # What is beside the runs is not taken for one of them.
    add_run(folder, "training_of_an_exploiter", 0, ("ippo", "ippo"), 0)
    write_report(results_folder)
    report = results_folder / "report"
    text = (report / "report.md").read_text()
    assert "## Cross-play: pd\n\n### Scores\n\n![Scores](crossplay_pd_scores.png)" in text
    assert text.index("## Cross-play: pd") < text.index("## Setting")
    assert (report / "crossplay_pd_scores.png").read_bytes() == b"a picture"
    assert "training_of_an_exploiter" not in text


def test_cross_play_of_an_earlier_version_is_named_with_how_to_renew_it(results_folder: Path) -> None:
    for name in ("crossplay", "exploitability"):
        (results_folder / name / "pd").mkdir(parents=True)
        (results_folder / name / "pd" / f"{name}.md").write_text("# Old\n\n![x](x.png)\n")
    (results_folder / "exploitability" / "pd" / "section.json").write_text("[")
    write_report(results_folder)
    text = (results_folder / "report" / "report.md").read_text()
    assert "`crossplay/pd/crossplay.md` is of an earlier version" in text
    assert "benchmarl-reciprocator exploitability ... --output exploitability/pd" in text
    assert "exploitability/pd/section.json cannot be read" in text
    assert "# Old" not in text


def with_ippo(folder: Path, better: float, seeds: int = 5, **recorded) -> None:
    """Reciprocators that cooperate, IPPO that does so less by ``better``, and QMIX."""
    for seed in range(seeds):
        for name, algorithm, rate in (("IPPO", "ippo", 0.9 - better), ("Ours", "reciprocator", 0.9), ("Q", "qmix", 1)):
            noise = 0.01 * seed
            add_run(folder, name, seed, (algorithm, algorithm), rate + noise, p_cooperate=rate - noise, **recorded)


def test_the_headline_says_who_cooperates_by_how_much_and_how_sure(tmp_path: Path) -> None:
    with_ippo(tmp_path, better=0.5)
    lead, sure, by_task = write_report(tmp_path).split("\n\n")[1:4]
    assert lead == "**Ours** cooperates most among self-interested populations."
    assert sure.startswith("How sure: 5 seeds for each") and "hints" not in sure
    assert by_task.startswith(
        "- **Pd.** P(cooperate) 0.88 [0.86, 0.90] of Ours; next IPPO with 0.38 [0.36, 0.40], 0.50 ["
    )
    assert by_task.endswith("below it. Q †: 0.98 [0.96, 1.00].")
    page = (tmp_path / "report" / "report.html").read_text()
    # The package's own method first, the cooperative reference last; the best row alone is marked.
    rows = re.findall(r'<tr( class="best")?>\n<th scope="row">([^<]*)</th>', page)
    assert rows[:3] == [(' class="best"', "Ours"), ("", "IPPO"), ("", "Q †")]


@pytest.mark.parametrize(
    ("better", "seeds", "said"),
    [
        (0.0, 5, "No population is ahead of the others beyond noise."),
        (0.5, 3, "Intervals of so few seeds are too narrow"),
        (0.5, 1, "**no conclusion should be drawn**"),
    ],
)
def test_the_headline_claims_no_more_than_seeds_allow(tmp_path: Path, better: float, seeds: int, said: str) -> None:
    with_ippo(tmp_path, better, seeds)
    head = write_report(tmp_path).split("## Final scores")[0]
    assert said in head
    if seeds == 1:
        assert "One seed: P(cooperate) from 0.40 (IPPO) to 0.90 (Ours)" in head and "cooperates most" not in head


def test_tasks_that_do_not_measure_cooperation_count_only_without_others(tmp_path: Path) -> None:
    with_ippo(tmp_path, better=0.5, seeds=4)
    with_ippo(tmp_path, better=0.5, seeds=4, task="second")
    with_ippo(tmp_path, better=0.5, seeds=4, task="none", recorded={"task_version": 1, "cooperation": None})
    lead = headline(in_order(read_results(tmp_path)))[0]
    assert lead.text == (
        "**Ours** cooperates most among self-interested populations, or cannot be told apart from the best, on both "
        "tasks that measure cooperation."
    )


def test_nobody_cooperates_is_said(tmp_path: Path) -> None:
    for seed in range(3):
        for name, rate in (("one", 0.05), ("other", 0.01)):
            add_run(tmp_path, name, seed, ("ippo", "ippo"), 0, p_cooperate=rate + 0.001 * seed)
    found = finding(in_order(read_results(tmp_path)), "pd")
    assert found.text.startswith("Nobody cooperates: P(cooperate) from 0.01") and not found.leaders


def test_the_measure_of_cooperation_comes_from_the_record_the_task_file_or_the_registry(tmp_path: Path) -> None:
    own = {"metric": "sharing", "label": "share given", "low": -1.0, "high": 1.0}
    bare = {"recorded": {}}
    add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0, "by_record", {"task_version": 3, "cooperation": own}, sharing=0.5)
    place = add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0, "by_file", **bare, sharing=0.5, p_cooperate=0.1)
    (place / "experiment" / "task.yaml").write_text(json.dumps({"version": 2, "cooperation": own}))
    add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0, "prisoners_dilemma", **bare, p_cooperate=0.5)
    add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0, "unheard_of", **bare, p_cooperate=0.5)
    add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0, "none", {"task_version": 1, "cooperation": None}, p_cooperate=0.5)
    of = in_order(read_results(tmp_path))
    sharing = CooperationMeasure(**own)
    expected = {"by_record": sharing, "by_file": sharing, "prisoners_dilemma": CooperationMeasure(**P_COOPERATE)}
    assert of.measures == expected
    versions = of.results.runs.set_index("task")["task_version"]
    assert (versions["by_record"], versions["by_file"]) == (3, 2) and pd.isna(versions["unheard_of"])
    write_report(tmp_path)
    table = pd.read_csv(tmp_path / "report" / "scores_by_file.csv")
    assert table["share given"].tolist() == [0.5]
    text = (tmp_path / "report" / "report.md").read_text()
    assert re.search(r"\| By record +\| `social_dilemmas/by_record` +\| 3 +\| share given \(`sharing`\)", text)
    assert re.search(r"\| Unheard of +\| .* \| not known of 1 run +\| not measured", text)


def test_no_measure_is_dropped_for_its_name(tmp_path: Path) -> None:
    further = {"harvested": 7.0, "agent_0_p_cooperate_after_CC": 0.2, "agent_1_p_cooperate_after_CC": 0.4}
    add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0, p_cooperate=0.5, all_defect_return=-1.0, **further)
    many = {f"place_{index}": float(index) for index in range(12)}
    add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0, "other", p_cooperate=0.5, **many)
    write_report(tmp_path)
    report = tmp_path / "report"
    (row,) = pd.read_csv(report / "further_pd.csv").to_dict("records")
    assert row == {"population": "a", "harvested": 7.0, "p cooperate after CC": 0.3}
    text = (report / "report.md").read_text()
    assert "12 further measures of the task are in `final.csv`" in text and not (report / "further_other.csv").exists()
    assert pd.read_csv(report / "final.csv").set_index("task").loc["other", "place_11"] == 11


def test_results_of_an_earlier_version_of_a_task_do_not_count(tmp_path: Path) -> None:
    for seed, version in enumerate([2, 2, 1, None]):
        recorded = {"task_version": version, "cooperation": P_COOPERATE}
        add_run(tmp_path, "a", seed, ("ippo", "ippo"), seed, recorded=recorded, p_cooperate=0.5)
    write_report(tmp_path)
    text = (tmp_path / "report" / "report.md").read_text()
    left_out = text[text.index("## Left out") :]
    assert "pd, a, seed 2: was run on version 1 of the task, the others on version 2" in left_out
    assert pd.read_csv(tmp_path / "report" / "scores_pd.csv")["seeds"].tolist() == [3]
    # What was run before there were versions is taken, and said.
    assert "2, not known of 1 run" in text


def test_mixtures_with_a_reciprocator_come_after_it_and_before_others(results_folder: Path) -> None:
    add_run(results_folder, "a_baseline", 0, ("ippo", "ippo"), 0)
    add_run(results_folder, "ours", 0, ("reciprocator_mappo", "reciprocator_mappo"), 0)
    of = in_order(read_results(results_folder))
    assert of.populations == ["ours", "pair_of_kinds", "a_baseline", "pooled"]
    assert of.own == ["ours", "pair_of_kinds"] and of.references == ["pooled"]
    strong, weaker = (of.styles[name] for name in ("ours", "a baseline"))
    assert strong["linewidth"] > weaker["linewidth"] and strong["color"] == "#D55E00"


def test_names_as_people_write_them() -> None:
    assert title_of("prisoners_dilemma") == "Prisoner's dilemma"
    assert title_of("public_goods_5", n_agents=5) == "Public goods, 5 agents"
    assert title_of("map_2", n_agents=5) == "Map 2"
    assert title_of("pd") == "Pd"
    assert [listed("abc"), listed("ab"), listed("a")] == ["a, b and c", "a and b", "a"]
    assert [counted(1, "seed"), counted(2, "seed")] == ["1 seed", "2 seeds"]


def test_the_command_names_what_it_cannot_read(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        command.main([str(tmp_path / "none")])
    assert "folder must be a folder of results, but is " in capsys.readouterr().err
    add_run(tmp_path, "a", 0, ("ippo", "ippo"), 0)
    assert command.main([str(tmp_path), "--output", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "elsewhere" / "report.html").is_file() and not (tmp_path / "report").exists()
    assert "# Benchmark report" in capsys.readouterr().out


def test_an_empty_folder_has_a_report_too(tmp_path: Path) -> None:
    assert "no run has finished" in write_report(tmp_path, failures=["pd, IPPO, seed 0: ValueError: no"])
    assert "ValueError: no" in (tmp_path / "report" / "report.md").read_text()


def test_evaluations_are_read_by_hand_worked_numbers(tmp_path: Path) -> None:
    steps = {
        "absolute_metrics": {"return": [3.0]},
        "step_0": {"step_count": 10, "return": [1.0, 3.0]},
        "step_1": {"step_count": 20, "return": [2.0, 6.0]},
    }
    file = tmp_path / "run.json"
    file.write_text(json.dumps({"env": {"task": {"ippo": {"seed_3": steps}}}}))
    frame = read_evaluations(file)
    assert frame["frames"].tolist() == [10, 20]
    assert frame["return"].tolist() == [2.0, 4.0]
    assert frame["seed"].tolist() == [3, 3]
    # The last fifth of 20 frames begins after frame 16.
    assert final_rows(frame, by=["seed"])["return"].tolist() == [4.0]
    for content in ("{", "[]", '{"env": {}}'):
        file.write_text(content)
        with pytest.raises(ValueError, match="is not an evaluation JSON"):
            read_evaluations(file)


def test_the_end_is_of_what_was_trained() -> None:
    frame = pd.DataFrame(
        {"seed": [0] * 3 + [1] * 2, "frames": [10, 81, 90, 10, 20], "return": [0.0, 1.0, 3.0, 4.0, 6.0]}
    )
    assert final_rows(frame, by=["seed"])["return"].tolist() == [2.0, 6.0]
    runs = pd.DataFrame({"seed": [0, 1], "frames": [102, 100]})
    # After frame 81.6, and the last one of a run that was not evaluated after frame 80.
    assert final_rows(frame, by=["seed"], runs=runs)["return"].tolist() == [3.0, 6.0]
    assert final_rows(frame, by=["seed"], runs=runs[:1])["return"].tolist() == [3.0, 6.0]


def test_runs_that_were_not_evaluated_at_their_end_are_told(results_folder: Path) -> None:
    write_report(results_folder)
    assert "Not evaluated at the end" not in (results_folder / "report" / "report.md").read_text()
    file = next(results_folder.rglob("pooled-0/seed_2/run.json"))
    file.write_text(json.dumps({**json.loads(file.read_text()), "frames": 164_000}))
    printed = write_report(results_folder)
    assert "**1 run was not evaluated at the end of training:** see *Not evaluated at the end*" in printed
    text = (results_folder / "report" / "report.md").read_text()
    assert "pd, pooled, seed 2: last evaluated at frame 900 of 164,000" in text


def test_frames_of_runs_without_a_record_are_those_collected(tmp_path: Path) -> None:
    place = add_run(tmp_path, "ippo", 0, ("ippo", "ippo"), 0)
    (place / "run.json").unlink()
    scalars = place / "experiment" / "experiment" / "scalars"
    scalars.mkdir(parents=True)
    (scalars / "counters_total_frames.csv").write_text("0,100\n1,1000.0\n")
    results = read_results(tmp_path)
    assert results.runs["frames"].tolist() == [1000]
    assert evaluated_too_early(results) == ["pd, ippo, seed 0: last evaluated at frame 900 of 1,000"]


def test_rows_are_named_by_their_own_keys(tmp_path: Path) -> None:
    place = add_run(tmp_path, "ippo", 0, ("ippo", "ippo"), 0)
    file = place / "experiment" / "experiment.json"
    content = json.loads(file.read_text())
    content["social_dilemmas"]["stag_hunt"] = {"ippo": {"seed_0": evaluations(50)}}
    content["social_dilemmas"]["pd"]["iql"] = {"seed_1": evaluations(70)}
    file.write_text(json.dumps(content))
    # The record cannot tell which of them it is of.
    results = read_results(tmp_path)
    assert results.runs.empty
    assert (
        "must hold one task and algorithm with seed 0, but holds pd by ippo and stag_hunt by ippo" in results.skipped[0]
    )
    # Without one, each goes by its own name.
    (place / "run.json").unlink()
    results = read_results(tmp_path)
    rows = results.evaluations.groupby(["task", "population", "seed"])["return"].max().to_dict()
    assert {key: value - rows["pd", "ippo", 0] for key, value in rows.items()} == {
        ("pd", "ippo", 0): 0.0,
        ("pd", "iql", 1): 70.0,
        ("stag_hunt", "ippo", 0): 50.0,
    }
    assert sorted(zip(results.runs["task"], results.runs["population"], results.runs["seed"])) == sorted(rows)


def test_a_record_goes_before_one_of_the_earlier_name(tmp_path: Path) -> None:
    place = add_run(tmp_path, "pooled", 0, ("qmix", "qmix"), 0)
    old = place / "run.json"
    (place / "run.record").write_text(json.dumps({**json.loads(old.read_text()), "population": "renamed"}))
    assert read_results(tmp_path).runs["population"].tolist() == ["renamed"]


def test_interquartile_mean_and_its_interval() -> None:
    scores = np.array([[0.0], [1.0], [2.0], [100.0]])
    interval = interquartile_mean(scores)
    assert interval.estimate == 1.5
    assert 0 <= interval.low < 1.5 < interval.high <= 100
    # One seed has no interval; resampling is repeatable.
    assert show(*interquartile_mean(scores[:1])) == "0.00"
    assert interquartile_mean(scores) == interval
    over_time = interquartile_means_over_time(np.stack([scores[:, 0], 2 * scores[:, 0]], axis=-1))
    assert over_time[:, 0].tolist() == [1.5, 3.0]
    assert show(-0.001, -0.2, 0.1) == "0.00 [-0.20, 0.10]"


def test_probability_of_improvement_counts_pairs() -> None:
    # Of the four pairs, two are won, one is drawn.
    assert probability_of_improvement(np.array([[1.0], [3.0]]), np.array([[1.0], [2.0]])).estimate == 0.625


def test_what_is_within_noise_of_the_best() -> None:
    scores = {"low": np.array([0.0, 0.1, 0.2]), "high": np.array([1.0, 1.1, 0.9]), "wide": np.array([0.2, 1.0, 1.5])}
    assert within_noise_of_the_best(scores) == ["high", "wide"]
    assert within_noise_of_the_best({"one": np.array([1.0]), "other": np.array([2.0])}) == []
    # A difference that two digits do not show is none.
    assert within_noise_of_the_best({"a": np.array([1.0, 1.0]), "b": np.array([0.999, 0.999])}) == ["a", "b"]
    gap = difference(scores["high"], scores["low"])
    assert gap.estimate == pytest.approx(0.9) and 0.6 < gap.low < 0.9 < gap.high < 1.2
    # Welch's interval by hand: two seeds each, variances 0.5 and 0, one degree of freedom.
    gap = difference(np.array([0.0, 1.0]), np.zeros(2))
    assert gap.low == pytest.approx(0.5 - 12.706 * 0.5, abs=1e-3)


def test_the_shortcuts_give_what_rliable_gives() -> None:
    rng = np.random.default_rng(0)
    for seeds, tasks in ((2, 1), (3, 2), (5, 3), (10, 1)):
        scores, others = rng.normal(size=(2, seeds, tasks)).round(1)
        assert trimmed_mean(scores) == metrics.aggregate_iqm(scores)
        assert share_of_wins(scores, others) == pytest.approx(metrics.probability_of_improvement(scores, others))


def test_performance_profile_is_the_share_of_runs_above() -> None:
    shares, ends = performance_profiles({"a": np.array([[0.2], [0.6]])}, [0.0, 0.5, 1.0])["a"]
    assert shares.tolist() == [1.0, 0.5, 0.0]
    assert (ends[0] <= shares).all()
    assert (shares <= ends[1]).all()


def test_a_config_with_options_of_another_version_is_left_out(tmp_path: Path) -> None:
    for population, tuned in (("known", "entropy_coef: 0.1"), ("newer", "of_tomorrow: 1")):
        hydra = tmp_path / "runs" / "task" / population / "seed_0" / ".hydra"
        hydra.mkdir(parents=True)
        (hydra / "config.yaml").write_text(
            f"tuning: {{{tuned}}}\nalgorithm: {{entropy_coef: '${{tuned:entropy_coef,0}}'}}\n"
        )
    with pytest.warns(RuntimeWarning, match=r"newer/seed_0/.* is left out of .*tuning.of_tomorrow must be the option"):
        write_configs(tmp_path, tmp_path / "configs")
    (file,) = (tmp_path / "configs").iterdir()
    assert file.name == "task-known.yaml" and "algorithm:\n  entropy_coef: 0.1" in file.read_text()
