"""The value-influence estimator, its loss and its learner: against hand-worked targets and against exact influence."""

from __future__ import annotations

import copy
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torch.nn.functional import one_hot
from torchrl.data import LazyTensorStorage, ReplayBuffer

from benchmarl_reciprocator.influence import (
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    ReservoirWriter,
    SharedInfluenceEstimator,
    value_influence,
)
from benchmarl_reciprocator.influence.trajectories import next_values

# Payoffs by joint action and agent, action 0 cooperates.
PRISONERS_DILEMMA = torch.tensor([[[-1, -1], [-3, 0]], [[0, -3], [-2, -2]]], dtype=torch.float64)
STAG_HUNT = torch.tensor([[[4, 4], [0, 3]], [[3, 0], [1, 1]]], dtype=torch.float64)
# Probability of cooperation by agent and state, in different patterns so that no two baselines agree.
STATE_POLICIES = torch.tensor([[0.2, 0.4, 0.6, 0.8, 0.5], [0.9, 0.3, 0.5, 0.1, 0.7]], dtype=torch.float64)
# Memory-1 policies after start, CC, CD, DC, DD (agent 0's action first): both tend to do what the other did.
MEMORY_POLICIES = torch.tensor([[0.5, 0.9, 0.3, 0.7, 0.2], [0.6, 0.8, 0.7, 0.25, 0.15]], dtype=torch.float64)


def schedule(**changes: float) -> InfluenceSchedule:
    options = {"buffer_batches": 3, "buffer_reservoir": False, "lr": 0.01, "minibatch_size": 16}
    return InfluenceSchedule(**{**options, **changes})


def influence_by(estimator: InfluenceEstimator, data: TensorDict) -> Tensor:
    return value_influence(estimator.full(data).sum(-1), estimator.left_out(data).sum(-1))


def make_learner(n_cells: tuple[int, ...] = (8,), seed: int = 0, **changes: float) -> InfluenceLearner:
    torch.manual_seed(seed)
    estimator = InfluenceEstimator(n_agents=2, state_features=3, action_features=2, num_cells=n_cells)
    return InfluenceLearner(InfluenceLoss(estimator, gamma=0.9), schedule(**changes))


def random_batch(seed: int, scale: float = 1.0) -> TensorDict:
    """A batch ``[4, 5]`` for :func:`make_learner` whose first two trajectories end."""
    generator = torch.Generator().manual_seed(seed)
    actions = torch.randint(2, (4, 5, 2), generator=generator)
    done = torch.zeros(4, 5, 1, dtype=torch.bool)
    done[:2, -1] = True
    after = {
        "state": torch.rand(4, 5, 3, generator=generator),
        "reward": scale * torch.randn(4, 5, 2, generator=generator) + scale * actions.flip(-1),
        "done": done,
        "terminated": done.clone(),
    }
    before = {"state": torch.rand(4, 5, 3, generator=generator), "action": one_hot(actions, 2).float()}
    return TensorDict({**before, "next": after}, [4, 5])


def with_state_value(values: tuple[float, float]) -> InfluenceEstimator:
    """An estimator whose state value is constant: half reward, half future."""
    estimator = InfluenceEstimator(n_agents=2, state_features=1, action_features=2)
    torch.nn.init.zeros_(estimator.weights[-1])
    halves = torch.tensor([value / 2 for value in values for _ in range(2)])
    estimator.biases[-1].data[-1, 0] = halves
    return estimator


def linear_estimator(weight: Tensor, bias: Tensor, future: bool) -> InfluenceEstimator:
    """Two agents, no hidden layer: the full prediction of the reward is ``actions @ weight + bias``."""
    estimator = InfluenceEstimator(n_agents=2, state_features=1, action_features=2, num_cells=(), future=future)
    for parameter in estimator.parameters():
        torch.nn.init.zeros_(parameter)
    # Outputs: reward and, if predicted, future of agent 0, then of agent 1.
    estimator.weights[0].data[0, :, :: estimator.n_parts] = weight
    estimator.biases[0].data[0, 0, :: estimator.n_parts] = bias
    return estimator


@pytest.mark.parametrize("future", [True, False])
@pytest.mark.parametrize("batch_size", [(), (6,), (2, 3, 4)])
def test_shapes(batch_size: tuple[int, ...], future: bool) -> None:
    estimator = InfluenceEstimator(n_agents=3, state_features=4, action_features=2, future=future)
    data = TensorDict({"state": torch.rand(*batch_size, 4), "action": torch.rand(*batch_size, 3, 2)}, batch_size)
    # Without the future there is no network for the state value, and one part.
    assert estimator(data)["prediction"].shape == (*batch_size, *((5, 3, 2) if future else (4, 3, 1)))
    parts = 2 if future else 1
    assert estimator.full(data).shape == (*batch_size, 3, parts)
    assert estimator.left_out(data).shape == (*batch_size, 3, 3, parts)
    if future:
        assert estimator.state_value(data).shape == (*batch_size, 3)


def test_state_value_is_the_last_network_without_actions() -> None:
    torch.manual_seed(0)
    estimator = InfluenceEstimator(n_agents=3, state_features=4, action_features=2)
    data = TensorDict({"state": torch.rand(6, 4), "action": torch.rand(6, 3, 2)}, [6])
    expected = estimator(data)["prediction"][:, -1].sum(-1)
    torch.testing.assert_close(estimator.state_value(data.select("state")), expected)


@pytest.mark.parametrize("changed", [0, 1, 2])
@pytest.mark.parametrize(("num_cells", "future"), [((), True), ((16,), False), ((16, 16), True)])
def test_left_out_networks_ignore_the_left_out_action(changed: int, num_cells: tuple[int, ...], future: bool) -> None:
    torch.manual_seed(0)
    estimator = InfluenceEstimator(n_agents=3, state_features=4, action_features=2, num_cells=num_cells, future=future)
    data = TensorDict({"state": torch.rand(6, 4), "action": torch.rand(6, 3, 2)}, [6])
    before = estimator(data)["prediction"].clone()
    data["action"][:, changed] += 1
    moved = (estimator(data)["prediction"] - before).abs().amax((0, 2, 3)) > 1e-4
    # Network 0 sees all, i + 1 all but agent i, the last, where there is one, none.
    assert moved.tolist() == [True, *(i != changed for i in range(3)), False][: estimator.n_networks]


@pytest.mark.parametrize("future", [True, False])
def test_influence_is_full_less_left_out_prediction(future: bool) -> None:
    torch.manual_seed(0)
    estimator = InfluenceEstimator(n_agents=3, state_features=4, action_features=2, future=future)
    data = TensorDict({"state": torch.rand(1, 4), "action": torch.rand(1, 3, 2)}, [1])
    learner = InfluenceLearner(InfluenceLoss(estimator, gamma=0.9), schedule())
    prediction = estimator(data)["prediction"][0]
    # Of agent 2 on agent 0: network 0 less network 3, all parts together.
    expected = prediction[0, 0].sum() - prediction[3, 0].sum()
    torch.testing.assert_close(learner.influence(data)[0, 2, 0], expected)


@pytest.mark.parametrize("kind", [InfluenceEstimator, SharedInfluenceEstimator])
def test_one_pass_predicts_what_two_do(kind: type[InfluenceEstimator]) -> None:
    torch.manual_seed(0)
    estimator = kind(3, 6, 2)
    data = TensorDict({"state": torch.rand(5, 6), "action": torch.rand(5, 3, 2)}, [5])
    full, left_out = estimator.full_and_left_out(data)
    torch.testing.assert_close(full, estimator.full(data))
    torch.testing.assert_close(left_out, estimator.left_out(data))
    # As they stand in what forward writes.
    prediction = estimator(data)["prediction"]
    torch.testing.assert_close(prediction[:, 0], full)
    torch.testing.assert_close(prediction[:, 1:4], left_out)


def turned(data: TensorDict, n_agents: int) -> TensorDict:
    """The same situation with everyone one seat further: agent 0 is where agent 1 was."""
    order = (torch.arange(n_agents) + 1) % n_agents
    own = data["state"][..., :-1].unflatten(-1, (n_agents, -1))[..., order, :].flatten(-2)
    state = torch.cat([own, data["state"][..., -1:]], dim=-1)
    return TensorDict({"state": state, "action": data["action"][..., order, :]}, data.shape)


@pytest.mark.parametrize("n_agents", [2, 3, 5])
@pytest.mark.parametrize("future", [True, False])
def test_shared_parameters_know_no_seats(n_agents: int, future: bool) -> None:
    torch.manual_seed(0)
    options = {"future": future, "common_features": 1}
    estimator = SharedInfluenceEstimator(n_agents, 2 * n_agents + 1, action_features=3, **options)
    assert len(estimator.weights[0]) == (3 if future else 2)
    data = TensorDict({"state": torch.rand(4, 6, 2 * n_agents + 1), "action": torch.rand(4, 6, n_agents, 3)}, [4, 6])
    parts = 2 if future else 1
    assert estimator(data)["prediction"].shape == (4, 6, n_agents + parts, n_agents, parts)
    order = (torch.arange(n_agents) + 1) % n_agents
    expected = influence_by(estimator, data)[..., order, :][..., order]
    torch.testing.assert_close(influence_by(estimator, turned(data, n_agents)), expected)
    if future:
        value = estimator.state_value(data)[..., order]
        torch.testing.assert_close(estimator.state_value(turned(data, n_agents)), value)
        by_seat = [estimator.state_value(data, torch.tensor([seat])) for seat in range(n_agents)]
        torch.testing.assert_close(torch.stack(by_seat).mean(0), estimator.state_value(data))


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_shared_left_out_networks_ignore_the_left_out_action(changed: int) -> None:
    torch.manual_seed(0)
    estimator = SharedInfluenceEstimator(3, state_features=7, action_features=2, common_features=1)
    data = TensorDict({"state": torch.rand(6, 7), "action": torch.rand(6, 3, 2)}, [6])
    before = estimator(data)["prediction"].clone()
    data["action"][:, changed] += 1
    moved = (estimator(data)["prediction"] - before).abs().amax((0, 2, 3)) > 1e-4
    assert moved.tolist() == [True, *(i != changed for i in range(3)), False]


def test_a_step_of_shared_parameters_is_made_from_two_seats() -> None:
    torch.manual_seed(0)
    estimator = SharedInfluenceEstimator(5, 6, action_features=2, common_features=1)
    data = TensorDict({"state": torch.rand(8, 6), "action": torch.rand(8, 5, 2)}, [8])
    data["target"] = torch.rand(8, 5, 2)
    loss = InfluenceLoss(estimator, gamma=0.9)
    drawn = set()
    for seed in range(20):
        torch.manual_seed(seed)
        seats = estimator.sample_seats()
        assert len(seats) == 2
        drawn.update(seats.tolist())
        prediction = estimator.standardised(data, seats)
        assert prediction.shape == (8, 4, 5, 2)
        expected = (estimator.normalise(data["target"]).unsqueeze(1) - prediction).pow(2).mean((0, 2)).sum(0)
        torch.manual_seed(seed)
        losses = loss(data)
        torch.testing.assert_close(torch.stack([losses["loss_reward"], losses["loss_future"]]), expected)
    # All of them in the long run.
    assert drawn == set(range(5))
    # Two agents are both of them seen; own weights have no seats.
    assert SharedInfluenceEstimator(2, 3, action_features=2, common_features=1).sample_seats() is None
    assert InfluenceEstimator(5, 6, action_features=2).sample_seats() is None


def test_own_baseline_forgives_a_habit_and_the_shared_one_does_not() -> None:
    # In one and the same situation agent 0 cooperates in 2 of 10 cases, agent 1 in 8 of 10, independently. To cooperate
    # gives the other 1, to defect takes 1 from it.
    often = torch.tensor([2, 8])
    cooperates = torch.cartesian_prod(torch.arange(10), torch.arange(10)) < often
    reward = torch.where(cooperates, 1.0, -1.0).flip(-1)
    flags = torch.zeros(100, 1, 1, dtype=torch.bool)
    after = {"state": torch.zeros(100, 1, 3), "reward": reward.unsqueeze(1), "done": flags, "terminated": flags}
    before = {"state": torch.zeros(100, 1, 3), "action": one_hot((~cooperates).long(), 2).float().unsqueeze(1)}
    batch = TensorDict({**before, "next": after}, [100, 1])
    mean_influence = {}
    for share_params in (False, True):
        torch.manual_seed(0)
        kind = partial(SharedInfluenceEstimator, common_features=1) if share_params else InfluenceEstimator
        estimator = kind(2, state_features=3, action_features=2, future=False)
        learner = InfluenceLearner(InfluenceLoss(estimator, gamma=0.9), schedule(epochs=300, minibatch_size=100))
        learner.observe(batch)
        mean_influence[share_params] = learner.influence(batch).mean((0, 1))
    # By its own baseline nobody's influence is anything but zero on average.
    torch.testing.assert_close(mean_influence[False], torch.zeros(2, 2), rtol=0, atol=0.02)
    # The shared baseline knows the other's action: who faces a cooperator cooperates in 0.8 x 0.2 + 0.2 x 0.8 = 0.32 of
    # the cases, so agent 0 gives -0.6 where 0.8 (2 x 0.32 - 1) + 0.2 (2 x 0.68 - 1) = -0.216 is usual.
    expected = torch.tensor([-0.384, 0.384])
    found = torch.stack([mean_influence[True][0, 1], mean_influence[True][1, 0]])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02)


def test_state_that_cannot_be_shared() -> None:
    with pytest.raises(ValueError, match=r"must be a multiple of n_agents=2, .* but is 6 - 1"):
        SharedInfluenceEstimator(2, state_features=6, action_features=2, common_features=1)


@pytest.mark.parametrize("share_params", [False, True])
def test_new_normalisation_leaves_predictions_unchanged(share_params: bool) -> None:
    torch.manual_seed(0)
    kind = SharedInfluenceEstimator if share_params else InfluenceEstimator
    estimator = kind(n_agents=2, state_features=4, action_features=3)
    data = TensorDict({"state": torch.rand(50, 4), "action": torch.rand(50, 2, 3)}, [50])
    before = estimator(data)["prediction"].clone()
    # A part that does not vary must not be divided by zero.
    for scale in (torch.tensor([[3.0, 0.5], [0.0, 20.0]]), torch.tensor([[0.1, 0.0], [7.0, 1.0]])):
        target = 5 + scale * torch.randn(50, 2, 2)
        estimator.update_normalisation(target)
        torch.testing.assert_close(estimator(data)["prediction"], before, rtol=1e-4, atol=1e-4)
        standard = estimator.normalise(target)
        if share_params:
            # One unit for all agents.
            torch.testing.assert_close(standard.mean((0, 1)), torch.zeros(2), rtol=0, atol=1e-5)
            torch.testing.assert_close(standard.flatten(0, 1).std(0, unbiased=False), torch.ones(2))
            torch.testing.assert_close(estimator.denormalise(standard), target)
            continue
        torch.testing.assert_close(standard.mean(0), torch.zeros(2, 2), rtol=0, atol=1e-5)
        torch.testing.assert_close(standard.std(0, unbiased=False), (scale > 0).float(), rtol=0, atol=1e-5)
        torch.testing.assert_close(estimator.denormalise(standard), target)


# Rewards 1, 2, 3, 4 of agent 0 (state value 4) and 0, 0, 0, 8 of agent 1 (state value 8), gamma 0.5, the episode ends
# with the second of four steps, the batch in mid-episode. The future after the last step is 0.5 times the state value:
# 2 and 4; after the third 0.5 * (4 + 2) = 3 and 0.5 * (8 + 4) = 6.
@pytest.mark.parametrize(
    ("terminated", "lmbda", "expected"),
    [
        # Nothing comes after the second step: 0; after the first 0.5 * 2 = 1 and 0.5 * 0 = 0.
        (True, 1.0, [[1.0, 0.0], [0.0, 0.0], [3.0, 6.0], [2.0, 4.0]]),
        # After the second 0.5 * 4 = 2 and 0.5 * 8 = 4; after the first 0.5 * (2 + 2) = 2 and 0.5 * (0 + 4) = 2.
        (False, 1.0, [[2.0, 2.0], [2.0, 4.0], [3.0, 6.0], [2.0, 4.0]]),
        # Half the state value, half the return: after the third 0.25 * (4 + 6) = 2.5 and 0.25 * (8 + 12) = 5; after the
        # first 0.25 * (4 + 2 + 2) = 2 and 0.25 * (8 + 0 + 4) = 3.
        (False, 0.5, [[2.0, 3.0], [2.0, 4.0], [2.5, 5.0], [2.0, 4.0]]),
        # 0.5 times the state value everywhere.
        (False, 0.0, [[2.0, 4.0]] * 4),
    ],
)
def test_future_targets(terminated: bool, lmbda: float, expected: list[list[float]]) -> None:
    loss = InfluenceLoss(with_state_value((4.0, 8.0)), gamma=0.5, lmbda=lmbda)
    reward = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [3.0, 0.0], [4.0, 8.0]]])
    done = torch.tensor([False, True, False, False]).reshape(1, 4, 1)
    after = {"state": torch.rand(1, 4, 1), "reward": reward, "done": done, "terminated": done & terminated}
    target = loss.targets(TensorDict({"next": after}, [1, 4]))
    torch.testing.assert_close(target[..., 0], reward)
    torch.testing.assert_close(target[0, ..., 1], torch.tensor(expected))


def test_targets_without_a_future() -> None:
    loss = InfluenceLoss(InfluenceEstimator(2, 1, 2, future=False), gamma=0.5)
    reward = torch.rand(1, 4, 2)
    assert torch.equal(loss.targets(TensorDict({"next": {"reward": reward}}, [1, 4])), reward.unsqueeze(-1))


@pytest.mark.filterwarnings("ignore:No target network updater")
@pytest.mark.parametrize("future", [True, False])
def test_loss_by_hand(future: bool) -> None:
    # All networks predict 0, so an agent's error is its squared target: rewards 1 and 3, futures 0 and 2.
    loss = InfluenceLoss(linear_estimator(torch.zeros(4, 2), torch.zeros(2), future), gamma=0.9)
    target = torch.tensor([[[1.0, 0.0], [3.0, 2.0]]])[..., : 2 if future else 1]
    losses = loss(TensorDict({"state": torch.zeros(1, 1), "action": torch.zeros(1, 2, 2), "target": target}, [1]))
    # Mean over agents, summed over 4 networks: 4 * (1 + 9) / 2 and 4 * (0 + 4) / 2; over 3 without the future.
    expected = {"loss_reward": 20.0, "loss_future": 8.0} if future else {"loss_reward": 15.0}
    assert {key: value.item() for key, value in losses.items()} == pytest.approx(expected)
    assert loss.out_keys == list(expected)


@pytest.mark.parametrize("options", [{"gamma": 1.1}, {"gamma": 0.9, "lmbda": -0.1}])
def test_loss_refuses_bad_discounts(options: dict[str, float]) -> None:
    name = list(options)[-1]
    with pytest.raises(ValueError, match=f"{name} must be a number from 0 to 1, but is "):
        InfluenceLoss(InfluenceEstimator(2, 1, 2), **options)


@pytest.mark.parametrize(("n_agents", "num_cells"), [(1, (8,)), (2, (8, 0))])
def test_estimator_refuses_bad_sizes(n_agents: int, num_cells: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="n_agents" if n_agents < 2 else "num_cells"):
        InfluenceEstimator(n_agents, 1, 2, num_cells=num_cells)


# Each agent gets 2 if the other plays action 0, else 0: mean 1, variance 1 over all joint actions.
GIFTS = torch.tensor([[0.0, 2.0], [0.0, 0.0], [2.0, 0.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("weight", "bias", "expected"),
    [
        (GIFTS, 0.0, 1.0),
        # The mean explains nothing.
        (torch.zeros(4, 2), 1.0, 0.0),
        # Off by 2 from the mean: error 1 + 2 * 2, so 1 - 5 / 1.
        (torch.zeros(4, 2), 3.0, -4.0),
    ],
)
def test_explained_variance(weight: Tensor, bias: float, expected: float) -> None:
    loss = InfluenceLoss(linear_estimator(weight, torch.full((2,), bias), future=False), gamma=0.9)
    joint = torch.cartesian_prod(torch.arange(2), torch.arange(2))
    target = 2.0 * (joint.flip(-1) == 0).unsqueeze(-1)
    data = TensorDict({"state": torch.zeros(4, 1), "action": one_hot(joint, 2).float(), "target": target}, [4])
    assert loss.explained_variance(data)["reward"].item() == pytest.approx(expected)
    data["target"] = torch.ones_like(target)
    assert math.isnan(loss.explained_variance(data)["reward"])


def exact_influence(values: Tensor, cooperation: Tensor) -> Tensor:
    """Influence on ``values`` ``[A_0, A_1, N]`` by state and joint action, by enumeration: ``[S, A_0, A_1, N, N]``."""
    policy = torch.stack([cooperation, 1 - cooperation], dim=-1)
    without_0 = torch.einsum("sa,abj->sbj", policy[0], values).unsqueeze(1).expand(-1, 2, -1, -1)
    without_1 = torch.einsum("sb,abj->saj", policy[1], values).unsqueeze(2).expand(-1, -1, 2, -1)
    return torch.stack([values - without_0, values - without_1], dim=-2)


def exact_next_values(payoffs: Tensor, cooperation: Tensor, gamma: float) -> Tensor:
    """Discounted return that follows each joint action of memory-1 policies, ``[A_0, A_1, N]``."""
    policy = torch.stack([cooperation, 1 - cooperation], dim=-1)
    # From each state (start first) to each joint action, which is the next state.
    transition = torch.einsum("sa,sb->sab", policy[0], policy[1]).flatten(1)
    rewards = transition @ payoffs.reshape(4, 2)
    values = torch.linalg.solve(torch.eye(4, dtype=torch.float64) - gamma * transition[1:], rewards[1:])
    return values.reshape(2, 2, 2)


def play(payoffs: Tensor, cooperation: Tensor, generator: torch.Generator, episode: int | None) -> TensorDict:
    """Trajectories ``[256, 12]`` of one-step games in random states, or of a game truncated after ``episode`` steps."""
    state, rows = torch.randint(5, (256,), generator=generator), []
    if episode is not None:
        state = torch.zeros_like(state)
    for t in range(12):
        action = (torch.rand(256, 2, generator=generator) >= cooperation[:, state].T).long()
        outcome = 1 + 2 * action[:, 0] + action[:, 1]
        ends = episode is None or (t + 1) % episode == 0
        rows.append((state, action, outcome, torch.full((256, 1), ends)))
        if episode is None:
            state = torch.randint(5, (256,), generator=generator)
        else:
            state = torch.zeros_like(state) if ends else outcome
    state, action, outcome, done = (torch.stack(column, dim=1) for column in zip(*rows, strict=True))
    after = {
        "state": one_hot(outcome, 5).float(),
        "reward": payoffs[action[..., 0], action[..., 1]].float(),
        "done": done,
        "terminated": done & (episode is None),
    }
    before = {"state": one_hot(state, 5).float(), "action": one_hot(action, 2).float()}
    return TensorDict({**before, "next": after}, [256, 12])


def all_cases() -> TensorDict:
    """Every state with every joint action, ``[5, 2, 2]``."""
    state, own, other = torch.meshgrid(torch.arange(5), torch.arange(2), torch.arange(2), indexing="ij")
    action = one_hot(torch.stack([own, other], dim=-1), 2).float()
    return TensorDict({"state": one_hot(state, 5).float(), "action": action}, [5, 2, 2])


def fitted(
    payoffs: Tensor, cooperation: Tensor, episode: int | None, future: bool, n_batches: int, epochs: int
) -> InfluenceLearner:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    estimator = InfluenceEstimator(n_agents=2, state_features=5, action_features=2, num_cells=(32,), future=future)
    loss = InfluenceLoss(estimator, gamma=0.9, lmbda=0.5)
    learner = InfluenceLearner(loss, schedule(buffer_batches=8, epochs=epochs, minibatch_size=1024))
    for _ in range(n_batches):
        learner.observe(play(payoffs, cooperation, generator, episode))
    return learner


def correlation(estimate: Tensor, exact: Tensor) -> float:
    return torch.corrcoef(torch.stack([estimate.flatten(), exact.flatten()]))[0, 1].item()


@pytest.mark.parametrize("payoffs", [PRISONERS_DILEMMA, STAG_HUNT], ids=["prisoners_dilemma", "stag_hunt"])
def test_immediate_influence_is_exact(payoffs: Tensor) -> None:
    learner = fitted(payoffs, STATE_POLICIES, episode=None, future=False, n_batches=8, epochs=24)
    estimate = learner.influence(all_cases()).double()
    exact = exact_influence(payoffs, STATE_POLICIES)
    # The enumeration by hand: in state 0 agent 0 cooperates with 0.2, which is worth 2 to the other: 2 * (1 - 0.2).
    if payoffs is PRISONERS_DILEMMA:
        torch.testing.assert_close(exact[0, 0, :, 0, 1], torch.full((2,), 1.6, dtype=torch.float64))
    for i in range(2):
        for j in range(2):
            assert correlation(estimate[..., i, j], exact[..., i, j]) >= 0.99
            assert (estimate - exact)[..., i, j].mean().abs() < 0.08
    assert (estimate - exact).abs().mean() < 0.1


def test_future_influence_against_exact_values() -> None:
    """Episodes are cut after 5 steps, and most of a return at gamma 0.9 lies beyond: it must be bootstrapped."""
    learner = fitted(PRISONERS_DILEMMA, MEMORY_POLICIES, episode=5, future=True, n_batches=20, epochs=12)
    loss, cases = learner.loss, all_cases()
    with torch.no_grad(), loss.lagged() as estimator:
        full, left_out = (prediction[..., 1].double() for prediction in estimator.full_and_left_out(cases))
        values = estimator.state_value(cases[1:, 0, 0]).double()
    estimate = value_influence(full, left_out)
    next_values = exact_next_values(PRISONERS_DILEMMA, MEMORY_POLICIES, 0.9)
    exact = exact_influence(0.9 * next_values, MEMORY_POLICIES)
    # Returns without bootstrapping would be about (1 - 0.9^5) = 0.4 of these (-13 to -16), and less in the last steps.
    torch.testing.assert_close(values, next_values.reshape(4, 2), rtol=0.1, atol=0)

    others = ~torch.eye(2, dtype=torch.bool)
    # Given state and joint action, a target still varies by 0.4; the buffer holds 100 to 4000 of each case, so its mean
    # is off by 0.04 at worst. The exact influence on the other spreads by 0.22, hence a correlation of
    # 1 / sqrt(1 + (0.04 / 0.22)^2) = 0.98 if all cases were as rare. The bar allows 0.07, for the noise of the fit.
    assert exact[..., others].std() > 0.2
    assert correlation(estimate[..., others], exact[..., others]) >= 0.95
    assert (estimate - exact)[..., others].mean().abs() < 0.05
    slope = (estimate * exact)[..., others].sum() / exact[..., others].pow(2).sum()
    assert slope.item() == pytest.approx(1, abs=0.15)


def test_buffer_keeps_the_last_batches_only() -> None:
    learner = make_learner(buffer_batches=3)
    for number in range(5):
        batch = random_batch(number)
        batch["next", "reward"].fill_(float(number))
        learner.observe(batch)
        held = learner.buffer[:]["next", "reward"]
        assert held.unique().tolist() == [float(kept) for kept in range(max(0, number - 2), number + 1)]
        assert len(held) == 4 * min(number + 1, 3)


@pytest.mark.parametrize("buffer_reservoir", [False, True])
def test_only_chosen_trajectories_are_learned_from(buffer_reservoir: bool) -> None:
    learner, probe = make_learner(buffer_batches=2, buffer_reservoir=buffer_reservoir), random_batch(99)
    before = learner.influence(probe)
    # The capacity is that of two whole batches, whatever the first of them gives.
    for number, chosen in enumerate([[], [0], [1, 3], [0, 1, 2], [0, 1, 2, 3]]):
        batch, where = random_batch(number), torch.zeros(4, dtype=torch.bool)
        batch["next", "reward"].fill_(-1.0)
        where[chosen] = True
        batch["next", "reward"][where] = float(number)
        metrics = learner.observe(batch, where)
        held = learner.buffer[:]["next", "reward"] if chosen else torch.zeros(0)
        assert len(held) == [0, 1, 3, 6, 8][number]
        assert -1.0 not in held
        # Nothing to fit on, nothing fitted; and so no explained variance before the second fit.
        assert ("loss_reward" in metrics) == (number > 0)
        assert ("explained_variance_reward" in metrics) == (number > 1)
        assert torch.equal(learner.influence(probe), before) == (number == 0)
    learner.forget()
    assert learner.observe(random_batch(5), torch.zeros(4, dtype=torch.bool)) == {}


def test_a_fit_is_as_long_with_few_trajectories() -> None:
    steps = []
    for n_chosen in (4, 1):
        learner = make_learner(epochs=4, minibatch_size=5)
        learner.observe(random_batch(0), torch.arange(4) < n_chosen)
        steps.append(int(next(iter(learner.optimizer.state.values()))["step"]))
    assert steps == [16, 16]


def test_all_chosen_is_as_none_said() -> None:
    first, second, probe = make_learner(), make_learner(), random_batch(99)
    for number in range(3):
        metrics = []
        for learner, where in ((first, None), (second, torch.ones(4, dtype=torch.bool))):
            torch.manual_seed(number)
            metrics.append(learner.observe(random_batch(number), where))
        assert metrics[0] == metrics[1]
    assert torch.equal(first.influence(probe), second.influence(probe))


@pytest.mark.parametrize("where", [torch.ones(4, 5, dtype=torch.bool), torch.ones(4), torch.arange(4)])
def test_choice_of_trajectories_must_be_one_boolean_each(where: Tensor) -> None:
    with pytest.raises(ValueError, match=r"where must be boolean and of shape \[\*B\] = \(4,\), but is "):
        make_learner().observe(random_batch(0), where)


def reservoir(size: int) -> ReplayBuffer:
    return ReplayBuffer(storage=LazyTensorStorage(size), writer=ReservoirWriter())


def numbered(number: int, n: int = 4) -> TensorDict:
    return TensorDict({"number": torch.full((n,), number)}, [n])


def test_reservoir_keeps_all_that_was_seen_with_the_same_chance() -> None:
    torch.manual_seed(0)
    held = torch.zeros(10)
    for _ in range(100):
        buffer = reservoir(8)
        for number in range(10):
            index = buffer.extend(numbered(number))
            assert (buffer[:]["number"][index] == number).all()
            assert len(buffer) == min(4 * (number + 1), 8)
        held += torch.bincount(buffer[:]["number"], minlength=10)
    # 800 places over 10 batches: 80 each, of binomial deviation below 9.
    assert (held - 80).abs().max() < 35


def test_reservoir_takes_parts_of_a_batch_and_single_elements() -> None:
    buffer = reservoir(10)
    buffer.extend(numbered(0, n=7))
    # Three find room, four a chance.
    buffer.extend(numbered(1, n=7))
    assert (len(buffer), buffer.writer.seen) == (10, 14)
    assert (buffer[:]["number"][7:] == 1).all()
    buffer.add(numbered(2, n=1)[0])
    assert buffer.writer.seen == 15
    buffer.empty()
    assert (len(buffer), buffer.writer.seen) == (0, 0)
    buffer.add(numbered(2, n=1)[0])
    assert buffer[:]["number"].tolist() == [2]


def test_reservoir_goes_on_counting_where_it_was_saved(tmp_path: Path) -> None:
    buffer, other = reservoir(3), reservoir(3)
    for number in range(5):
        buffer.extend(numbered(number))
    buffer.dumps(tmp_path)
    other.loads(tmp_path)
    assert other.writer.seen == 20
    assert torch.equal(other[:]["number"], buffer[:]["number"])
    third = ReservoirWriter()
    third.load_state_dict(buffer.writer.state_dict())
    assert third.seen == 20


def test_forgetting_empties_the_buffer_and_keeps_what_was_learned() -> None:
    learner, probe = make_learner(buffer_reservoir=True), random_batch(99)
    for number in range(4):
        learner.observe(random_batch(number))
    before = learner.influence(probe)
    learner.forget()
    torch.testing.assert_close(learner.influence(probe), before)
    batch = random_batch(5)
    batch["next", "reward"].fill_(7.0)
    learner.observe(batch)
    assert learner.buffer[:]["next", "reward"].unique().tolist() == [7.0]
    assert learner.buffer.writer.seen == 4


def test_baselines_move_once_per_target_period() -> None:
    learner, probe = make_learner(target_period=3), random_batch(99)
    moved, before = [], learner.influence(probe)
    for number in range(7):
        metrics = learner.observe(random_batch(number))
        after = learner.influence(probe)
        moved.append(not torch.equal(before, after))
        assert ("loss_reward" in metrics) == moved[-1]
        before = after
    # The first fit is at once, so that there is a baseline at all; then with the third and sixth batch.
    assert moved == [True, False, True, False, False, True, False]


def test_baselines_are_in_units_of_reward() -> None:
    """After a refresh without averaging, value influence is read off the estimator as it was fitted."""
    learner, probe = make_learner(), random_batch(99)
    for number in range(3):
        learner.observe(random_batch(number, scale=50.0))
        with torch.no_grad(), learner.loss.fitted() as estimator:
            fitted_influence = influence_by(estimator, probe)
        torch.testing.assert_close(learner.influence(probe), fitted_influence)


def test_warmup_fits_after_every_batch() -> None:
    learner, fits, warming = make_learner(warmup=3, target_period=4), [], []
    for number in range(8):
        learner.observe(random_batch(number))
        fits.append(learner.fits)
        warming.append(learner.warming_up)
    # Then with every fourth batch.
    assert fits == [1, 2, 3, 4, 4, 4, 4, 5]
    assert warming == [True] * 3 + [False] * 5


def test_polyak_averages_the_baselines() -> None:
    # Without a hidden layer predictions are linear in the parameters, so averaged parameters give averaged influence.
    learner, probe = make_learner(n_cells=(), polyak_tau=0.25, lr=0.1), random_batch(99)
    for number in range(3):
        before = learner.influence(probe)
        learner.observe(random_batch(number, scale=20.0))
        with torch.no_grad(), learner.loss.fitted() as estimator:
            fitted_influence = influence_by(estimator, probe)
        assert not torch.allclose(before, fitted_influence, atol=0.1)
        expected = 0.75 * before + 0.25 * fitted_influence
        torch.testing.assert_close(learner.influence(probe), expected, rtol=1e-3, atol=1e-3)


def test_new_units_alone_leave_the_baselines_unchanged() -> None:
    # What baselines predict must not depend on how targets are standardised.
    learner, probe = make_learner(), random_batch(99)
    before = learner.influence(probe)
    learner.loss.update_normalisation(20 * torch.randn(4, 5, 2, 2) + 3)
    torch.testing.assert_close(learner.influence(probe), before, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("share_params", [False, True])
@pytest.mark.parametrize("n_agents", [2, 3])
def test_influence_of_what_was_replayed_has_mean_zero(n_agents: int, share_params: bool) -> None:
    torch.manual_seed(0)
    kind = partial(SharedInfluenceEstimator, common_features=1) if share_params else InfluenceEstimator
    estimator = kind(n_agents, state_features=2 * n_agents + 1, action_features=2)
    # A fit of one step, far from done
    learner = InfluenceLearner(InfluenceLoss(estimator, gamma=0.9), schedule(minibatch_size=64))
    ends = torch.zeros(16, 4, 1, dtype=torch.bool)
    after = {"state": torch.rand(16, 4, 2 * n_agents + 1), "reward": 5 + torch.randn(16, 4, n_agents)}
    before = {"state": torch.rand(16, 4, 2 * n_agents + 1), "action": torch.rand(16, 4, n_agents, 2)}
    batch = TensorDict({**before, "next": {**after, "done": ends, "terminated": ends}}, [16, 4])
    learner.observe(batch)
    mean = learner.influence(batch).mean((0, 1))
    if share_params:
        # Of all agents together, by how many seats apart they are.
        mean = torch.stack([mean.roll(-by, -1).diagonal() for by in range(n_agents)]).mean(-1)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_not_finite_are_refused(bad: float) -> None:
    learner, batch = make_learner(), random_batch(0)
    batch["next", "reward"][1, 2, 0] = bad
    with pytest.raises(ValueError, match="must be finite numbers, but 1 of 40 are NaN or infinite"):
        learner.observe(batch)


def test_explained_variance_is_of_a_batch_not_yet_learned() -> None:
    learner = make_learner()
    assert "explained_variance_reward" not in learner.observe(random_batch(0))
    metrics = learner.observe(random_batch(1))
    assert {"explained_variance_reward", "explained_variance_future", "loss_reward", "grad_norm"} <= set(metrics)


@pytest.mark.parametrize("options", [{"target_period": 1}, {"target_period": 3}, {"polyak_tau": 0.25}])
def test_saved_learner_goes_on_as_if_never_stopped(options: dict[str, float], tmp_path: Path) -> None:
    learner, probe = make_learner(**options), random_batch(99)
    # An odd number of fits, so that a count of refreshes that is not saved would show.
    for number in range(3):
        learner.observe(random_batch(number))
    torch.save(learner.state_dict(), tmp_path / "learner.pt")
    other = make_learner(seed=1, **options)
    other.load_state_dict(torch.load(tmp_path / "learner.pt", weights_only=True))
    assert torch.equal(learner.influence(probe), other.influence(probe))

    for number in range(3, 9):
        metrics = []
        for one in (learner, other):
            torch.manual_seed(number)
            metrics.append(one.observe(random_batch(number)))
        assert metrics[0] == metrics[1]
        assert torch.equal(learner.influence(probe), other.influence(probe))


def test_checkpoint_of_a_version_with_other_tables_of_seats() -> None:
    learners = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        estimator = SharedInfluenceEstimator(n_agents=2, state_features=6, action_features=2, num_cells=(8,))
        learners.append(InfluenceLearner(InfluenceLoss(estimator, gamma=0.9), schedule()))
    known, other = learners
    state = known.state_dict()
    tables = [key for key, value in state["loss"].items() if torch.is_tensor(value) and not value.is_floating_point()]
    assert tables
    state["loss"] = {key: value for key, value in state["loss"].items() if key != tables[0]}
    state["loss"]["estimator_network_params.of_another_version"] = torch.arange(3)
    other.load_state_dict(state)
    assert all(torch.equal(a, b) for a, b in zip(other.loss.parameters(), known.loss.parameters()))
    weight = next(key for key, value in state["loss"].items() if torch.is_tensor(value) and value.is_floating_point())
    with pytest.raises(RuntimeError, match="key"):
        other.load_state_dict({**state, "loss": {key: value for key, value in state["loss"].items() if key != weight}})


def test_checkpoint_of_an_older_version_that_kept_every_next_state() -> None:
    learner, other, batch = make_learner(), make_learner(seed=1), random_batch(0)
    learner.observe(batch)
    state = copy.deepcopy(learner.state_dict())
    state["buffer"]["content"] = batch.to_dict()
    other.load_state_dict(state)
    assert (other.buffer[:] == learner.buffer[:]).all()
    for number in (1, 2):
        metrics = []
        for one in (learner, other):
            torch.manual_seed(number)
            metrics.append(one.observe(random_batch(number)))
        assert metrics[0] == metrics[1]


def followed_on(batch: TensorDict, done: Tensor) -> TensorDict:
    """``batch`` with states that follow on each other but where an episode is ``done``, ``[B, T]``."""
    goes_on = ~done[:, :-1, None]
    after = batch["next", "state"][:, :-1]
    batch["next", "state"][:, :-1] = torch.where(goes_on, batch["state"][:, 1:], after)
    batch["next", "done"] = batch["next", "terminated"] = done.unsqueeze(-1)
    return batch


@pytest.mark.parametrize("buffer_reservoir", [False, True])
def test_buffer_holds_a_state_once(buffer_reservoir: bool) -> None:
    learner, expected = make_learner(buffer_batches=2, buffer_reservoir=buffer_reservoir), []
    for number, ends in enumerate([[], [2], [], [0, 3]]):
        done = torch.zeros(4, 5, dtype=torch.bool)
        done[:, ends] = True
        batch = followed_on(random_batch(number), done)
        learner.observe(batch)
        expected.append(batch)
        held = learner.buffer[:]
        # Room for as many as the worst trajectory so far has
        assert held["after", "state"].shape[1] == [1, 2, 2, 3][number]
        after = next_values(held["state"], held["after", "state"], held["breaks"])
        all_seen = torch.cat(expected)
        for state, following in zip(held["state"], after):
            same = (all_seen["state"] == state).flatten(1).all(-1)
            assert torch.equal(all_seen["next", "state"][same][0], following)


def test_targets_from_the_buffer_are_those_of_the_batch() -> None:
    learner = make_learner()
    done = torch.rand(4, 5, generator=torch.Generator().manual_seed(0)) < 0.3
    batch = followed_on(random_batch(0), done)
    learner.observe(batch)
    torch.manual_seed(1)
    expected = learner.loss.targets(batch)
    with torch.no_grad(), learner.loss.fitted() as estimator:
        held = learner.buffer[:]
        values = [
            estimator.state_value(TensorDict({"state": x}, x.shape[:2]))
            for x in (held["state"], held["after", "state"])
        ]
    next_value = next_values(*values, held["breaks"])
    torch.testing.assert_close(learner.loss.targets(held, next_value), expected)


def test_learner_that_saw_nothing_can_be_saved() -> None:
    learner, other, probe = make_learner(), make_learner(seed=1), random_batch(99)
    other.load_state_dict(learner.state_dict())
    assert torch.equal(learner.influence(probe), other.influence(probe))
    # So can one that learned from nothing of what it saw.
    learner.observe(random_batch(0), torch.zeros(4, dtype=torch.bool))
    other.load_state_dict(learner.state_dict())
    assert torch.equal(learner.influence(probe), other.influence(probe))
    other.observe(random_batch(0))
