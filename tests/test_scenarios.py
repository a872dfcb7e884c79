"""Scenarios: what their files say, who meets whom, what is on disk, and what is made of it."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarl_reciprocator.commands import scenarios as command
from benchmarl_reciprocator.evaluation.checkpoints import find_checkpoints
from benchmarl_reciprocator.evaluation.pairings import ALL, FIRST, Contestant, contestants_of
from benchmarl_reciprocator.evaluation.scenarios import scenario as scenario_module
from benchmarl_reciprocator.evaluation.scenarios.meetings import MeetingRecords, meetings_of
from benchmarl_reciprocator.evaluation.scenarios.reference import REFERENCE, played_reference, reference_of
from benchmarl_reciprocator.evaluation.scenarios.scenario import (
    RESIDENT,
    VISITOR,
    Scenario,
    find_scenarios,
    read_scenario,
)
from benchmarl_reciprocator.evaluation.scenarios.scenarios import is_of_suite
from benchmarl_reciprocator.evaluation.scenarios.summary import interquartile_mean_of_agents, overall, summarise
from benchmarl_reciprocator.evaluation.scenarios.trained_with import trained_with
from benchmarl_reciprocator.evaluation.sections import read_sections
from benchmarl_reciprocator.extensions import find_yaml, read_mapping
from benchmarl_reciprocator.plugin.registration import register

GOOD = {
    "version": "1",
    "task": "public_goods",
    "options": "{n_agents: 3}",
    "role": "visitor",
    "focal": "1",
    "background": "[all_c, {seats: [all_c, all_d], weight: 2}]",
    "episodes": "10",
}


@pytest.fixture(autouse=True)
def registered() -> None:
    register()


def written(folder: Path, name: str = "mine", **changes: str | None) -> Path:
    """The file of a scenario that is good but for some changes; ``None`` leaves a key out."""
    file = folder / f"{name}.yaml"
    entries = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    file.write_text("".join(f"{key}: {value}\n" for key, value in entries.items()))
    return file


def test_every_game_has_scenarios_that_can_be_played_and_a_reference() -> None:
    found = find_scenarios()
    assert len(found) >= 30
    for scenario in found:
        scenario.check()
        content = read_mapping(find_yaml(REFERENCE, scenario.name))
        assert content["digest"] == scenario.digest, (
            f"{scenario.name} or its game has changed since its reference was played: benchmarl-reciprocator "
            f"scenarios --reference conf/scenario/reference --only {scenario.name}"
        )
        assert max(content["returns"].values()) > min(content["returns"].values())
    roles = {(scenario.task, scenario.role) for scenario in found}
    counts = Counter(scenario.task for scenario in found)
    for task in (
        "prisoners_dilemma",
        "public_goods",
        "coins",
        "cleanup",
        "harvest",
        "shared_pasture",
        "stag_hunt",
        "negotiation",
        "fishery",
    ):
        assert {(task, VISITOR), (task, RESIDENT)} <= roles and counts[task] >= 3


def test_references_are_what_their_command_gives() -> None:
    (scenario,) = find_scenarios(["prisoners_dilemma_visitor_unconditional"])
    committed = reference_of(scenario, MeetingRecords(None))
    assert committed.committed and committed.returns == pytest.approx(played_reference(scenario, MeetingRecords(None)))
    # With all_c for half of the episodes and all_d for the others
    assert (committed.returns["all_d"], committed.returns["all_c"]) == (-32, -64)
    assert (committed.normalised(-32), committed.normalised(-64), committed.normalised(-48)) == (1, 0, 0.5)
    assert not find_yaml(REFERENCE, "no_such_scenario")


def test_episodes_are_shared_by_weight(tmp_path: Path) -> None:
    def shares(background: str, episodes: int) -> list[int]:
        return read_scenario(written(tmp_path, background=background, episodes=str(episodes))).shares()

    assert shares("[all_c, {seats: all_d, weight: 2}]", 30) == [10, 20]
    assert shares("[all_c, all_d, random]", 10) == [3, 4, 3]
    # Everybody is met.
    assert shares("[{seats: all_c, weight: 1000}, all_d, random]", 10) == [8, 1, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"background": "[nobody]"},
            r"background\[0\].seats must be scripted players of public_goods \(all_c, .*'nobody'",
        ),
        (
            {"background": "[extortion]"},
            r"background\[0\].seats: extortion cannot play this game: the game of extortion must be a symmetric game",
        ),
        (
            {"background": "[{seats: [all_c, all_c, all_c]}]"},
            r"background\[0\].seats must be one for all, or one for each of 2 seats",
        ),
        ({"background": "[{seats: [all_c], weight: 0}]"}, r"background\[0\].weight must be a number > 0, but is 0"),
        (
            {"background": "[{seats: {checkpoint: no.pt}}]"},
            r"background\[0\].seats.checkpoint must be a file .* but is '.*no.pt'",
        ),
        ({"background": "[]"}, r"background must be a list of at least one"),
        ({"focal": "3"}, r"focal must be 1 of 3 seats \(visitor\), but is 3"),
        ({"focal": "1", "role": "resident"}, r"focal must be 2 of 3 seats \(resident\), but is 1"),
        ({"role": "guest"}, r"role must be visitor or resident, but is 'guest'"),
        ({"task": "chess"}, r"task must be the name of a social dilemma that is registered, but is 'chess'"),
        ({"options": "{view: 3}"}, r"options must be rules of public_goods .* but is 'view'"),
        ({"options": "{n_agents: 1}"}, r"options: task.n_agents must be"),
        ({"episodes": None}, r"episodes must be given"),
        ({"episode": "3"}, r"episode must be one of the keys version, "),
    ],
)
def test_a_bad_file_is_one_error_that_names_it_and_the_place(changes: dict, message: str, tmp_path: Path) -> None:
    file = written(tmp_path, **changes)
    with pytest.raises(ValueError, match=f"^{file}: {message}"):
        read_scenario(file).check()


def test_every_agent_takes_the_first_focal_seat_in_its_turn(public_goods: Path, tmp_path: Path) -> None:
    scenario = read_scenario(written(tmp_path, role="resident", focal="2"))
    task = scenario.game()
    env = task.options.make_env(1, "cpu", seed=0)
    (population,) = contestants_of(find_checkpoints([public_goods]))
    meetings = meetings_of(scenario, task, population, env, ALL)
    assert [(one.agents, one.seats) for one in meetings] == [((0, 1), (0, 1)), ((1, 2), (0, 1)), ((2, 0), (0, 1))]
    assert len(meetings_of(scenario, task, population, env, FIRST)) == 1
    # The background is all_c in 3 of 10 episodes, and one who never contributes in 7: what remains of 3 seats is one.
    alone = Scenario(**{**vars(scenario), "background": scenario.background[:1]})
    (meeting,) = meetings_of(alone, task, Contestant("all_c"), env, ALL)
    record = MeetingRecords(None).record_of(meeting)
    # Of 3 contributions of 1, doubled, everybody gets 2 a step.
    assert (record["per_capita"], record["by_agent"], record["others"]) == (32, [32, 32], 32)
    assert record["cooperation"] == 1


def test_interquartile_means_draw_seeds_with_all_their_agents() -> None:
    # The middle half of 0, 1, 2 and 3
    assert interquartile_mean_of_agents(np.array([[0.0, 1.0], [2.0, 3.0]])).estimate == 1.5
    one = interquartile_mean_of_agents(np.array([[0.0, 1.0]]))
    assert one.estimate == 0.5 and np.isnan(one.low)
    # Seeds that are alike say that others will be, however much their agents differ.
    alike = interquartile_mean_of_agents(np.array([[0.0, 4.0]] * 3))
    assert alike.low == alike.estimate == alike.high == 2
    apart = interquartile_mean_of_agents(np.array([[0.0, 0.0], [4.0, 4.0], [8.0, 8.0]]))
    assert apart.low < apart.estimate == 4 < apart.high


def test_the_worst_case_is_over_scenarios() -> None:
    rows = pd.DataFrame(
        [
            {"game": "g", "scenario": name, "population": "P", "seed": seed, "agent": agent, "trained_with": ""}
            | {"normalised": value, "per_capita": 10 * value, "cooperation": 1.0}
            for name, value in (("easy", 1.0), ("hard", 0.25))
            for seed in (0, 1)
            for agent in (0, 1)
        ]
    )
    cells = summarise(rows)
    assert cells[["scenario", "normalised", "return", "seeds", "agents"]].values.tolist() == [
        ["easy", 1.0, 10.0, 2, 4],
        ["hard", 0.25, 2.5, 2, 4],
    ]
    (total,) = overall(rows, cells).to_dict("records")
    assert (total["normalised"], total["worst"], total["worst_scenario"]) == (0.625, 0.25, "hard")


def shown(monkeypatch: pytest.MonkeyPatch, *files: Path) -> None:
    """Let these be all scenarios that there are."""
    monkeypatch.setattr(scenario_module, "yaml_files", lambda group: {file.stem: file for file in files})


def test_one_command_from_checkpoints_to_report(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    game = {"task": "prisoners_dilemma", "options": "{max_steps: 8}"}
    easy = written(tmp_path, "easy", **game, background="[all_c]", role="resident")
    hard = written(tmp_path, "hard", **game, background="[tit_for_tat, all_d]")
    elsewhere = written(tmp_path, "elsewhere", **{**game, "options": "{max_steps: 9}", "background": "[all_c]"})
    shown(monkeypatch, easy, hard, elsewhere)
    output = tmp_path / "out"
    arguments = [str(checkpoints), "--output", str(output)]
    assert command.main(arguments) == 0
    printed = capsys.readouterr().out
    assert (output / "scenarios.md").read_text() in printed and "reference was played now" in printed
    agents = pd.read_csv(output / "agents.csv", keep_default_na=False)
    # Two seeds of three populations, one of them of two agents; nobody was trained in the third game.
    assert len(agents) == 2 * 2 * (2 + 1 + 1) and set(agents["scenario"]) == {"easy", "hard"}
    # With all_c the worst is to cooperate throughout, -1 a step, and the best is never to.
    with_all_c = agents[agents["scenario"] == "easy"]
    assert (1 + with_all_c["per_capita"] / 8).tolist() == pytest.approx(with_all_c["normalised"].tolist(), abs=1e-4)
    assert (with_all_c["cooperation"] + with_all_c["normalised"]).tolist() == pytest.approx([1.0] * 8, abs=1e-4)
    # Reciprocators learn with a defector now and then, by their preset; their co-player in a mixture does not.
    met = {(row.population, row.scenario, row.trained_with) for row in agents.itertuples() if row.trained_with}
    assert met == {("Recip", "hard", "all_d"), ("Mixed: reciprocator", "hard", "all_d")}
    document = read_sections(output / "section.json")["scenarios"]
    assert [section.title for section in document] == ["Scenarios", "Prisoner's dilemma: max_steps=8"]
    table = document[1].blocks[1]
    assert table.columns[-1] == "Mixed: ippo" and table.rows[1][0] == "hard"
    assert ["†" in cell for cell in table.rows[1]] == [False, True, True, False]
    assert next(output.glob("*.png")).stat().st_size > 10_000

    files = {file: file.stat().st_mtime_ns for file in output.glob("records/*.json")}
    lost = min(files)
    lost.unlink()
    assert command.main(arguments) == 0
    assert [file for file, time in files.items() if file.stat().st_mtime_ns != time] == [lost]
    pd.testing.assert_frame_equal(pd.read_csv(output / "agents.csv", keep_default_na=False), agents)


def test_a_frozen_checkpoint_is_a_background_and_no_news_to_itself(checkpoints: Path, tmp_path: Path) -> None:
    recip, other = (
        next(one for one in contestants_of(find_checkpoints([checkpoints])) if one.name == name)
        for name in ("Recip", "Mixed: ippo")
    )
    shutil.copytree(recip.checkpoints[0].file.parent.parent, tmp_path / "frozen")
    place = f"frozen/checkpoints/{recip.checkpoints[0].file.name}"
    options = {
        "task": "prisoners_dilemma",
        "options": "{max_steps: 8}",
        "background": f"[{{seats: {{checkpoint: {place}}}}}]",
    }
    scenario = read_scenario(written(tmp_path, **options))
    scenario.check()
    task = scenario.game()
    (meeting, *_) = meetings_of(scenario, task, Contestant("all_d"), task.options.make_env(1, "cpu", seed=0), ALL)
    record = MeetingRecords(None).record_of(meeting)
    # It pays to defect on whoever learned for one iteration.
    assert -2 * 8 < record["per_capita"] <= 0
    # A copy is not known to be the same, the file itself is.
    assert trained_with(other, scenario) == trained_with(recip, scenario) == []
    itself = written(tmp_path, **{**options, "background": f"[{{seats: {{checkpoint: {recip.checkpoints[0].file}}}}}]"})
    assert trained_with(recip, read_scenario(itself)) == [recip.checkpoints[0].file.name]
    assert trained_with(other, read_scenario(itself)) == []


def test_of_several_suites_one_can_be_chosen(checkpoints: Path, tmp_path: Path) -> None:
    found = next(one for one in find_checkpoints([checkpoints]) if one.population == "Recip")
    file = tmp_path / "run" / "experiment" / "checkpoints" / "checkpoint_1.pt"
    file.parent.mkdir(parents=True)
    (tmp_path / "run" / "run.record").write_text('{"task": "slips", "population": "Recip", "seed": 0}')
    moved = replace(found, file=file)
    assert is_of_suite(moved, {"populations": {"Recip": []}, "tasks": {"slips": []}})
    assert not is_of_suite(moved, {"populations": {"Recip": []}, "tasks": {"coins": []}})
    assert not is_of_suite(moved, {"populations": {"IPPO": []}, "tasks": {"slips": []}})


def test_other_packages_bring_scenarios_of_their_own() -> None:
    # The example's; its game is not installed here.
    folder = Path(__file__).resolve().parent.parent / "examples/extension_package/snowdrift_games/conf/scenario"
    scenario = read_scenario(folder / "snowdrift_visitor_reciprocators.yaml")
    assert (scenario.task, scenario.focal, scenario.shares()) == ("snowdrift", 1, [67, 133])
    with pytest.raises(ValueError, match="task must be the name of a social dilemma that is registered"):
        scenario.check()


def test_what_is_there_is_listed(capsys) -> None:
    assert command.main(["--only", "coins_*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(find_scenarios(["coins_*"])) and any("coins_resident_greedy" in line for line in lines)
    with pytest.raises(SystemExit):
        command.main(["--only", "chess_*"])
    assert "scenarios must be names of scenarios, or patterns of them" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.main(["somewhere", "suite=nothing"])
    assert "suite must be" in capsys.readouterr().err
