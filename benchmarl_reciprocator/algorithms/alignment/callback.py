"""Advantage Alignment inside a BenchMARL experiment: joint batch -> all advantages -> aligned advantages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.alignment.advantages import softmax_probability
from benchmarl_reciprocator.algorithms.alignment.critics import ActionValues, Critic
from benchmarl_reciprocator.algorithms.alignment.joint_advantages import (
    JointAdvantages,
    has_critic,
    joint_advantages,
    processed_batches,
)
from benchmarl_reciprocator.algorithms.co_players.callback import co_players_of
from benchmarl_reciprocator.algorithms.intrinsic.joint import check_individual_rewards
from benchmarl_reciprocator.algorithms.not_trained import groups_of
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import EpisodeClock, JointView, joint_rewards
from benchmarl_reciprocator.algorithms.reciprocity.setup import make_learner, make_view
from benchmarl_reciprocator.influence import InfluenceLearner
from benchmarl_reciprocator.plugin.benchmarl_private import callback_of
from benchmarl_reciprocator.tasks.groups import seats
from benchmarl_reciprocator.tasks.options import bad_option

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment

    from benchmarl_reciprocator.algorithms.advantage_alignment import AdvantageAlignment

STATE_KEY = "alignment"
KEY = "aligned_advantage"


class Alignments(Callback):
    """Computes the advantages of all agents of an experiment once, and the aligned ones of all that align.

    It is given the task's rewards, whatever others learn from, and keeps what only the aligned need: a critic of the
    members that have none, action values, and value-influence estimators.
    """

    # BenchMARL sets it before anything is called.
    experiment: Any

    def __init__(self) -> None:
        super().__init__()
        self.algorithms: list[AdvantageAlignment] = []
        self.clock = EpisodeClock()
        self.critic: Critic | None = None
        self.action_values: ActionValues | None = None
        # By the place of an algorithm in the list
        self.estimators: dict[int, tuple[JointView, InfluenceLearner]] = {}
        self._processed: dict[str, TensorDictBase] = {}

    @classmethod
    def of(cls, experiment: Experiment) -> Alignments:
        """The experiment's own, added to it at the first call."""
        # Reciprocators change their groups' rewards in the batch.
        return callback_of(experiment, cls, before=Reciprocity)

    def on_setup(self) -> None:
        experiment = self.experiment
        check_individual_rewards(experiment)
        self._refuse_unknown_probabilities()
        self.members = seats(experiment.group_map)
        n_agents = sum(map(len, experiment.group_map.values()))
        self._view = make_view(experiment)
        without = [
            seat
            for group, members in self.members.items()
            if not has_critic(experiment, group)
            for seat in range(members.start, members.stop)
        ]
        device = experiment.config.train_device
        self._without_critic = torch.tensor(without, dtype=torch.long, device=device)
        if without:
            self.critic = Critic(experiment, self._view.state_features, len(without))
        if any(algorithm.options.alignment_opponent_weight == "softmax" for algorithm in self.algorithms):
            n_actions = self._view.action_features
            self.action_values = ActionValues(experiment, self._view.state_features, n_agents, n_actions)
            counts = [
                self._view.action_specs[group].space.n
                for group, members in self.members.items()
                for _ in range(members.start, members.stop)
            ]
            self.allowed = torch.arange(n_actions, device=device) < torch.tensor(counts, device=device).unsqueeze(-1)
        for place, algorithm in enumerate(self.algorithms):
            if algorithm.options.alignment_past == "influence":
                view = make_view(experiment, algorithm.options)
                self.estimators[place] = (view, make_learner(experiment, view, algorithm.options))

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        experiment = self.experiment
        step = self.clock(batch.get(("next", "done")).squeeze(-1))
        self._processed = processed_batches(experiment, batch)
        joint = joint_advantages(experiment, batch, joint_rewards(batch.get("next"), self.members), self._processed)
        metrics: dict[str, float] = {}
        seen = None
        if self.critic is not None or self.action_values is not None:
            seen = self._view(batch, step).to(experiment.config.train_device)
        if self.critic is not None:
            assert seen is not None
            joint, metrics["critic/loss"] = self._with_critic(joint, seen)
        probability = self._probabilities(batch, joint, seen, metrics)
        for place, algorithm in enumerate(self.algorithms):
            influence, ready = self._influence(place, batch, step, metrics)
            weight = algorithm.options.alignment_opponent_weight
            aligned, told = algorithm.aligned(joint, step.to(joint.done.device), influence, probability.get(weight))
            groups = groups_of(algorithm) if ready else []
            for group in groups:
                batch.set((group, KEY), aligned[..., self.members[group]].unsqueeze(-1).to(step.device))
                metrics.update({f"{group}/{key}": value for key, value in told.items()})
        experiment.logger.log(
            {f"alignment/{key}": value for key, value in metrics.items()}, step=experiment.n_iters_performed
        )

    def take(self, group: str, batch: TensorDictBase) -> TensorDictBase:
        """``batch`` of a group, with what was computed of it: the plain advantages among it."""
        known = set(batch.keys(True, True))
        for key, value in self._processed.pop(group).items(True, True):
            if key not in known:
                batch.set(key, value)
        return batch

    def on_state_dict(self, state_dict: dict[str, Any]) -> None:
        with_buffer = not self.experiment.config.exclude_buffer_from_checkpoint
        state_dict[STATE_KEY] = {
            "critic": None if self.critic is None else self.critic.state_dict(),
            "action_values": None if self.action_values is None else self.action_values.state_dict(),
            "estimators": {place: one.state_dict(with_buffer) for place, (_, one) in self.estimators.items()},
        }

    def on_load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = state_dict[STATE_KEY]
        if self.critic is not None:
            self.critic.load_state_dict(state["critic"])
        if self.action_values is not None:
            self.action_values.load_state_dict(state["action_values"])
        for place, (_, learner) in self.estimators.items():
            learner.load_state_dict(state["estimators"][place])

    def _with_critic(self, joint: JointAdvantages, batch: TensorDictBase) -> tuple[JointAdvantages, float]:
        """With values of the members that have no critic; and the critic's loss, once it has learned from the batch."""
        assert self.critic is not None
        state, columns = batch.get("state"), self._without_critic
        lmbda = self.algorithms[0].lmbda
        joint = joint.with_critic(columns, self.critic(state), self.critic(batch.get(("next", "state"))), lmbda)
        target = (joint.advantage + joint.value)[..., columns]
        return joint, self.critic.fit(state.flatten(0, -2), target.flatten(0, -2))

    def _probabilities(
        self, batch: TensorDictBase, joint: JointAdvantages, seen: TensorDictBase | None, metrics: dict[str, float]
    ) -> dict[str, Tensor]:
        """Of the actions that all agents took, ``[*B, T, N]``, by each opponent weight that asks for them."""
        asked = {algorithm.options.alignment_opponent_weight for algorithm in self.algorithms}
        found = {}
        if "loqa" in asked:
            log_prob = torch.cat([batch.get((group, "log_prob")) for group in self.members], dim=-1)
            found["loqa"] = log_prob.to(joint.done.device).exp()
        if self.action_values is not None:
            assert seen is not None
            outcome = joint.by_lambda(1.0) + joint.value
            action = seen.get("action").argmax(-1)
            values = self.action_values.of(seen.get("state"))
            found["softmax"] = softmax_probability(values, action, outcome, self.allowed)
            metrics["action_values/loss"] = self.action_values.learn(seen)
        # Of a co-player nothing is known.
        return {name: value.masked_fill(joint.left_out, 0.0) for name, value in found.items()}

    def _influence(
        self, place: int, batch: TensorDictBase, step: Tensor, metrics: dict[str, float]
    ) -> tuple[Tensor | None, bool]:
        """The value influence that an algorithm sees, if it asks for it; and whether it is ready to be used."""
        if place not in self.estimators:
            return None, True
        view, learner = self.estimators[place]
        joint = view(batch, step).to(self.experiment.config.train_device)
        co_players = co_players_of(self.experiment)
        fit = learner.observe(joint, co_players.undisturbed(batch) if co_players is not None else None)
        metrics.update({f"estimator/{key}": value for key, value in fit.items()})
        return learner.influence(joint), not learner.warming_up

    def _refuse_unknown_probabilities(self) -> None:
        """Raise one ``ValueError`` if actions are weighed by probabilities that nobody tells."""
        experiment = self.experiment
        for algorithm in self.algorithms:
            weight = algorithm.options.alignment_opponent_weight
            key = "algorithm.alignment_opponent_weight"
            if weight != "none" and experiment.continuous_actions:
                raise bad_option(key, weight, "none with continuous actions, which have no probability")
            silent = [group for group in experiment.group_map if not has_critic(experiment, group)]
            if weight == "loqa" and silent:
                must_be = f"none or softmax beside groups that do not tell their probabilities ({', '.join(silent)})"
                raise bad_option(key, weight, must_be)
