"""Cross-play: who meets whom, what is on disk, and what is made of it."""

from __future__ import annotations

import json
import math
import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

from benchmarl_reciprocator.commands import crossplay
from benchmarl_reciprocator.evaluation.checkpoints import choose_game, find_checkpoints
from benchmarl_reciprocator.evaluation.crossplay import from_both_sides, met_each_other
from benchmarl_reciprocator.evaluation.crossplay_sections import describe, measures_of
from benchmarl_reciprocator.evaluation.meta_game import alpha_rank, analyse, nash_average, pure_equilibria
from benchmarl_reciprocator.evaluation.pairings import (
    AGENTS,
    FIRST,
    OTHER_SEED,
    Contestant,
    contestants_of,
    pair_up,
    scripted_contestants,
)
from benchmarl_reciprocator.evaluation.sections import read_sections
from benchmarl_reciprocator.evaluation.statistics import mean_interval, nested_mean_interval, show
from benchmarl_reciprocator.tasks.measure import CooperationMeasure


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["crossplay", *map(str, arguments)])
    return crossplay.main()


def test_one_command_from_checkpoints_to_report(checkpoints: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    command = (checkpoints, "--against", "all_c", "all_d", "--episodes=20", f"--output={tmp_path}")
    assert run(monkeypatch, *command) == 0
    printed = capsys.readouterr().out
    table = pd.read_csv(tmp_path / "pairings.csv")
    # Three populations of two seeds, one of them of two agents, and two scripts: 9 and 3 pairs of seeds, of which one
    # agent meets two, two meet one, or two meet two (but not themselves); each population with a script and back.
    assert len(table) == 2 * (4 + 4 * 2 + 2) + 2 * (1 + 1 + 4) + 2 * 2 * 2 * 4 + 4
    own = table[(table["row"] == "Recip") & (table["column"] == "Recip")]
    met = own.groupby(["kind", "row_seed"])[["row_agent", "column_agent"]].apply(lambda pairs: pairs.values.tolist())
    assert met["same seed", 0] == met["same seed", 1] == [[0, 1], [1, 0]]
    assert met["other seed", 0] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    names = ["Mixed: ippo", "Mixed: reciprocator", "Recip", "all_c", "all_d"]
    assert sorted(set(table["row"])) == sorted(set(table["column"])) == names
    scripts = table[(table["row"] == "all_c") & (table["column"] == "all_d")]
    assert scripts[["row_per_step", "column_per_step", "row_p_cooperate"]].values.tolist() == [[-3.0, 0.0, 1.0]]
    assert (table["row_per_step"] + table["column_per_step"] <= -2 + 1e-6).all()
    for file in ("scores.png", "p_cooperate.png", "replicator.png"):
        assert (tmp_path / file).stat().st_size > 10_000
    assert (tmp_path / "crossplay.md").read_text() in printed
    # The same for the report, Reciprocators first.
    document = read_sections(tmp_path / "section.json")["crossplay"]
    assert document[0].title == "Cross-play: Prisoner's dilemma"
    assert list(document[1].blocks[0].columns[1:]) == ["Mixed: reciprocator", "Recip", "Mixed: ippo", "all_c", "all_d"]
    assert [section.title for section in document][3:6] == [
        "Worst case over co-players",
        "Agents apart: scores per step, row / column",
        "P(cooperate) of the row",
    ]
    worst = {row[0]: row[2] for row in document[3].blocks[1].rows}
    assert worst["all_c"] == "all_d"
    # Of one agent for each seed and script: the lowest and the highest of four agents
    apart = {row[0]: row[1:] for row in document[4].blocks[1].rows}
    assert set(apart) == {"Mixed: ippo", "Mixed: reciprocator", "Recip"}
    ends = table[(table["row"] == "Recip") & (table["column"] == "all_d")]["row_per_step"]
    assert apart["Recip"][-1].startswith(f"{ends.min():.2f} to {ends.max():.2f} / ")
    assert json.loads((tmp_path / "equilibria.json").read_text())["names"][-2:] == ["all_c", "all_d"]
    # An interval over two seeds, none for scripts among themselves.
    cells = pd.read_csv(tmp_path / "matrix.csv").set_index(["row", "column", "kind", "side", "quantity"])
    assert cells.loc[("Recip", "all_d", "same seed", "row", "per_step"), "pairs"] == 2
    assert math.isnan(cells.loc[("all_c", "all_d", "same seed", "row", "per_step"), "low"])

    records = {file: file.stat().st_mtime_ns for file in tmp_path.glob("pairings/*.json")}
    lost, half = sorted(records)[:2]
    lost.unlink()
    half.write_text("{")
    with pytest.warns(UserWarning, match=f"{half.name} cannot be read"):
        assert run(monkeypatch, *command) == 0
    for file, written in records.items():
        assert (file.stat().st_mtime_ns != written) == (file in (lost, half))
    again = pd.read_csv(tmp_path / "pairings.csv")
    pd.testing.assert_frame_equal(again, table)


def test_bad_files_are_skipped_and_said(checkpoints: Path, tmp_path: Path) -> None:
    for name in ("half", "no_config", "foreign"):
        shutil.copytree(next(checkpoints.rglob("checkpoints")).parent, tmp_path / name)
    next((tmp_path / "half").rglob("*.pt")).write_bytes(b"PK half written")
    (tmp_path / "no_config" / "config.pkl").unlink()
    (tmp_path / "foreign" / "config.pkl").write_bytes(b"not a pickle")
    # A run of a suite that was killed, or goes on right now
    shutil.copytree(next(checkpoints.rglob("run.json")).parent, tmp_path / "unfinished")
    (tmp_path / "unfinished" / "run.json").unlink()
    (tmp_path / "unfinished" / "progress").write_text("3")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = find_checkpoints([tmp_path, checkpoints])
    said = [str(warning.message) for warning in caught if "skipped" in str(warning.message)]
    assert len(said) == 4
    assert all(any(name in line for line in said) for name in ("half", "no_config", "foreign", "unfinished"))
    assert len(found) == 4
    with (
        pytest.raises(ValueError, match="input must hold checkpoints"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        find_checkpoints([tmp_path / "foreign"])
    with pytest.raises(ValueError, match="must be a checkpoint or a folder with checkpoints, but there is no"):
        find_checkpoints([tmp_path / "nowhere"])


def test_of_a_run_the_newest_checkpoint_counts(checkpoints: Path, tmp_path: Path) -> None:
    run_folder = next(checkpoints.rglob("run.json")).parent
    shutil.copytree(run_folder, tmp_path / "run")
    newest = next((tmp_path / "run").rglob("checkpoint_*.pt"))
    shutil.copy(newest, newest.with_name("checkpoint_8.pt"))
    (found,) = find_checkpoints([tmp_path])
    assert found.file == newest and found.frames == 256
    record = json.loads((run_folder / "run.json").read_text())
    assert (found.population, found.seed) == (record["population"], record["seed"])
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.warns(UserWarning, match=r"run.json cannot be read"):
        (found,) = find_checkpoints([tmp_path])
    assert found.population == found.algorithm.associated_class().__name__.lower()


def test_the_game_is_the_checkpoints_own(checkpoints: Path, public_goods: Path) -> None:
    both = find_checkpoints([checkpoints, public_goods])
    with pytest.raises(
        ValueError, match=r"task must be social_dilemmas/prisoners_dilemma or social_dilemmas/public_goods, but is not"
    ):
        choose_game(both, [])
    with pytest.warns(UserWarning, match=r"skipped 1 checkpoints of tasks other than social_dilemmas/prisoners_d"):
        task, able = choose_game(both, ["task=social_dilemmas/prisoners_dilemma"])
    assert len(able) == 4 and task.config["variant"] == "lola"
    named = find_checkpoints([checkpoints, next(public_goods.rglob("checkpoint_*.pt"))])
    with pytest.raises(ValueError, match=r"must be of prisoners_dilemma, but is of public_goods"):
        choose_game(named, ["task=social_dilemmas/prisoners_dilemma"])
    own = find_checkpoints([checkpoints])
    with pytest.warns(UserWarning, match=r"trained with variant='lola', and play with .*'contribution'"):
        task, _ = choose_game(own, ["task.variant=contribution"])
    assert task.config["variant"] == "contribution"
    named = find_checkpoints(sorted(checkpoints.rglob("checkpoint_*.pt")))
    with pytest.raises(
        ValueError, match=r"must be trained with the game's task\.observation \(per_agent\), but was with joint"
    ):
        choose_game(named, ["task.observation=per_agent"])
    for override, message in {
        "task=social_dilemmas/chicken": "task must be one of the checkpoints', prisoners_dilemma, but is 'chicken'",
        "task.rules=1": r"task\.rules must be an option of prisoners_dilemma, .*variant",
        "seed=1": "an override must be task=.*, but is 'seed=1'",
    }.items():
        with pytest.raises(ValueError, match=message):
            choose_game(own, [override])


def test_pairs_are_of_one_seed(checkpoints: Path) -> None:
    task, able = choose_game(find_checkpoints([checkpoints]), [])
    contestants = [*contestants_of(able), *scripted_contestants(["all_d"], task)]
    assert [one.seats for one in contestants] == [(0,), (1,), (0, 1), ()]
    env = task.options.make_env(1, "cpu", seed=0)
    for agents in AGENTS:
        for pairing in pair_up(contestants, env, agents):
            known = [seed for seed in pairing.seeds if seed is not None]
            assert (len(set(known)) <= 1) == (pairing.kind != OTHER_SEED)
    # The first alone: one meeting for each pair of seeds, whoever was trained in the seat
    assert sorted({(pairing.row.name, pairing.column.name) for pairing in pair_up(contestants, env)}) == [
        *(("Mixed: ippo", other) for other in ("Mixed: ippo", "Recip", "all_d")),
        *(("Mixed: reciprocator", other) for other in ("Mixed: ippo", "Mixed: reciprocator", "Recip", "all_d")),
        *(("Recip", other) for other in ("Recip", "all_d")),
        ("all_d", "all_d"),
    ]
    first = pair_up(contestants, env, FIRST)
    assert len(first) == 9 * 2 + 3 * 2 + 6 * 2 + 1
    assert {pairing.agents for pairing in first} == {(None, None)}
    with pytest.raises(ValueError, match=r"against must be all_c, .* or .*, but is 'nobody'"):
        scripted_contestants(["nobody"], task)


def test_many_agents_play_a_focal_one_among_others(public_goods: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    assert run(monkeypatch, public_goods, "--against", "all_d", "--episodes=200", f"--output={tmp_path}") == 0
    assert "the column in all 2 others" in capsys.readouterr().out
    analysis = json.loads((tmp_path / "equilibria.json").read_text())
    assert analysis["mixed"] is None and [pure["row"] for pure in analysis["pure"]] == ["all_d"]


def test_what_was_played_in_one_order_counts_from_both_sides() -> None:
    names = ["row", "column", "kind", "row_seed", "column_seed", "row_agent", "column_agent"]
    rows = [
        ("mine", "greedy", "same seed", 0, None, 0, None, 0.1, 0.3, None),
        ("mine", "mine", "same seed", 0, 0, 0, 1, 0.4, 0.6, None),
        ("mine", "mine", "other seed", 0, 1, 0, 0, 0.7, 0.1, None),
        ("greedy", "greedy", "same seed", None, None, None, None, 0.2, 0.4, None),
    ]
    table = pd.DataFrame(rows, columns=[*names, "row_per_step", "column_per_step", "row_share"])
    table = table.assign(column_share=table["row_share"], episodes=20).astype(dict.fromkeys(names[3:], "Int64"))
    both = from_both_sides(table)
    assert both[["row", "column", "row_agent", "row_per_step", "column_per_step"]].fillna(-1).values.tolist() == [
        ["mine", "greedy", 0, 0.1, 0.3],
        ["mine", "mine", 0, 0.4, 0.6],
        ["mine", "mine", 0, 0.7, 0.1],
        # A script with itself: the mean of what is the same from both sides
        ["greedy", "greedy", -1, pytest.approx(0.3), pytest.approx(0.3)],
        ["greedy", "mine", -1, 0.3, 0.1],
        ["mine", "mine", 1, 0.6, 0.4],
    ]
    assert both["row_share"].isna().all() and both["episodes"].tolist() == [20] * 6


class Seats(NamedTuple):
    n_agents: int
    interchangeable_seats: bool = True


def seated(row: tuple[int, ...], column: tuple[int, ...], game: Seats) -> list[list[int | None]]:
    """Who takes which seat in every meeting of a pair of seeds."""
    contestants = [
        Contestant(name, {0: None} if places else {}, places) for name, places in (("row", row), ("column", column))
    ]
    return [
        [place for _, _, place in map(pairing.who_takes, range(game.n_agents))]
        for pairing in pair_up(contestants, game)
        if (pairing.row.name, pairing.column.name) == ("row", "column")
    ]


def test_every_agent_of_both_sides_has_its_meetings() -> None:
    two, three = Seats(2), Seats(3)
    assert seated((0, 1), (0, 1), two) == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert seated((0, 1), (), two) == [[0, None], [1, None]]
    assert seated((), (0, 1), two) == [[None, 0], [None, 1]]
    # Of three, each in its turn takes the place of the same one of the others.
    assert seated((0, 1, 2), (0, 1, 2), three) == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]
    assert seated((), (0, 1, 2), three) == [[None, 1, 2], [None, 2, 0], [None, 0, 1]]
    # The members of a mixture that has two and one of them
    assert seated((0,), (1, 2), three) == [[0, 2, 1], [0, 1, 2]]
    assert seated((1, 2), (0,), three) == [[1, 0, 0], [2, 0, 0]]
    # Where seats are not alike every agent keeps its own.
    assert seated((0, 1), (0, 1), Seats(2, interchangeable_seats=False)) == [[0, 1]]


def test_checkpoints_of_another_version_of_the_task_do_not_play(checkpoints: Path, tmp_path: Path) -> None:
    for seed, version in ((0, 1), (1, 7)):
        shutil.copytree(checkpoints / "runs" / f"recip_seed_{seed}", tmp_path / f"recip_seed_{seed}")
        experiment = next((tmp_path / f"recip_seed_{seed}").rglob("checkpoints")).parent
        (experiment / "task.yaml").write_text(f"version: {version}\n")
    reason = "must be trained on version 1 of prisoners_dilemma, which is installed, but was trained on version 7"
    with pytest.warns(UserWarning, match=f"skipped .*recip_seed_1.*{reason}"):
        _, able = choose_game(find_checkpoints([tmp_path]), [])
    assert [checkpoint.seed for checkpoint in able] == [0]
    named = next((tmp_path / "recip_seed_1").rglob("checkpoint_*.pt"))
    with pytest.raises(ValueError, match=reason):
        choose_game(find_checkpoints([named]), [])


def test_the_measure_of_cooperation_comes_first() -> None:
    cells = pd.DataFrame({"quantity": ["per_step", "per_episode", "peacefulness", "share"]})
    assert measures_of(cells, CooperationMeasure("share", "share given")) == ["share", "peacefulness"]
    assert measures_of(cells, None) == ["peacefulness", "share"]


def test_unknown_input_is_one_clear_error(tmp_path: Path, monkeypatch, capsys) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path / "none")
    assert "must be a checkpoint or a folder with checkpoints, but there is no" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(monkeypatch, tmp_path, "--episodes=0")
    assert "--episodes must be an integer >= 1, but is 0" in capsys.readouterr().err


def test_the_meta_game_is_among_those_that_all_met() -> None:
    met = {(one, other) for one in "abc" for other in "abc"} - {("a", "c")} | {("d", "a")}
    assert met_each_other("abcd", met) in (["b", "c"], ["a", "b"])
    assert met_each_other("ab", set()) == []


def games(row: list, column: list) -> dict:
    """Scores of two pairs of seeds that agree."""
    names = ["a", "b", "c"][: len(row)]
    return {
        (one, other): (np.full(2, float(row[i][j])), np.full(2, float(column[i][j])))
        for i, one in enumerate(names)
        for j, other in enumerate(names)
    }


def test_equilibria_of_known_games() -> None:
    dilemma = analyse(games([[-1, -3], [0, -2]], [[-1, 0], [-3, -2]]), ["a", "b"], symmetric=True)
    assert [(pure["row"], pure["column"], pure["share_of_resamples"]) for pure in dilemma["pure"]] == [("b", "b", 1.0)]
    assert dilemma["mixed"] == [{"row": {"a": 0.0, "b": 1.0}, "column": {"a": 0.0, "b": 1.0}}]
    assert dilemma["replicator"]["from_equal_shares"][-1][1] > 0.99
    assert dilemma["replicator"]["share_of_starts_that_end_in_it"]["b"] == 1.0
    # Stag hunt: both pure ones and, with 0.5, the mixed one.
    hunt = analyse(games([[4, 1], [3, 2]], [[4, 3], [1, 2]]), ["a", "b"], symmetric=True)
    assert [pure["gain_from_leaving"] for pure in hunt["pure"]] == [-1.0, -1.0]
    assert {"row": {"a": 0.5, "b": 0.5}, "column": {"a": 0.5, "b": 0.5}} in hunt["mixed"]
    pennies = analyse(games([[1, -1], [-1, 1]], [[-1, 1], [1, -1]]), ["a", "b"], symmetric=False)
    assert pennies["pure"] == [] and pennies["replicator"] is None and len(pennies["mixed"]) == 1
    assert not pure_equilibria(np.eye(2), -np.eye(2)).any()


DILEMMA, HUNT = np.array([[-1.0, -3], [0, -2]]), np.array([[4.0, 1], [3, 2]])


def test_alpha_rank_of_known_games() -> None:
    pytest.importorskip("open_spiel")
    # All goes to mutual defection; of the stag hunt both equilibria are as easily left.
    assert alpha_rank(DILEMMA, DILEMMA.T).flatten().tolist() == pytest.approx([0, 0, 0, 1], abs=5e-3)
    assert alpha_rank(HUNT, HUNT.T).flatten().tolist() == pytest.approx([0.5, 0, 0, 0.5], abs=5e-3)
    # Better replies of matching pennies go round all four.
    pennies = np.array([[1.0, -1], [-1, 1]])
    assert alpha_rank(pennies, -pennies).flatten().tolist() == pytest.approx([0.25] * 4, abs=5e-3)
    assert alpha_rank(np.ones((1, 1)), np.ones((1, 1))).tolist() == [[1.0]]


def test_nash_averaging_of_known_games() -> None:
    for module in ("open_spiel", "cvxpy"):
        pytest.importorskip(module)
    # Who defects gains 3 more than who cooperates.
    shares, gains = nash_average(DILEMMA, DILEMMA.T)
    assert shares.tolist() == pytest.approx([0, 1], abs=1e-3) and gains.tolist() == pytest.approx([-3, 0], abs=0.01)
    # Rock, paper and scissors, and the same with two rocks, who share what one had
    circle = np.array([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]])
    assert nash_average(circle, circle.T)[0].tolist() == pytest.approx([1 / 3] * 3, abs=1e-3)
    twice = circle[[0, 0, 1, 2]][:, [0, 0, 1, 2]]
    assert nash_average(twice, twice.T)[0].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 3, 1 / 3], abs=1e-3)
    # Nobody gains more than the other: all count alike.
    assert nash_average(np.ones((2, 2)), np.ones((2, 2)))[0].tolist() == pytest.approx([0.5] * 2, abs=1e-3)


def test_rankings_in_the_report() -> None:
    for module in ("open_spiel", "cvxpy"):
        pytest.importorskip(module)
    text = describe(analyse(games(DILEMMA.tolist(), DILEMMA.T.tolist()), ["a", "b"], symmetric=True, resamples=10))
    assert "one player at a time: 100% b with b." in text and "no measure of cooperation: 1.00 b." in text


def test_without_openspiel_the_report_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "open_spiel", None)
    monkeypatch.setitem(sys.modules, "open_spiel.python.egt", None)
    with pytest.raises(ImportError, match=r"pip install 'benchmarl-reciprocator\[meta_game\]'"):
        alpha_rank(DILEMMA, DILEMMA.T)
    analysis = analyse(games(DILEMMA.tolist(), DILEMMA.T.tolist()), ["a", "b"], symmetric=True, resamples=10)
    assert analysis["alpha_rank"] is analysis["nash_average"] is None
    assert "Alpha-rank and Nash averaging are left out: OpenSpiel and cvxpy must be installed: pip" in describe(
        analysis
    )


def test_how_sure_an_equilibrium_is() -> None:
    samples = games([[0, 0], [0, 0]], [[0, 0], [0, 0]])
    # Whether leaving b for a pays depends on which of the two seeds are drawn.
    samples["a", "b"] = (np.array([-2.0, 1.0]), np.zeros(2))
    samples["b", "a"] = (np.zeros(2), np.array([-2.0, 1.0]))
    (sure,) = [
        pure for pure in analyse(samples, ["a", "b"], symmetric=True)["pure"] if pure["row"] == "b" == pure["column"]
    ]
    assert 0.5 < sure["share_of_resamples"] < 0.95


def test_intervals() -> None:
    mean, low, high = mean_interval([1.0, 2.0, 3.0, math.nan])
    assert mean == 2.0 and 1.0 <= low < 2.0 < high <= 3.0
    assert show(*mean_interval([-0.001])) == "0.00"
    assert show(*mean_interval([])) == "-"
    assert show(1.0, 0.5, 1.5) == "1.00 [0.50, 1.50]"


def test_intervals_are_over_seeds_and_then_over_agents() -> None:
    # Two seeds that are alike, whose agents of one side come to 0 and 1: of the four that are drawn in all, the share
    # of the second is binomial, 1/16, 4/16, 6/16, ...
    for table in ([[0.0, 0.0], [1.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]], [[math.nan, 0.0], [1.0, math.nan]]):
        assert nested_mean_interval([table, table]) == (0.5, 0.0, 1.0)
        assert nested_mean_interval([table, table], confidence=0.8) == (0.5, 0.25, 0.75)
    # Agents that are alike leave the seeds' interval, which one seed has none of.
    tables = [np.full((2, 2), value) for value in (1.0, 2.0, 3.0)]
    mean, low, high = nested_mean_interval(tables)
    assert (mean, low, high) == (2.0, 1.0, 3.0)
    assert math.isnan(nested_mean_interval([[[0.0, 1.0]]]).low)
    # One meeting for each seed: nothing but the seeds. What is not known does not count.
    assert nested_mean_interval([[[1.0]], [[2.0]], [[4.0]]]) == mean_interval([1.0, 2.0, 4.0])
    assert nested_mean_interval([[[1.0, math.nan]], [[math.nan, math.nan]]]).estimate == 1.0


def test_a_population_called_as_a_player_is_told_apart(checkpoints: Path) -> None:
    found = [
        replace(one, population="tit_for_tat") for one in find_checkpoints([checkpoints / "runs" / "recip_seed_0"])
    ]
    assert [one.name for one in contestants_of(found, taken=["tit_for_tat"])] == ["tit_for_tat (trained)"]
    assert [one.name for one in contestants_of(found)] == ["tit_for_tat"]
