"""Scripted players as the algorithm of a group."""

from __future__ import annotations

import pickle

import pytest
import torch
from benchmarl.experiment import Experiment
from conftest import Batches
from tensordict import TensorDictBase

from benchmarl_reciprocator import SocialDilemmaTask
from benchmarl_reciprocator.tasks.coins import players as coin_players
from benchmarl_reciprocator.tasks.matrix import players as matrix_players

COOPERATE, DEFECT = 0, 1
LEARNERS = ["reciprocator", "ippo", "iql"]


def run(experiment: Experiment) -> Batches:
    batches = Batches()
    batches.experiment = experiment
    experiment.callbacks = [*experiment.callbacks, batches]
    experiment.run()
    return batches


def population(
    small_experiment, *overrides: str, focal: str = "ippo", others: str = "tit_for_tat", **kwargs
) -> Experiment:
    return small_experiment(
        "algorithm=mixed", f"algorithm.focal={focal}", f"algorithm.others={others}", *overrides, **kwargs
    )


def actions(batch: TensorDictBase, agent: int) -> torch.Tensor:
    return batch.get((f"agent_{agent}", "action")).squeeze(-1)


@pytest.mark.parametrize("player", matrix_players.PLAYERS)
def test_a_learner_against_every_player_of_matrix_games(player: str, small_experiment) -> None:
    experiment = population(small_experiment, "experiment.evaluation=False", others=player)
    batches = run(experiment)
    assert experiment.algorithm_name == f"mixed_1_ippo_others_{player}"
    assert len(batches.collected) == 2
    assert all(batch.get(("agent_1", "action")).max() <= 1 for batch in batches.collected)


@pytest.mark.parametrize("player", coin_players.PLAYERS)
def test_a_learner_against_every_player_of_coins(player: str, small_experiment) -> None:
    experiment = population(
        small_experiment, "experiment.evaluation=False", others=player, focal="reciprocator", preset="coins"
    )
    assert len(run(experiment).collected) == 2


@pytest.mark.parametrize("learner", LEARNERS)
def test_it_plays_by_its_script_on_and_off_policy(learner: str, small_experiment) -> None:
    batches = run(population(small_experiment, focal=learner))
    for batch in [*batches.collected, torch.stack(batches.evaluated)]:
        theirs, own = actions(batch, 0), actions(batch, 1)
        starts = torch.nn.functional.pad(batch.get(("next", "done")).squeeze(-1)[:, :-1], (1, 0), value=True)
        copied = torch.nn.functional.pad(theirs[:, :-1], (1, 0))
        assert torch.equal(own, torch.where(starts, COOPERATE, copied))


@pytest.mark.parametrize("learner", LEARNERS)
def test_only_learners_are_trained(learner: str, small_experiment) -> None:
    experiment = population(small_experiment, focal=learner)
    assert not list(experiment.losses["agent_1"].parameters())
    assert not experiment.optimizers["agent_1"]
    before = [value.clone() for value in experiment.losses["agent_0"].parameters()]
    trained = []
    experiment._optimizer_loop = lambda group, loop=experiment._optimizer_loop: (trained.append(group), loop(group))[1]
    run(experiment)
    assert set(experiment.train_group_map) <= {"agent_0"}
    assert set(trained) <= {"agent_0"}
    if learner != "reciprocator":  # which is frozen while it warms up
        after = experiment.losses["agent_0"].parameters()
        assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_models_that_remember_beside_a_player_that_does(small_experiment) -> None:
    run(population(small_experiment, "model=layers/gru", others="grim"))


def test_random_frames_before_learning(small_experiment) -> None:
    run(population(small_experiment, "experiment.off_policy_init_random_frames=300", focal="iql", others="grim"))


@pytest.mark.parametrize("collect_with_grad", [False, True])
def test_memory_starts_anew_with_every_episode(collect_with_grad: bool, small_experiment) -> None:
    # Episodes of random lengths that end at different times in different environments.
    batches = run(
        population(
            small_experiment,
            "task.continuation_probability=0.9",
            f"experiment.collect_with_grad={collect_with_grad}",
            focal="random",
            others="grim",
        )
    )
    batch = torch.cat(batches.collected, dim=-1)
    remembers = torch.zeros(8, dtype=torch.bool)
    n_ended = 0
    for step in batch.unbind(-1):
        assert torch.equal(step.get(("agent_1", "memory")).flatten().bool(), remembers)
        seen = step.get(("agent_1", "observation")).squeeze(1)
        # Its view: after CD or DD the other has defected.
        remembers = remembers | seen[:, 1].bool() | seen[:, 3].bool()
        assert torch.equal(actions(step, 1) == DEFECT, remembers)
        done = step.get(("next", "done")).squeeze(-1)
        remembers = remembers & ~done
        n_ended += int(done.sum())
    assert n_ended > 20


def test_memory_in_evaluation(small_experiment) -> None:
    batches = run(population(small_experiment, focal="random", others="grim"))
    assert len(batches.evaluated) == 8
    for episode in batches.evaluated:
        betrayed = torch.nn.functional.pad(actions(episode, 0)[:-1] == DEFECT, (1, 0)).cummax(0).values
        assert torch.equal(actions(episode, 1) == DEFECT, betrayed)


@pytest.mark.parametrize(("deterministic", "most"), [(True, 0), (False, 1)])
def test_deterministic_evaluation_takes_the_mode(deterministic: bool, most: int, small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=scripted",
        "algorithm.player=extortion",
        f"experiment.evaluation_deterministic_actions={deterministic}",
    )
    # After mutual cooperation an extortioner goes on cooperating with probability 6/7.
    defections = torch.stack([actions(episode, 1) for episode in run(experiment).evaluated]).max()
    assert defections == most


def test_all_agents_of_a_group_play_the_script(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=scripted",
        "algorithm.player=grim",
        "task.grouping=one_group",
        "task.n_agents=3",
        preset="public_goods",
    )
    batch = run(experiment).collected[-1]
    assert not experiment.train_group_map
    assert batch.get(("agents", "memory")).shape == (8, 32, 3, 1)
    assert batch.get(("agents", "action")).eq(COOPERATE).all()


def test_several_players_in_one_population(small_experiment) -> None:
    groups = "{agent_0: reciprocator, agent_1: all_d, agent_2: grim, agent_3: grim}"
    experiment = small_experiment(
        "algorithm=mixed",
        f"algorithm.groups={groups}",
        "task.n_agents=4",
        "algorithm.overrides={}",
        preset="public_goods",
    )
    batch = run(experiment).collected[-1]
    assert actions(batch, 1).eq(DEFECT).all()
    for grim in (2, 3):
        assert actions(batch, grim)[:, 0].eq(COOPERATE).all()
        assert actions(batch, grim)[:, 1:].eq(DEFECT).all()


def test_reciprocators_that_see_their_balance_against_a_player(small_experiment) -> None:
    experiment = population(
        small_experiment, "algorithm.tuning={observe_balance: true}", focal="reciprocator", others="grim"
    )
    batch = run(experiment).collected[-1]
    assert batch.get(("agent_0", "balance")).any()
    assert batch.get(("agent_1", "memory")).any()


def test_checkpoints_reload_and_evaluate(small_experiment) -> None:
    experiment = population(small_experiment, "experiment.checkpoint_at_end=True", focal="reciprocator", others="grim")
    experiment.run()
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    reloaded = Experiment.reload_from_file(str(checkpoint))
    assert reloaded.total_frames == 512
    assert isinstance(reloaded.algorithm.algorithms_map["agent_1"].player, matrix_players.Grim)
    for key, value in experiment.losses["agent_0"].state_dict().items():
        if torch.is_tensor(value):
            torch.testing.assert_close(reloaded.losses["agent_0"].state_dict()[key], value)
    reloaded.evaluate()


def test_makers_of_players_survive_pickling() -> None:
    for task in (SocialDilemmaTask.PRISONERS_DILEMMA, SocialDilemmaTask.COINS):
        for make in pickle.loads(pickle.dumps(task.get_from_yaml().players())).values():
            make()


@pytest.mark.parametrize(
    ("overrides", "preset", "message"),
    [
        (
            ["algorithm=scripted", "algorithm.player=nobody"],
            "prisoners_dilemma",
            r"^algorithm\.player must be .*all_c.*'nobody'",
        ),
        (
            ["algorithm=scripted"],
            "matching_pennies",
            r"^algorithm\.player must be .*\(it has none\), but is 'tit_for_tat'",
        ),
        (
            ["algorithm=mixed", "algorithm.others=nobody"],
            "coins",
            r"^algorithm\.others must be .*ippo.*greedy",
        ),
        (["algorithm=mixed", "algorithm.focal=mixed"], "coins", r"^algorithm\.focal must be .*but is 'mixed'"),
        (["algorithm=mixed", "algorithm.others=scripted"], "coins", r"^algorithm\.others must be .*but is 'scripted'"),
        (
            ["algorithm=mixed", "algorithm.others=grim", "algorithm.overrides={grim: {player: all_c}}"],
            "chicken",
            r"^algorithm\.overrides\.grim must be .*\(it has none\), but one is player='all_c'",
        ),
        (
            ["algorithm=mixed", "algorithm.groups={agent_0: ippo, agent_1: greedy}"],
            "chicken",
            r"^algorithm\.groups\.agent_1 must be .*tit_for_tat.*'greedy'",
        ),
        (
            ["algorithm=mixed", "algorithm.others=extortion"],
            "public_goods",
            r"^the game of extortion must be .*2 players",
        ),
        (["algorithm=mixed", "algorithm.others=tit_for_tat", "task.view=1"], "coins", r"^task\.view must be "),
    ],
)
def test_impossible_players_are_refused(overrides: list[str], preset: str, message: str, small_experiment) -> None:
    with pytest.raises(ValueError, match=message):
        small_experiment(*overrides, preset=preset)


@pytest.mark.parametrize(("algorithm", "key"), [("scripted", "player"), ("mixed", "others")])
def test_tasks_of_others_have_no_players(algorithm: str, key: str, small_experiment) -> None:
    with pytest.raises(ValueError, match=rf"^algorithm\.{key} must be .*\(it has none\), but is 'tit_for_tat'"):
        small_experiment(f"algorithm={algorithm}", f"algorithm.{key}=tit_for_tat", "task=vmas/simple_tag", preset=None)
