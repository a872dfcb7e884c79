"""A tournament with the strategies of the Axelrod library."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

axelrod = pytest.importorskip("axelrod")

from benchmarl_reciprocator import SocialDilemmaTask  # noqa: E402
from benchmarl_reciprocator.agents.agent import ScriptedAgent  # noqa: E402
from benchmarl_reciprocator.agents.play import play, returns  # noqa: E402
from benchmarl_reciprocator.agents.trained import load_agents  # noqa: E402
from benchmarl_reciprocator.commands import tournament as command  # noqa: E402
from benchmarl_reciprocator.evaluation.pairings import meet  # noqa: E402
from benchmarl_reciprocator.evaluation.sections import read_sections  # noqa: E402
from benchmarl_reciprocator.evaluation.tournament import tournament  # noqa: E402


def task_of(name: str, **options: object):
    task = SocialDilemmaTask[name.upper()].get_from_yaml()
    task.config.update(options)
    return task


@pytest.mark.parametrize(("player", "theirs"), [("tit_for_tat", axelrod.TitForTat), ("grim", axelrod.Grudger)])
def test_a_player_of_ours_plays_as_theirs_does(player: str, theirs: type[axelrod.Player]) -> None:
    task = task_of("prisoners_dilemma")
    game = tournament.game_of(task)
    assert game.RPST() == (-1, -2, -3, 0)
    for opponent in (axelrod.Alternator(), axelrod.Defector(), axelrod.FirstByTidemanAndChieruzzi()):
        ours = tournament.TrainedPlayer(
            "ours", ScriptedAgent(task.players()[player]()), lambda: task.options.make_env(1, "cpu", seed=0)
        )
        matches = [axelrod.Match((one, opponent), turns=20, game=game, seed=0).play() for one in (ours, theirs())]
        assert matches[0] == matches[1]


def test_a_trained_player_scores_as_in_our_own_game(checkpoints: Path) -> None:
    file = next((checkpoints / "runs" / "mixed_seed_0").rglob("checkpoint_*.pt"))
    task = task_of("prisoners_dilemma")
    # The one in the second seat: its own action is the second of the game's.
    agent = load_agents(file)[1]
    player = tournament.TrainedPlayer("ours", agent, lambda: task.options.make_env(1, "cpu", seed=0))
    torch.manual_seed(0)
    scores = [
        axelrod.Match((player, axelrod.TitForTat()), turns=32, game=tournament.game_of(task)).play() for _ in range(40)
    ]
    cooperation = torch.tensor([[pair[0] is axelrod.Action.C for pair in match] for match in scores]).float()
    env = task.options.make_env(400, "cpu", seed=0)
    trajectories, valid = play(env, [ScriptedAgent(task.players()["tit_for_tat"]()), agent])
    expected = (trajectories["agent_1", "action"] == 0).float().squeeze(-1)
    error = (cooperation.mean(1).var() / 40 + expected.mean(1).var() / 400).sqrt()
    assert (cooperation.mean() - expected.mean()).abs() < 4 * error
    assert returns(trajectories, valid).shape == (400, 2)


def test_one_command_from_checkpoints_to_ranking(checkpoints: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    folder = checkpoints / "runs"
    arguments = [str(folder / "recip_seed_0"), str(folder / "recip_seed_1"), "--repetitions=1", f"--output={tmp_path}"]
    monkeypatch.setattr(sys, "argv", ["tournament", *arguments])
    assert command.main() == 0
    assert "First by Graaskamp" in capsys.readouterr().out
    (document,) = read_sections(tmp_path / "section.json")["tournament"]
    # The trained agents are marked among the library's.
    ranking = document.blocks[3]
    assert [ranking.rows[index][0] for index in ranking.best] == ["Recip"]
    table = pd.read_csv(tmp_path / "ranking.csv")
    ranks = table.groupby(["seed", "agent"])["rank"].apply(sorted)
    assert list(ranks.index) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert ranks.tolist() == [list(range(1, 17))] * 4
    assert table["trained"].sum() == 4
    assert table["score_per_turn"].between(-3, 0).all() and table["cooperation"].between(0, 1).all()
    records = {file: file.stat().st_mtime_ns for file in tmp_path.glob("records/*.json")}
    assert len(records) == 5
    assert command.main() == 0
    assert all(file.stat().st_mtime_ns == written for file, written in records.items())


@pytest.mark.parametrize("name", ["matching_pennies", "public_goods", "coins"])
def test_only_games_of_the_library_are_played(name: str) -> None:
    with pytest.raises(ValueError, match=f"task must be a symmetric matrix game .*, but is '{name}'"):
        tournament.game_of(task_of(name))


def test_ranks_by_hand() -> None:
    def match(first: float, second: float) -> dict:
        return {"scores": [first, second], "cooperation": [1.0, 0.0]}

    among = {"matches": {"a": {"b": match(3.0, 1.0)}, "b": {}}}
    own = {"matches": {"a": match(2.0, 2.0), "b": match(4.0, 0.0), tournament.ITSELF: match(9.0, 9.0)}}
    rows = tournament.ranking("ours", 0, own, among)
    assert [(row["player"], row["score_per_turn"], row["cooperation"]) for row in rows] == [
        ("ours", 3.0, 1.0),
        ("a", 2.5, 0.5),
        ("b", 0.5, 0.0),
    ]


@pytest.mark.parametrize(
    "options", [{"action_noise": 0.3}, {"continuation_probability": 0.8}, {"action_noise": 0.2, "reward_noise": 1.0}]
)
def test_a_pair_scores_as_in_crossplay_whatever_the_options(options: dict[str, float]) -> None:
    task = task_of("prisoners_dilemma", max_steps=12, **options)
    players = [ScriptedAgent(task.players()[name]()) for name in ("tit_for_tat", "grim")]
    expected = meet(task.options.make_env(4000, "cpu", seed=0), task, players, seed=1)
    match = tournament._match(
        tournament.TrainedPlayer("ours", players[0], lambda: task.options.make_env(1, "cpu", seed=0)),
        axelrod.Grudger(),
        repetitions=400,
        **tournament.rules_of(task, turns=12),
    )
    assert match["scores"] == pytest.approx([expected["per_step"][side] for side in ("row", "column")], abs=0.12)
    cooperation = expected["measures"]["p_cooperate"]
    assert match["cooperation"] == pytest.approx([cooperation[side] for side in ("row", "column")], abs=0.08)


def test_slips_are_the_match_s_and_are_seen() -> None:
    task = task_of("prisoners_dilemma", action_noise=1.0)
    tit_for_tat = ScriptedAgent(task.players()["tit_for_tat"]())
    player = tournament.TrainedPlayer("ours", tit_for_tat, lambda: task.options.make_env(1, "cpu", seed=0))
    # Without the match's own noise nothing slips, and everything is answered as it happened.
    played = axelrod.Match((player, axelrod.Alternator()), turns=6, seed=0).play()
    ours, theirs = zip(*played)
    assert ours[1:] == theirs[:-1]


def test_noise_is_refused_where_a_player_would_know_too_little() -> None:
    class Looking:
        looks_back = True

    task = task_of("prisoners_dilemma", action_noise=0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tournament, "load_agents", lambda *_: [Looking()])
        with pytest.raises(ValueError, match=r"task.action_noise must be 0 in a tournament of mine, .* but is 0.1"):
            tournament._against_all("mine", Path(), 0, task, {}, lambda one, other: {})
