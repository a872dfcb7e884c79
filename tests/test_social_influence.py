"""Social influence: by hand, its model, and the algorithm on them."""

from __future__ import annotations

import math

import pytest
import torch
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator import NextActions, social_influence
from benchmarl_reciprocator.tasks.groups import joint_entry


def of_two(policy: list, action: int) -> float:
    """The influence of agent 0, whose action 0 makes the other do 0 by 0.9, and 1 by 0.4."""
    following = torch.full((2, 2, 2, 2), 0.5, dtype=torch.float64)
    following[0, 0, 1] = torch.tensor([0.9, 0.1])
    following[0, 1, 1] = torch.tensor([0.4, 0.6])
    policies = torch.tensor([policy, [0.5, 0.5]], dtype=torch.float64)
    influence = social_influence(following, torch.tensor([action, 0]), policies)
    assert influence[1] == 0
    return influence[0].item()


@pytest.mark.parametrize(
    ("policy", "expected", "mean"),
    [([0.5, 0.5], [0.167604, 0.129195], 0.148399), ([0.9, 0.1], [0.010896, 0.530268], 0.062833)],
)
def test_influence_by_hand(policy: list, expected: list, mean: float) -> None:
    influence = [of_two(policy, action) for action in (0, 1)]
    assert influence == pytest.approx(expected, abs=1e-6)
    assert sum(p * c for p, c in zip(policy, influence)) == pytest.approx(mean, abs=1e-6)


def test_limits() -> None:
    assert of_two([1.0, 0.0], 0) == pytest.approx(0.0, abs=1e-12)
    torch.manual_seed(0)
    # Nobody minds what others do.
    same = torch.rand(5, 1, 1, 3, 4).softmax(-1).expand(5, 3, 4, 3, 4)
    policy, action = torch.rand(5, 3, 4).softmax(-1), torch.randint(4, (5, 3))
    torch.testing.assert_close(social_influence(same, action, policy), torch.zeros(5, 3), atol=1e-6, rtol=0)
    # Everybody does next what I do now: log A for each of the two others.
    copies = torch.eye(4)[:, None, :].expand(3, 4, 3, 4)
    even = torch.full((3, 4), 0.25)
    torch.testing.assert_close(social_influence(copies, action[0], even), torch.full((3,), 2 * math.log(4)))
    assert social_influence(copies, action[0], even, clip=1.0).tolist() == [1.0] * 3


def test_counterfactuals_are_what_the_model_says_of_other_actions() -> None:
    torch.manual_seed(0)
    model = NextActions(state_features=3, n_actions=[2, 3], num_cells=8)
    state, action = torch.randn(6, 3), torch.randint(2, (6, 2))
    following = model.following(state, torch.nn.functional.one_hot(action, 3).float())
    for agent, other in ((0, 1), (1, 2)):
        changed = action.clone()
        changed[:, agent] = other
        probability = model(state, torch.nn.functional.one_hot(changed, 3).float()).softmax(-1)
        torch.testing.assert_close(following[:, agent, other], probability)
    assert (following[..., 0, 2] == 0).all()


class Added(Callback):
    """Keeps what is added to the task's rewards, and where episodes end."""

    def on_setup(self) -> None:
        self.added: list[Tensor] = []
        algorithm = self.experiment.algorithm
        own_reward = algorithm.own_reward

        def spied(batch: TensorDictBase, reward: Tensor, done: Tensor) -> Tensor:
            own = own_reward(batch, reward, done)
            assert torch.equal(reward, joint_entry(batch, "next", "reward"))
            self.added.append(own - reward)
            self.done = done
            return own

        algorithm.own_reward = spied


def test_influence_is_rewarded_after_a_while(small_experiment) -> None:
    spy = Added()
    experiment = small_experiment(
        "algorithm=social_influence",
        "algorithm.social_influence_delay=256",
        "algorithm.social_influence_frames=512",
        "experiment.max_n_iters=3",
        "experiment.checkpoint_at_end=True",
        callbacks=[spy],
    )
    algorithm = experiment.algorithm
    assert [algorithm.weight(frames) for frames in (0, 255, 256, 512, 768, 10_000)] == [0, 0, 0, 0.5, 1, 1]
    experiment.run()
    first, second, third = spy.added
    assert (first == 0).all() and (second == 0).all() and third.max() > 0
    assert spy.done.any() and (third[spy.done] == 0).all()
    (file,) = (experiment.folder_name / "checkpoints").iterdir()
    again = Experiment.reload_from_file(str(file)).algorithm.model
    assert all(map(torch.equal, again.parameters(), algorithm.model.parameters()))


def test_the_model_learns_what_others_do_next(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=mixed",
        "algorithm.focal=social_influence",
        "algorithm.others=tit_for_tat",
        "algorithm.overrides={social_influence: {social_influence_epochs: 30, social_influence_lr: 0.01}}",
    )
    experiment.run()
    (algorithm,) = (member for member in experiment.algorithm.members if hasattr(member, "model"))
    view = algorithm._view
    state = torch.zeros(1, view.state_features)
    action = torch.eye(2)[torch.tensor([[0, 0]])]
    following = algorithm.model.following(state, action)
    # Tit-for-tat does next what I do now.
    assert following[0, 0, 0, 1, 0] > 0.8 and following[0, 0, 1, 1, 1] > 0.8


def test_bad_options_are_named(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.social_influence_weight must be a number >= 0, but is -1"):
        small_experiment("algorithm=social_influence", "algorithm.social_influence_weight=-1")
