"""The options of what makes a policy-gradient learner a Reciprocator."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from typing import Any

from benchmarl.models import model_config_registry

from benchmarl_reciprocator.influence import DEBITS, OVER_OTHERS, RECIPROCAL_FORMS


@dataclass
class ReciprocityConfig:
    """What makes a policy-gradient learner a Reciprocator, on top of that learner's own options.

    Args:
        reward_weight_start (float): weight ``w`` of the reciprocal reward at the start.
        reward_weight_end (float): weight at the end of its change.
        reward_weight_frames (int): frames over which the weight changes linearly; 0: the end value from the start.
        reciprocity_delay (int): frames before reciprocity sets in: the weight is zero until then, and the estimator
            then forgets what it was fitted on. While agents learn what there is to gain at all, each gets worse for the
            others than it was; with that as the baseline they would begin with a grudge.
        balance_debit (str): what is taken off the influence balance: none | given | given_and_own.
        balance_gamma (float, optional): discount of the balance; null: ``experiment.gamma``; 0: memory of one step.
        reciprocal_form (str): product | sign_balance | sign_influence | tanh_balance.
        negative_reciprocity (float): weight of negative balances, in ``[0, 1]``: 1 pays back harm as much as help, 0
            help alone.
        reciprocal_over_others (str): mean (as published) | sum over the other agents.
        observe_balance (bool): whether policy and critic see the agent's influence balance towards each other agent,
            squashed by ``tanh``. The balance that is seen is the one that is rewarded.
        observe_balance_scale (float): the balance, in units of reward, at which that observation is ``tanh(1)``.
        future_influence (bool): whether the influence on the discounted future counts besides that on the immediate
            reward.
        estimator_num_cells (list of int): widths of the estimator's hidden layers.
        estimator_share_params (bool): whether one set of weights serves all agents, so that an agent's action is
            compared with what agents usually do in its situation, not with its own habit. For agents in the same
            position alone: they must observe and act alike, and nothing but their seat may tell them apart.
        estimator_encoder (str, optional): name of a BenchMARL model (``cnn``, ...) that encodes the observations (or
            state) for the estimator; null: they are flattened.
        estimator_encoder_options (dict, optional): options of that model in place of its yaml's.
        estimator_encoder_features (int): number of features per agent that the encoder gives.
        estimator_lmbda (float): lambda of the TD(lambda) targets of the future part.
        buffer_batches (int): how many collected batches' worth of trajectories the estimator is fitted on.
        buffer_reservoir (bool): whether those are a uniform sample of all that was collected since reciprocity set in,
            or the last batches. It decides how long a change of behaviour is seen as influence, and with it whether
            cooperation lasts.
        target_period (int): it is fitted, and the baselines refreshed, once in so many iterations.
        warmup (int): iterations at the start in which it is fitted while the Reciprocators' policies stay frozen.
        estimator_polyak_tau (float): how much of the way the baselines move at a refresh, in ``(0, 1]``.
        estimator_lr (float): its learning rate.
        estimator_epochs (int): passes over one batch's worth of frames in each fit, drawn from the whole buffer.
        estimator_minibatch_size (int): frames in one gradient step.
        estimator_max_grad_norm (float): its gradient's norm is clipped to this.
    """

    reward_weight_start: float = MISSING
    reward_weight_end: float = MISSING
    reward_weight_frames: int = MISSING
    reciprocity_delay: int = MISSING
    balance_debit: str = MISSING
    balance_gamma: float | None = MISSING
    reciprocal_form: str = MISSING
    negative_reciprocity: float = MISSING
    reciprocal_over_others: str = MISSING
    observe_balance: bool = MISSING
    observe_balance_scale: float = MISSING
    future_influence: bool = MISSING
    estimator_num_cells: list[int] = MISSING
    estimator_share_params: bool = MISSING
    estimator_encoder: str | None = MISSING
    estimator_encoder_options: Any = MISSING
    estimator_encoder_features: int = MISSING
    estimator_lmbda: float = MISSING
    buffer_batches: int = MISSING
    buffer_reservoir: bool = MISSING
    target_period: int = MISSING
    warmup: int = MISSING
    estimator_polyak_tau: float = MISSING
    estimator_lr: float = MISSING
    estimator_epochs: int = MISSING
    estimator_minibatch_size: int = MISSING
    estimator_max_grad_norm: float = MISSING

    def check(self) -> None:
        """Raise one ``ValueError`` that names the key, the value and what is allowed, if an option is bad."""
        at_least = {
            "reward_weight_start": 0,
            "reward_weight_end": 0,
            "reward_weight_frames": 0,
            "reciprocity_delay": 0,
            "estimator_encoder_features": 1,
            "buffer_batches": 1,
            "target_period": 1,
            "warmup": 0,
            "estimator_epochs": 1,
            "estimator_minibatch_size": 1,
        }
        for key, least in at_least.items():
            self._require(key, getattr(self, key) >= least, f"a number >= {least}")
        for key in ("estimator_lr", "estimator_max_grad_norm", "observe_balance_scale"):
            self._require(key, getattr(self, key) > 0, "a number > 0")
        self._require("balance_debit", self.balance_debit in DEBITS, " | ".join(DEBITS))
        self._require("reciprocal_form", self.reciprocal_form in RECIPROCAL_FORMS, " | ".join(RECIPROCAL_FORMS))
        self._require(
            "balance_gamma",
            self.balance_gamma is None or 0 <= self.balance_gamma <= 1,
            "null or 0 <= gamma <= 1",
        )
        self._require("reciprocal_over_others", self.reciprocal_over_others in OVER_OTHERS, " | ".join(OVER_OTHERS))
        self._require("negative_reciprocity", 0 <= self.negative_reciprocity <= 1, "0 <= weight <= 1")
        self._require("estimator_lmbda", 0 <= self.estimator_lmbda <= 1, "0 <= lambda <= 1")
        self._require("estimator_polyak_tau", 0 < self.estimator_polyak_tau <= 1, "0 < tau <= 1")
        self._require(
            "estimator_num_cells",
            all(cells >= 1 for cells in self.estimator_num_cells),
            "a list of numbers >= 1",
        )
        models = [*model_config_registry]
        self._require(
            "estimator_encoder",
            self.estimator_encoder is None or self.estimator_encoder in models,
            f"null | {' | '.join(models)}",
        )

    def _require(self, key: str, valid: bool, allowed: str) -> None:
        if not valid:
            raise ValueError(f"algorithm.{key}={getattr(self, key)!r} is not allowed, allowed: {allowed}")

    def weight(self, frames: int) -> float:
        """Weight of the reciprocal reward after ``frames`` collected frames."""
        grown = frames - self.reciprocity_delay
        if grown < 0:
            return 0.0
        if grown >= self.reward_weight_frames:
            return self.reward_weight_end
        share = grown / self.reward_weight_frames
        return self.reward_weight_start + share * (self.reward_weight_end - self.reward_weight_start)

    def shared_options(self) -> dict[str, Any]:
        """The options that all Reciprocators of an experiment must agree on: those of the one estimator and, where the
        balance is observed, of the one balance.
        """
        own = ("reward_weight_", "reciprocal_", "negative_") + (() if self.observe_balance else ("balance_",))
        values = {field.name: getattr(self, field.name) for field in fields(ReciprocityConfig)}
        return {key: value for key, value in values.items() if not key.startswith(own)}
