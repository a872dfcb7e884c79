"""Reciprocity inside a BenchMARL experiment: joint batch -> value influence -> reciprocal reward -> total reward."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import Composite

from benchmarl_reciprocator.algorithms.co_players.callback import co_players_of
from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig, SharedOptions
from benchmarl_reciprocator.algorithms.reciprocity.diagnostics import (
    SIGNATURES,
    FailureSignatures,
    ReciprocityWarning,
)
from benchmarl_reciprocator.algorithms.reciprocity.estimate_check import EstimateCheck
from benchmarl_reciprocator.algorithms.reciprocity.injected_error import InjectedError
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import EpisodeClock, JointView
from benchmarl_reciprocator.algorithms.reciprocity.rewards import (
    Kind,
    Reciprocators,
    balances,
    pairwise,
    total_rewards,
)
from benchmarl_reciprocator.algorithms.reciprocity.setup import (
    STATE_KEY,
    check_checkpoint,
    check_task,
    identity,
    make_learner,
    make_view,
)
from benchmarl_reciprocator.influence import InfluenceLearner, ObservedBalance
from benchmarl_reciprocator.influence.observed_balance import BALANCE_KEY, observed_balance_spec
from benchmarl_reciprocator.plugin.benchmarl_private import callback_of
from benchmarl_reciprocator.tasks.groups import seats

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment

SEEN_KEY = "balance"


class Reciprocity(Callback):
    """The one estimator of an experiment, and the reciprocal reward of all its Reciprocators.

    After every collection, once the extrinsic returns are logged, it takes the joint batch, trains the estimator, and
    adds the weighted reciprocal reward to the rewards of the groups that registered. Groups with other algorithms are
    read and never changed.
    """

    view: JointView
    learner: InfluenceLearner
    shared: SharedOptions
    error: InjectedError

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, ReciprocityConfig] = {}
        self.clock = EpisodeClock()
        # Balances after the last batch, [*B, N, N]
        self.carried: dict[Kind, Tensor] = {}
        self._frozen: dict[str, list[str]] = {}
        self._signatures = FailureSignatures()

    @classmethod
    def of(cls, experiment: Experiment) -> Reciprocity:
        """The experiment's own, added to it at the first call."""
        return callback_of(experiment, cls)

    def add_group(self, group: str, config: ReciprocityConfig) -> None:
        """Reward the agents of ``group`` by ``config``.

        Raises:
            ValueError: if an option that all must agree on differs from another group's.
        """
        for other in self.groups.values():
            config.check_agreement(other)
        self.groups[group] = config
        self.shared = config.shared()
        if self.shared.estimate_check_interval:
            callback_of(self.experiment, EstimateCheck).every = self.shared.estimate_check_interval

    def with_balance(self, observation_spec: Composite) -> Composite:
        """``observation_spec`` of all groups, with what the agents of a group see of their balance."""
        group_map = self.experiment.group_map
        n_agents = sum(map(len, group_map.values()))
        observation_spec = observation_spec.clone()
        for group, agents in group_map.items():
            observation_spec[group, SEEN_KEY] = observed_balance_spec(
                len(agents), n_agents, device=observation_spec.device
            )
        return observation_spec

    def observed_balance(self, groups: list[str], config: ReciprocityConfig) -> ObservedBalance:
        """The transform that shows the agents of ``groups`` their balance."""
        members = seats(self.experiment.group_map)
        return ObservedBalance(
            self._influence_of_step,
            sum(map(len, self.experiment.group_map.values())),
            {(group, SEEN_KEY): members[group] for group in groups},
            gamma=self._balance_gamma(config),
            debit=config.balance_debit,
            scale=config.observe_balance_scale,
        )

    def _influence_of_step(self, tensordict: TensorDictBase, step: Tensor) -> Tensor:
        joint = self.view.inputs(tensordict, step).to(self.experiment.config.train_device)
        return self.error.in_step(self.learner.influence(joint)).to(step.device) / self.learner.unit.value

    def _balance_gamma(self, config: ReciprocityConfig) -> float:
        return self.experiment.config.gamma if config.balance_gamma is None else config.balance_gamma

    def on_setup(self) -> None:
        check_task(self.experiment)
        self.view = make_view(self.experiment, self.shared)
        self.learner = make_learner(self.experiment, self.view, self.shared, self.shared.reward_unit)
        self.error = InjectedError(self.shared)
        for callback in self.experiment.callbacks:
            if isinstance(callback, EstimateCheck):
                callback.reciprocity = self
        check_checkpoint(self.experiment)

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        experiment = self.experiment
        done = batch.get(("next", "done")).squeeze(-1)
        joint = self.view(batch, self.clock(done)).to(experiment.config.train_device)

        frames = experiment.total_frames - batch.numel()
        if frames - batch.numel() < self.shared.reciprocity_delay <= frames:
            self.learner.forget()
        co_players = co_players_of(experiment)
        fit = self.learner.observe(joint, co_players.undisturbed(batch) if co_players is not None else None)
        # All that follows is in this unit.
        unit = self.learner.unit.value
        influence = self.error.in_batch(self.learner.influence(joint)).to(batch.device or done.device) / unit
        extrinsic = joint.get(("next", "reward")).to(influence.device) / unit

        groups = {
            group: Reciprocators(
                self.view.members[group],
                config,
                weight=config.weight(frames),
                weight_of_harm=config.weight_of_harm(frames),
                gamma=self._balance_gamma(config),
            )
            for group, config in self.groups.items()
        }
        # What the policies saw, if they did: kept up during collection, by the estimator as it was then.
        seen = batch.pop(BALANCE_KEY, None)
        if seen is None:
            balance, self.carried = balances(influence, done, groups, self.carried)
        else:
            balance = {group.kind: seen for group in groups.values()}
        total, metrics = total_rewards(extrinsic, influence, balance, groups)
        for group, reward in total.items():
            batch.set(("next", group, "reward"), reward.unsqueeze(-1))

        fit = {f"estimator/{key}": value for key, value in fit.items()}
        metrics = {**fit, "reward_unit": unit, **pairwise("influence", influence), **metrics}
        experiment.logger.log(
            {f"reciprocity/{key}": value for key, value in metrics.items()}, step=experiment.n_iters_performed
        )
        self._freeze_while_warming_up()
        self._warn_of_failures(extrinsic, influence, metrics)

    def on_state_dict(self, state_dict: dict[str, Any]) -> None:
        with_buffer = not self.experiment.config.exclude_buffer_from_checkpoint
        state_dict[STATE_KEY] = {**identity(self.experiment), "learner": self.learner.state_dict(with_buffer)}

    def on_load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.learner.load_state_dict(state_dict[STATE_KEY]["learner"])

    def _warn_of_failures(self, reward: Tensor, influence: Tensor, metrics: dict[str, float]) -> None:
        if self.learner.warming_up:
            return
        shares = [metrics[f"{group}/intrinsic_reward_share"] for group in self.groups]
        messages = self._signatures.observe(
            reward,
            influence,
            share=sum(shares) / len(shares),
            explained=metrics.get("estimator/explained_variance_reward"),
            immediate_only=not self.shared.future_influence,
        )
        raised = {f"reciprocity/raised/{name}": float(name in self._signatures.raised) for name in SIGNATURES}
        self.experiment.logger.log(raised, step=self.experiment.n_iters_performed)
        for message in messages:
            warnings.warn(message, ReciprocityWarning, stacklevel=2)

    def _freeze_while_warming_up(self) -> None:
        training = self.experiment.train_group_map
        if self.learner.warming_up:
            # Other callbacks may leave out groups too: put back what was taken, and nothing else.
            self._frozen.update({group: training.pop(group) for group in self.groups if group in training})
        elif self._frozen:
            training.update(self._frozen)
            order = [group for group in self.experiment.group_map if group in training]
            self.experiment.train_group_map = {group: training[group] for group in order}
            self._frozen = {}
