"""Advantage Alignment inside a BenchMARL experiment."""

from __future__ import annotations

import pytest
import torch
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from benchmarl_reciprocator import (
    alignment_term,
    centred_advantage,
    past_contributions,
    past_weights,
    softmax_probability,
)
from benchmarl_reciprocator.algorithms.alignment.callback import Alignments
from benchmarl_reciprocator.algorithms.alignment.critics import ActionValues
from benchmarl_reciprocator.algorithms.alignment.joint_advantages import JointAdvantages
from benchmarl_reciprocator.tasks.groups import joint_entry

ALIGNED = "algorithm=advantage_alignment"


class Learned(Callback):
    """Keeps what every group's policy learns from, and the advantages that it would have by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.advantage: dict[str, list[Tensor]] = {}
        self.plain: dict[str, list[Tensor]] = {}
        self.probability: list[Tensor] = []
        self.replaced: list[Tensor] = []

    def on_setup(self) -> None:
        process = self.experiment.algorithm.process_batch

        def spied(group: str, batch: TensorDictBase) -> TensorDictBase:
            done = process(group, batch)
            plain, learned = self.plain.setdefault(group, []), self.advantage.setdefault(group, [])
            # In every iteration, first for all advantages, then to learn from them.
            (plain if len(plain) == len(learned) else learned).append(done[group, "advantage"].squeeze(-1).clone())
            return done

        self.experiment.algorithm.process_batch = spied

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.probability.append(joint_entry(batch, "log_prob").exp())
        if ("agent_0", "co_player") in batch.keys(True):
            self.replaced.append(joint_entry(batch, "co_player"))

    def joint(self, kept: dict[str, list[Tensor]], iteration: int) -> Tensor:
        return torch.cat([advantages[iteration] for advantages in kept.values()], -1)


def trained(make, *overrides: str, **kwargs) -> Experiment:
    experiment = make(*overrides, **kwargs)
    experiment.run()
    return experiment


@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
def test_agents_learn_from_the_advantages_that_the_functions_give(grouping: str, small_experiment) -> None:
    spy = Learned()
    trained(
        small_experiment, ALIGNED, f"task.grouping={grouping}", "task.max_steps=48", "algorithm.alignment_weight=2",
        callbacks=[spy],
    )  # fmt: skip
    carried = None
    # Two batches of 32 steps: the second goes on in mid-episode.
    for iteration, (first, end) in enumerate(((0, None), (32, 15))):
        advantage = spy.joint(spy.plain, iteration)
        done = torch.zeros(8, 32, dtype=torch.bool)
        step = torch.arange(first, first + 32).expand(8, 32).clone()
        if end is not None:
            done[:, end] = True
            step[:, end + 1 :] = torch.arange(31 - end)
        centred, scale = centred_advantage(advantage, step)
        past, carried = past_weights(past_contributions(centred), done, step, 0.96, initial=carried)
        expected = advantage + 2 * 0.96 / scale * alignment_term(past, centred)
        torch.testing.assert_close(spy.joint(spy.advantage, iteration), expected)
        assert not torch.allclose(expected, advantage)


def test_members_that_change_their_rewards_are_seen_by_those_of_the_task(small_experiment) -> None:
    spies = []
    for others in ("ippo", "reciprocator", "prosocial"):
        spies.append(Learned())
        trained(
            small_experiment,
            "algorithm=mixed",
            f"algorithm.groups={{agent_0: {others}, agent_1: advantage_alignment}}",
            "algorithm.overrides={reciprocator: {warmup: 0}}" if others == "reciprocator" else "seed=0",
            "algorithm.tuning={entropy_coef: 0.02, share_param_critic: false}",
            "experiment.max_n_iters=1",
            callbacks=[spies[-1]],
        )
    plain, *changed = (spy.plain["agent_0"][0] for spy in spies)
    learned = [spy.advantage["agent_0"][0] for spy in spies]
    # Networks begin the same, and so do the first batches.
    assert torch.equal(changed[1], plain)
    assert not torch.allclose(learned[2], plain)
    assert torch.equal(spies[2].advantage["agent_1"][0], spies[0].advantage["agent_1"][0])


def test_a_critic_of_members_that_have_none(small_experiment) -> None:
    experiment = trained(
        small_experiment,
        "algorithm=mixed",
        "algorithm.focal=advantage_alignment",
        "algorithm.others=tit_for_tat",
        "experiment.max_n_iters=4",
        "experiment.on_policy_n_minibatch_iters=8",
        "experiment.lr=0.03",
        "experiment.evaluation=False",
        "experiment.checkpoint_at_end=True",
    )
    alignments = Alignments.of(experiment)
    assert alignments.critic is not None
    values = alignments.critic(torch.zeros(1, alignments._view.state_features))
    assert values.shape == (1, 1)
    # About what the other loses in an episode of 32 steps, which the critic began knowing nothing of
    assert values.item() < -5
    (file,) = (experiment.folder_name / "checkpoints").iterdir()
    again = Alignments.of(Experiment.reload_from_file(str(file))).critic
    assert all(map(torch.equal, again.network.parameters(), alignments.critic.network.parameters()))


def test_what_the_other_did_in_place_of_ones_own_advantage(small_experiment) -> None:
    experiment = trained(
        small_experiment,
        ALIGNED,
        "algorithm.alignment_past=influence",
        "algorithm.warmup=1",
        "experiment.checkpoint_at_end=True",
    )
    ((_, learner),) = Alignments.of(experiment).estimators.values()
    assert learner.fits == 2 and not learner.warming_up
    (file,) = (experiment.folder_name / "checkpoints").iterdir()
    ((_, again),) = Alignments.of(Experiment.reload_from_file(str(file))).estimators.values()
    assert again.fits == 2


def test_influence_counts_by_its_difference_from_what_is_usual_at_that_step(small_experiment) -> None:
    algorithm = small_experiment(ALIGNED, "algorithm.alignment_past=influence").algorithm
    torch.manual_seed(0)
    done, advantage = torch.zeros(16, 6, dtype=torch.bool), torch.randn(16, 6, 2)
    step = torch.arange(6).expand(16, 6)
    influence = torch.randn(16, 6, 2, 2)
    joint = JointAdvantages(
        0.9, advantage, advantage, advantage, advantage, done, done, torch.zeros_like(advantage) > 0
    )

    def aligned(influence: Tensor) -> Tensor:
        algorithm._past.value = None
        return algorithm.aligned(joint, step, influence, None)[0]

    # All defect more than they used to.
    torch.testing.assert_close(aligned(influence - step[..., None, None]), aligned(influence))
    past, _ = past_weights((influence - influence.mean(0)).transpose(-1, -2), done, step, 0.9)
    expected = advantage + 0.9 * alignment_term(past, advantage - advantage.mean(0))
    torch.testing.assert_close(aligned(influence), expected)


def test_loqa(small_experiment) -> None:
    spy = Learned()
    experiment = trained(small_experiment, "algorithm=loqa", "experiment.max_n_iters=1", callbacks=[spy])
    options = experiment.algorithm_config
    assert (options.alignment_form, options.alignment_weight) == ("trace", 1.0)
    plain, learned = spy.joint(spy.plain, 0), spy.joint(spy.advantage, 0)
    # By hand in test_aligned_advantages.py; here it must be the other's probability that counts.
    changed = trained(
        small_experiment,
        "algorithm=loqa",
        "algorithm.alignment_opponent_weight=none",
        "experiment.max_n_iters=1",
        callbacks=[spy],
    )
    assert changed.algorithm_config.alignment_lambda == 0.9
    without = spy.joint(spy.advantage, 1)
    assert torch.equal(spy.joint(spy.plain, 1), plain)
    # Before the second step, all that counts is what the other could have done else in the first.
    expected = (without - plain)[:, 1] * (1 - spy.probability[0][:, 0].flip(-1))
    torch.testing.assert_close((learned - plain)[:, 1], expected, atol=1e-4, rtol=1e-4)


def test_softmax_weight(small_experiment) -> None:
    chosen = (ALIGNED, "algorithm.alignment_opponent_weight=softmax", "experiment.checkpoint_at_end=True")
    experiment = trained(small_experiment, *chosen)
    saved = Alignments.of(experiment).action_values
    (file,) = (experiment.folder_name / "checkpoints").iterdir()
    again = Alignments.of(Experiment.reload_from_file(str(file))).action_values
    assert all(map(torch.equal, again.lagged.parameters(), saved.lagged.parameters()))


def test_softmax_weight_beside_members_without_probabilities(small_experiment) -> None:
    population = ("algorithm=mixed", "algorithm.focal=advantage_alignment", "algorithm.others=all_c")
    overrides = "algorithm.overrides={{advantage_alignment: {{alignment_opponent_weight: {}}}}}"
    trained(small_experiment, *population, overrides.format("softmax"), "experiment.max_n_iters=1")
    with pytest.raises(
        ValueError, match=r"alignment_opponent_weight must be none or softmax beside .* \(agent_1\), but is 'loqa'"
    ):
        small_experiment(*population, overrides.format("loqa"))


def test_probability_by_action_values() -> None:
    values = torch.tensor([[[0.0, 5.0, 7.0], [1.0, 1.0, 1.0]]])
    probability = softmax_probability(values, torch.tensor([[1, 2]]), torch.tensor([[0.0, 1.0]]))
    torch.testing.assert_close(probability[0, 1], torch.tensor(1 / 3))
    allowed = torch.tensor([[True, True, False], [True, True, True]])
    probability = softmax_probability(values, torch.tensor([[1, 2]]), torch.tensor([[0.0, 1.0]]), allowed)
    torch.testing.assert_close(probability, torch.tensor([[0.5, 1 / 3]]))


def test_action_values_learn_what_actions_come_to(small_experiment) -> None:
    experiment = small_experiment("algorithm=ippo", "experiment.lr=0.02", "experiment.on_policy_n_minibatch_iters=30")
    torch.manual_seed(0)
    values = ActionValues(experiment, state_features=1, n_agents=2, n_actions=2)
    action = torch.randint(2, (16, 8, 2))
    done = torch.zeros(16, 8, 1, dtype=torch.bool)
    done[:, 3] = done[:, 7] = True
    state = torch.zeros(16, 8, 1)
    # Whatever follows an episode's end does not count: it ends with every step that is learned from.
    ended = torch.ones_like(done)
    joint = TensorDict(
        {
            "state": state,
            "action": torch.nn.functional.one_hot(action, 2).float(),
            "next": {"state": state, "reward": action.float() * torch.tensor([1.0, -2.0]), "done": ended,
                     "terminated": ended},
        },
        [16, 8],
    )  # fmt: skip
    for _ in range(4):
        values.learn(joint)
    torch.testing.assert_close(values.of(state[0, 0]), torch.tensor([[0.0, 1.0], [0.0, -2.0]]), atol=0.1, rtol=0)


def test_samples_of_co_players_count_in_no_mean(small_experiment) -> None:
    spy = Learned()
    experiment = trained(
        small_experiment,
        ALIGNED,
        "co_players.share=0.25",
        "co_players.learners=null",
        "experiment.max_n_iters=1",
        callbacks=[spy],
    )
    callback = Alignments.of(experiment)
    plain, learned = spy.joint(spy.plain, 0), spy.joint(spy.advantage, 0)
    left_out = spy.replaced[0]
    assert left_out.any() and callback.algorithms
    step = torch.arange(32).expand(8, 32)
    centred, scale = centred_advantage(plain, step, left_out=left_out)
    past, _ = past_weights(past_contributions(centred), torch.zeros(8, 32, dtype=torch.bool), step, 0.96)
    torch.testing.assert_close(learned, plain + 0.96 / scale * alignment_term(past, centred))


@pytest.mark.parametrize(
    ("option", "must_be"),
    [
        ("weight=-1", "a number >= 0, but is -1"),
        ("form=sum", "mean, discounted, absolute or trace, but is 'sum'"),
        ("centre=mean", "step, batch or none, but is 'mean'"),
        ("past=reward", "advantage or influence, but is 'reward'"),
        ("opponent_weight=q", "none, loqa or softmax, but is 'q'"),
        ("other_lambda=2", "null or a number >= 0 and <= 1, but is 2"),
    ],
)
def test_bad_options_are_named(option: str, must_be: str, small_experiment) -> None:
    with pytest.raises(ValueError, match=rf"algorithm\.alignment_{option.partition('=')[0]} must be {must_be}"):
        small_experiment(ALIGNED, f"algorithm.alignment_{option}")


def test_what_cannot_be_aligned_is_refused(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"must be one with at least 2 agents, but is 'navigation with 1'"):
        small_experiment(ALIGNED, "task=vmas/navigation", "task.n_agents=1", preset=None)
    continuous = (ALIGNED, "algorithm.alignment_opponent_weight=loqa", "experiment.prefer_continuous_actions=True")
    with pytest.raises(ValueError, match=r"alignment_opponent_weight must be none with continuous actions.*is 'loqa'"):
        small_experiment(*continuous, preset="shared_pasture")


@pytest.mark.learning
def test_two_learners_cooperate_in_the_prisoners_dilemma(small_experiment) -> None:
    class Cooperation(Callback):
        share = 0.0

        def on_batch_collected(self, batch: TensorDictBase) -> None:
            self.share = (joint_entry(batch, "action") == 0).float().mean().item()

    seen = Cooperation()
    trained(
        small_experiment,
        ALIGNED,
        "experiment.on_policy_n_envs_per_worker=256",
        "experiment.on_policy_collected_frames_per_batch=8192",
        "experiment.on_policy_minibatch_size=4096",
        "experiment.on_policy_n_minibatch_iters=4",
        "experiment.max_n_iters=60",
        "experiment.evaluation=False",
        callbacks=[seen],
    )
    assert seen.share > 0.9
