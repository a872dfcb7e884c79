"""From BenchMARL's groups to the joint view, on tensordicts made by hand."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor
from torchrl.data import Bounded, Categorical, Composite, MultiCategorical, OneHot, TensorSpec, Unbounded

from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import (
    JointView,
    action_width,
    encode_action,
    episode_step,
)

GROUPS = {"left": ["left_0", "left_1"], "right": ["right_0"]}
OBSERVATIONS = Composite(
    left=Composite(observation=Unbounded((2, 2)), shape=(2,)),
    right=Composite(observation=Unbounded((1, 3)), shape=(1,)),
)
# Two agents with a choice of 3, one with a choice of 2: the latter's code is padded.
DISCRETE = Composite(
    left=Composite(action=Categorical(3, shape=(2,)), shape=(2,)),
    right=Composite(action=Categorical(2, shape=(1,)), shape=(1,)),
)
# Two agents with vectors of 2, one with a choice of 3: the former's are padded.
MIXED = Composite(
    left=Composite(action=Bounded(-1, 1, shape=(2, 2)), shape=(2,)),
    right=Composite(action=Categorical(3, shape=(1,)), shape=(1,)),
)
LEFT_OBSERVATION, RIGHT_OBSERVATION = [[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0, 7.0]]
STEP = torch.tensor([[3]])


def make_batch(left_action: list, right_action: list, **after: object) -> TensorDict:
    """One trajectory of one step; the next observations are ten times the present ones."""

    def observe(scale: float) -> dict:
        left, right = torch.tensor([[LEFT_OBSERVATION]]), torch.tensor([[RIGHT_OBSERVATION]])
        return {"left": {"observation": scale * left}, "right": {"observation": scale * right}}

    before, then = observe(1.0), observe(10.0)
    before["left"]["action"] = torch.tensor([[left_action]])
    before["right"]["action"] = torch.tensor([[right_action]])
    rewards = after.pop("rewards", {"left": [[0.5], [-0.5]], "right": [[2.0]]})
    for group, reward in rewards.items():
        then[group]["reward"] = torch.tensor([[reward]])
    flags = {"done": torch.tensor([[[True]]]), "terminated": torch.tensor([[[False]]])}
    return TensorDict({**before, "next": {**then, **flags, **after}}, [1, 1])


def make_view(action_spec: Composite, state_spec: Composite | None = None, **options: bool) -> JointView:
    return JointView(GROUPS, OBSERVATIONS, state_spec, action_spec, max_steps=4, **options)


def test_groups_of_different_sizes_and_choices() -> None:
    view = make_view(DISCRETE)
    joint = view(make_batch([2, 0], [1]), STEP)
    assert (view.n_agents, view.action_features, view.state_features) == (3, 3, 8)
    assert view.members == {"left": slice(0, 2), "right": slice(2, 3)}
    # All observations, then the share of the episode that has passed: 3 of 4 steps, then all of them.
    assert joint["state"].tolist() == [[[1, 2, 3, 4, 5, 6, 7, 0.75]]]
    assert joint["next", "state"].tolist() == [[[10, 20, 30, 40, 50, 60, 70, 1]]]
    assert joint["action"].tolist() == [[[[0, 0, 1], [1, 0, 0], [0, 1, 0]]]]
    assert joint["next", "reward"].tolist() == [[[0.5, -0.5, 2.0]]]
    assert joint["next", "done"].tolist() == [[[True]]]
    assert joint["next", "terminated"].tolist() == [[[False]]]


def test_order_of_the_agents_is_that_of_the_group_map() -> None:
    swapped = {"right": ["right_0"], "left": ["left_0", "left_1"]}
    view = JointView(swapped, OBSERVATIONS, None, DISCRETE, max_steps=4)
    joint = view(make_batch([2, 0], [1]), STEP)
    assert joint["state"].tolist() == [[[5, 6, 7, 1, 2, 3, 4, 0.75]]]
    assert joint["action"].tolist() == [[[[0, 1, 0], [0, 0, 1], [1, 0, 0]]]]
    assert joint["next", "reward"].tolist() == [[[2.0, 0.5, -0.5]]]


def test_continuous_beside_discrete_actions() -> None:
    joint = make_view(MIXED)(make_batch([[0.25, -0.5], [1.0, 0.0]], [2]), STEP)
    assert joint["action"].tolist() == [[[[0.25, -0.5, 0], [1.0, 0.0, 0], [0, 0, 1]]]]


def test_a_row_of_observations_in_place_of_the_state() -> None:
    batch = make_batch([2, 0], [1])
    batch["state"] = torch.zeros(1, 1, 2)
    joint = make_view(DISCRETE, Composite(state=Unbounded((2,))), in_a_row=True)(batch, STEP)
    assert joint["state"].tolist() == [[[1, 2, 3, 4, 5, 6, 7, 0.75]]]


def test_a_row_has_each_agent_with_all_that_it_observes() -> None:
    observations = Composite(pair=Composite(far=Unbounded((2, 1)), near=Unbounded((2, 2)), shape=(2,)))
    actions = Composite(pair=Composite(action=Categorical(3, shape=(2,)), shape=(2,)))
    view = JointView({"pair": ["a", "b"]}, observations, None, actions, max_steps=4)
    seen = {"far": torch.tensor([[[1.0], [2.0]]]), "near": torch.tensor([[[3.0, 4.0], [5.0, 6.0]]])}
    batch = TensorDict({"pair": {**seen, "action": torch.tensor([[2, 0]])}}, [1])
    assert view.inputs(batch, torch.tensor([3]))["state"].tolist() == [[1, 3, 4, 2, 5, 6, 0.75]]


@pytest.mark.parametrize(
    ("groups", "observations", "actions", "alike"),
    [
        ({"a": ["a"], "b": ["b"]}, (3, 3), (2, 2), True),
        ({"a": ["a"], "b": ["b"]}, (3, 4), (2, 2), False),
        ({"a": ["a"], "b": ["b"]}, (3, 3), (2, 5), False),
    ],
)
def test_who_can_be_put_in_whose_place(groups: dict, observations: tuple, actions: tuple, alike: bool) -> None:
    def spec(key: str, leaves: list) -> Composite:
        return Composite({group: Composite({key: leaf}, shape=(1,)) for group, leaf in zip(groups, leaves)})

    observation_spec = spec("observation", [Unbounded((1, n)) for n in observations])
    action_spec = spec("action", [Categorical(n, shape=(1,)) for n in actions])
    assert JointView(groups, observation_spec, None, action_spec, max_steps=4).alike == alike
    state_spec = Composite(state=Unbounded((2,)))
    assert not JointView(groups, observation_spec, state_spec, action_spec, max_steps=4).alike


def test_reward_at_the_root_goes_to_all() -> None:
    batch = make_batch([2, 0], [1], rewards={}, reward=torch.tensor([[[7.0]]]))
    assert make_view(DISCRETE)(batch, STEP)["next", "reward"].tolist() == [[[7.0, 7.0, 7.0]]]


def test_reward_at_the_root_beside_a_group_with_its_own() -> None:
    batch = make_batch([2, 0], [1], rewards={"right": [[2.0]]}, reward=torch.tensor([[[7.0]]]))
    assert make_view(DISCRETE)(batch, STEP)["next", "reward"].tolist() == [[[7.0, 7.0, 2.0]]]


def test_state_entry_is_used_where_there_is_one() -> None:
    state_spec = Composite(state=Unbounded((2, 2)))
    batch = make_batch([2, 0], [1], state=torch.tensor([[[[5.0, 6.0], [7.0, 8.0]]]]))
    batch["state"] = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    view = make_view(DISCRETE, state_spec)
    joint = view(batch, STEP)
    assert view.state_features == 5
    assert joint["state"].tolist() == [[[1, 2, 3, 4, 0.75]]]
    assert joint["next", "state"].tolist() == [[[5, 6, 7, 8, 1]]]


def test_entries_for_an_encoder_are_left_as_they_are() -> None:
    joint = make_view(DISCRETE, flat=False)(make_batch([2, 0], [1]), STEP)
    assert joint["left", "observation"].tolist() == [[LEFT_OBSERVATION]]
    assert joint["right", "observation"].tolist() == [[RIGHT_OBSERVATION]]
    assert joint["elapsed"].tolist() == [[[0.75]]]
    assert joint["next", "elapsed"].tolist() == [[[1.0]]]
    assert joint["next", "left", "observation"].tolist() == [[[[10, 20], [30, 40]]]]


def test_elapsed_share_over_time() -> None:
    batch = make_batch([2, 0], [1]).expand(2, 3)
    # Steps of an episode that is longer than the horizon count as its end.
    joint = make_view(DISCRETE)(batch, torch.tensor([[0, 1, 2], [3, 4, 9]]))
    assert joint.shape == (2, 3)
    assert joint["state"][..., -1].tolist() == [[0.0, 0.25, 0.5], [0.75, 1.0, 1.0]]
    assert joint["next", "state"][..., -1].tolist() == [[0.25, 0.5, 0.75], [1.0, 1.0, 1.0]]


def test_view_leaves_the_batch_alone() -> None:
    batch = make_batch([2, 0], [1])
    before = batch.clone()
    make_view(DISCRETE)(batch, STEP)["next", "reward"].zero_()
    assert (batch == before).all()


# Two agents each.
@pytest.mark.parametrize(
    ("spec", "action", "expected"),
    [
        (Categorical(3, shape=(2,)), torch.tensor([2, 0]), [[0, 0, 1], [1, 0, 0]]),
        # A choice of 2 and one of 3: one-hot codes side by side.
        (
            MultiCategorical([2, 3]).expand(2, 2),
            torch.tensor([[1, 0], [0, 2]]),
            [[0, 1, 1, 0, 0], [1, 0, 0, 0, 1]],
        ),
        (OneHot(3, shape=(2, 3)), torch.tensor([[False, True, False], [True, False, False]]), [[0, 1, 0], [1, 0, 0]]),
        (Bounded(-1, 1, shape=(2, 1)), torch.tensor([[0.5], [-0.5]]), [[0.5], [-0.5]]),
    ],
    ids=["Categorical", "MultiCategorical", "OneHot", "Bounded"],
)
def test_encode_action(spec: TensorSpec, action: Tensor, expected: list) -> None:
    code = encode_action(action, spec)
    assert code.dtype == torch.float32
    assert code.tolist() == expected
    assert action_width(spec) == code.shape[-1]
    batched = encode_action(action.expand(4, 5, *action.shape), spec)
    assert torch.equal(batched, code.expand(4, 5, *code.shape))


@pytest.mark.parametrize(
    ("done", "initial", "expected", "after"),
    [
        ([0, 0, 0, 0], 0, [0, 1, 2, 3], 4),
        # Goes on from the batch before, ends twice.
        ([0, 1, 0, 1], 3, [3, 4, 0, 1], 0),
        # A count beyond the batch's length must not outlast the end of its episode.
        ([1, 0, 0, 0], 100, [100, 0, 1, 2], 3),
        ([0, 0, 0, 0], 100, [100, 101, 102, 103], 104),
        ([1, 1, 1, 1], 5, [5, 0, 0, 0], 0),
    ],
)
def test_episode_step(done: list[int], initial: int, expected: list[int], after: int) -> None:
    step, carried = episode_step(torch.tensor(done).bool(), torch.tensor(initial))
    assert step.tolist() == expected
    assert carried.item() == after


def test_episode_step_batched_and_carried() -> None:
    torch.manual_seed(0)
    done, initial = torch.rand(3, 2, 8) < 0.3, torch.randint(20, (3, 2))
    step, carried = episode_step(done, initial)
    count = initial.clone()
    for t in range(8):
        assert torch.equal(step[..., t], count)
        count = torch.where(done[..., t], 0, count + 1)
    assert torch.equal(carried, count)
