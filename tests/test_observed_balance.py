"""The influence balance as an observation: the transform, and policies that see it in experiments."""

from __future__ import annotations

import pytest
import torch
from benchmarl.experiment import Experiment
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import TransformedEnv
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SocialDilemmaTask, influence_balance, reciprocal_reward
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.influence import ObservedBalance

CNN = (
    "model=layers/cnn",
    "model@critic_model=layers/cnn",
    *(f"{model}.cnn_num_cells=[4]" for model in ("model", "critic_model")),
    *(f"{model}.cnn_kernel_sizes=2" for model in ("model", "critic_model")),
)


def by_action(tensordict: TensorDictBase, step: Tensor) -> Tensor:
    """A known influence: agent i's action, as a number, times (1 + i + 2 j)."""
    actions = torch.stack([tensordict[f"agent_{i}", "action"][..., 0] for i in range(3)], -1).float()
    seats = torch.arange(3.0)
    return actions.unsqueeze(-1) * (1 + seats.unsqueeze(-1) + 2 * seats)


def three_players(**options) -> tuple[TransformedEnv, ObservedBalance]:
    task = SocialDilemmaTask.PUBLIC_GOODS.get_from_yaml()
    task.config.update(n_agents=3, max_steps=5, continuation_probability=0.8)
    env = task.get_env_fun(6, continuous_actions=False, seed=0, device="cpu")()
    shown = {("agent_0", "balance"): slice(0, 1), ("agent_2", "balance"): slice(2, 3)}
    transform = ObservedBalance(by_action, 3, shown, **{"gamma": 0.9, "debit": "given", **options})
    return TransformedEnv(env, transform), transform


def test_transform_keeps_the_specs() -> None:
    check_env_specs(three_players()[0])


@pytest.mark.parametrize("debit", ["none", "given", "given_and_own"])
def test_balance_is_that_of_the_pure_function(debit: str) -> None:
    env, _ = three_players(debit=debit)
    torch.manual_seed(0)
    rollout = env.rollout(23, break_when_any_done=False)
    done = rollout["next", "done"]
    # Episodes of many lengths, so that some environments are reset while others go on.
    assert done.any(0).any() and not done.all(0).any()
    influence = by_action(rollout, None)
    expected, _ = influence_balance(influence, done, 0.9, debit=debit)
    torch.testing.assert_close(rollout["influence_balance"], expected)
    steps = rollout["influence_step"].squeeze(-1)
    assert (steps[:, 1:] == torch.where(done[:, :-1, 0], 0, steps[:, :-1] + 1)).all()


def test_what_is_seen_is_squashed_and_in_the_order_of_seats() -> None:
    env, _ = three_players(scale=2.0)
    rollout = env.rollout(5, break_when_any_done=False)
    balance = rollout["influence_balance"]
    torch.testing.assert_close(rollout["agent_0", "balance"][..., 0, :], torch.tanh(balance[..., 0, [1, 2]] / 2))
    torch.testing.assert_close(rollout["agent_2", "balance"][..., 0, :], torch.tanh(balance[..., 2, [0, 1]] / 2))
    assert ("agent_1", "balance") not in rollout.keys(True)


class Watch:
    """Keeps a batch as the Reciprocity callback gets and leaves it."""

    def __init__(self, experiment: Experiment) -> None:
        self.callback = Reciprocity.of(experiment)
        self._original = self.callback.on_batch_collected
        self.callback.on_batch_collected = self

    def __call__(self, batch: TensorDictBase) -> None:
        self.before = batch.clone()
        self._original(batch)
        self.after = batch.clone()


def test_the_balance_that_is_seen_is_rewarded(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.observe_balance=True",
        "algorithm.observe_balance_scale=0.5",
        "algorithm.reward_weight_end=3",
        "algorithm.reward_weight_frames=0",
        "algorithm.reciprocity_delay=0",
        "algorithm.reciprocal_form=tanh_balance",
        "algorithm.negative_reciprocity=0.25",
        "task.max_steps=20",
        preset="coins_lenient",
    )
    watch = Watch(experiment)
    experiment.run()
    before = watch.before
    balance = before["influence_balance"]
    assert balance.abs().sum() > 0
    torch.testing.assert_close(before["agent_1", "balance"][..., 0, 0], torch.tanh(balance[..., 1, 0] / 0.5))
    # By the estimator as it was refitted after the batch: the influence of the answers, not the balance.
    joint = watch.callback.view(before, before["influence_step"].squeeze(-1))
    influence = watch.callback.learner.influence(joint)
    reward = torch.cat([before["next", f"agent_{i}", "reward"][..., 0] for i in range(2)], -1)
    total = torch.cat([watch.after["next", f"agent_{i}", "reward"][..., 0] for i in range(2)], -1)
    expected = reciprocal_reward(influence, balance, form="tanh_balance", negative=0.25, over_others="sum")
    torch.testing.assert_close(total, reward + 3 * expected)
    assert "influence_balance" not in watch.after.keys()


def test_policy_and_critic_depend_on_the_balance(small_experiment) -> None:
    experiment = small_experiment("algorithm=reciprocator", "algorithm.observe_balance=True")
    seen = {"observation": torch.zeros(2, 1, 5), "balance": torch.tensor([[[0.0]], [[0.9]]])}
    data = TensorDict({"agent_0": TensorDict(seen, [2, 1])}, [2])
    loss = experiment.losses["agent_0"]
    with torch.no_grad(), loss.actor_network_params.to_module(loss.actor_network):
        logits = loss.actor_network.get_dist(data).logits
    with torch.no_grad(), loss.critic_network_params.to_module(loss.critic_network):
        value = loss.critic_network(data)["agent_0", "state_value"]
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(value[0], value[1])


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("prisoners_dilemma", ("algorithm=reciprocator", "task.grouping=one_group")),
        ("public_goods", ("algorithm=reciprocator",)),
        ("coins", ("algorithm=reciprocator_mappo", "task.n_agents=3")),
        ("coins", ("algorithm=reciprocator", "task.coins=single", "task.n_actions=4", "task.view=3")),
        ("coins", ("algorithm=reciprocator", "task.observation=image", *CNN)),
        (None, ("algorithm=reciprocator", "task=vmas/simple_tag", "task.max_steps=32")),
        (None, ("algorithm=reciprocator", "task=social_dilemmas/coins", "model=layers/gru")),
    ],
)
def test_every_kind_of_task_and_model(preset: str | None, overrides: tuple[str, ...], small_experiment) -> None:
    experiment = small_experiment("algorithm.observe_balance=True", *overrides, preset=preset)
    watch = Watch(experiment)
    experiment.run()
    for group in experiment.group_map:
        n_agents = sum(map(len, experiment.group_map.values()))
        assert watch.before[group, "balance"].shape[-2:] == (len(experiment.group_map[group]), n_agents - 1)
        assert watch.before[group, "balance"].abs().sum() > 0


def test_only_groups_that_reciprocate_see_a_balance(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=mixed", "algorithm.overrides={reciprocator: {observe_balance: true}}", preset="coins_lenient"
    )
    watch = Watch(experiment)
    experiment.run()
    assert ("agent_0", "balance") in watch.before.keys(True)
    assert ("agent_1", "balance") not in watch.before.keys(True)
    # The learner's policy has the board alone as input.
    assert set(experiment.algorithm.algorithms_map["agent_1"].observation_spec["agent_1"].keys()) == {"observation"}


def test_reciprocators_that_disagree_on_what_they_observe_are_refused(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.observe_balance must be the same .* is False .* True"):
        small_experiment(
            "algorithm=mixed",
            "task.grouping=per_agent",
            "algorithm.groups={agent_0: reciprocator, agent_1: reciprocator_mappo}",
            "algorithm.overrides={reciprocator: {observe_balance: true}, reciprocator_mappo: {observe_balance: false}}",
        )


def test_scale_must_be_positive(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.observe_balance_scale must be a number > 0, but is 0"):
        small_experiment("algorithm=reciprocator", "algorithm.observe_balance_scale=0")


def test_reloaded_policies_see_the_same_balance(small_experiment) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.observe_balance=True",
        "experiment.checkpoint_at_end=True",
        preset="coins_lenient",
    )
    experiment.run()
    checkpoint = next((experiment.folder_name / "checkpoints").iterdir())
    reloaded = Experiment.reload_from_file(str(checkpoint))

    def play(of: Experiment) -> TensorDictBase:
        torch.manual_seed(0)
        of.test_env.set_seed(0)
        with torch.no_grad():
            return of.test_env.rollout(32, of.policy, break_when_any_done=False)

    first, second = play(experiment), play(reloaded)
    assert first["agent_0", "balance"].abs().sum() > 0
    torch.testing.assert_close(first["agent_0", "balance"], second["agent_0", "balance"])
    torch.testing.assert_close(first["agent_1", "logits"], second["agent_1", "logits"])
    reloaded.evaluate()
