"""The options of what makes a policy-gradient learner a Reciprocator, each declared with what its value must be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, fields
from typing import Any

from benchmarl.models import model_config_registry

from benchmarl_reciprocator.influence import DEBITS, OVER_OTHERS, RECIPROCAL_FORMS
from benchmarl_reciprocator.influence.unit import DEVIATION
from benchmarl_reciprocator.tasks.options import check_option, one_of

# Options that configurations saved by version 0.2 or earlier do not have, as they were then
ADDED_LATER = {
    "negative_reciprocity_end": None,
    "negative_reciprocity_from": 0,
    "negative_reciprocity_frames": 0,
    "reward_unit": 1.0,
    "share_policy": False,
    "estimate_bias": 0.0,
    "estimate_noise": 0.0,
    "estimate_sign_flips": 0.0,
    "estimate_check_interval": 0,
}
# What the metadata of an option's field says: how to tell whether a value is valid, and what it must be, in words.
# The words are made when they are needed: the models that there are may be more by then.
Metadata = dict[str, Callable[..., Any]]


def integer(least: int) -> Metadata:
    """An integer ``>= least``."""
    return {"must_be": lambda: f"an integer >= {least}", "valid": lambda value: _is_integer(value, least)}


def integers(least: int) -> Metadata:
    """A list of integers ``>= least``."""
    return {
        "must_be": lambda: f"a list of integers >= {least}",
        "valid": lambda value: isinstance(value, list | tuple) and all(_is_integer(one, least) for one in value),
    }


def number(
    *, above: float | None = None, least: float | None = None, most: float | None = None, null: bool = False
) -> Metadata:
    """A number ``> above``, ``>= least`` and ``<= most``, or where ``null`` none."""
    bounds = {">": above, ">=": least, "<=": most}
    within = " and ".join(f"{sign} {bound}" for sign, bound in bounds.items() if bound is not None)
    said = f"a number {within}".strip()

    def valid(value: Any) -> bool:
        if value is None:
            return null
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and (above is None or value > above)
            and (least is None or value >= least)
            and (most is None or value <= most)
        )

    return {"must_be": lambda: f"null or {said}" if null else said, "valid": valid}


def unit() -> Metadata:
    """A unit of reward: ``deviation``, or a finite number > 0."""
    positive = number(above=0, most=sys.float_info.max)["valid"]
    return {
        "must_be": lambda: f"{DEVIATION} or a finite number > 0",
        "valid": lambda value: value == DEVIATION or positive(value),
    }


def choice(choices: Collection[str], null: bool = False) -> Metadata:
    """One of ``choices``, or where ``null`` none of them."""
    return {
        "must_be": lambda: one_of([*(["null"] if null else []), *choices]),
        "valid": lambda value: (null and value is None) or value in choices,
    }


def switch() -> Metadata:
    """True or false."""
    return {"must_be": lambda: "true or false", "valid": lambda value: isinstance(value, bool)}


def mapping() -> Metadata:
    """A mapping, or none."""
    return {"must_be": lambda: "null or a mapping", "valid": lambda value: value is None or isinstance(value, dict)}


def check_declared(options: Any, declared: type) -> None:
    """Raise one ``ValueError`` that names the key, what it must be and what it is, if an option is bad.

    Args:
        options (Any): has the options.
        declared (type): the dataclass that says of each what it must be.
    """
    for option in fields(declared):
        value = getattr(options, option.name)
        valid, must_be = option.metadata["valid"](value), option.metadata["must_be"]()
        check_option(f"algorithm.{option.name}", value, valid, must_be)


def changed(start: float, end: float, since: int, frames: int) -> float:
    """What changes linearly from ``start`` to ``end`` over ``frames`` is after ``since`` of them."""
    return end if since >= frames else start + since / frames * (end - start)


def _is_integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


@dataclass
class EstimatorOptions:
    """The value-influence estimator, and how it is fitted.

    Args:
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
        warmup (int): iterations at the start in which it is fitted while it is used by nobody yet: policies of
            Reciprocators stay frozen meanwhile.
        estimator_polyak_tau (float): how much of the way the baselines move at a refresh, in ``(0, 1]``.
        estimator_lr (float): its learning rate.
        estimator_epochs (int): passes over one batch's worth of frames in each fit, drawn from the whole buffer.
        estimator_minibatch_size (int): frames in one gradient step.
        estimator_max_grad_norm (float): its gradient's norm is clipped to this.
    """

    future_influence: bool = field(metadata=switch())
    estimator_num_cells: list[int] = field(metadata=integers(1))
    estimator_share_params: bool = field(metadata=switch())
    estimator_encoder: str | None = field(metadata=choice(model_config_registry, null=True))
    estimator_encoder_options: Any = field(metadata=mapping())
    estimator_encoder_features: int = field(metadata=integer(1))
    estimator_lmbda: float = field(metadata=number(least=0, most=1))
    buffer_batches: int = field(metadata=integer(1))
    buffer_reservoir: bool = field(metadata=switch())
    target_period: int = field(metadata=integer(1))
    warmup: int = field(metadata=integer(0))
    estimator_polyak_tau: float = field(metadata=number(above=0, most=1))
    estimator_lr: float = field(metadata=number(above=0))
    estimator_epochs: int = field(metadata=integer(1))
    estimator_minibatch_size: int = field(metadata=integer(1))
    estimator_max_grad_norm: float = field(metadata=number(above=0))


@dataclass
class SharedOptions(EstimatorOptions):
    """What all Reciprocators of an experiment have in common: the one estimator (:class:`EstimatorOptions`), and when
    reciprocity sets in.

    Args:
        reciprocity_delay (int): frames before reciprocity sets in: the weight is zero until then, and the estimator
            then forgets what it was fitted on. While agents learn what there is to gain at all, each gets worse for the
            others than it was; with that as the baseline they would begin with a grudge.
        reward_unit (float or str): the unit of the rewards that Reciprocators optimise, and of influence and balance: a
            number of units of the task's reward, 1 as published; or ``deviation``, the standard deviation of the task's
            rewards, as far as state and actions explain it (:class:`~benchmarl_reciprocator.influence.RewardUnit`).
            What is learned then does not depend on the scale of the rewards.
        observe_balance (bool): whether policy and critic see the agent's influence balance towards each other agent,
            squashed by ``tanh``. The balance that is seen is the one that is rewarded.
        observe_balance_scale (float): the balance, in units of ``reward_unit``, at which that observation is
            ``tanh(1)``.
        estimate_bias (float): error put into every estimate of influence, for studies alone: what is added to it, in
            units of the standard deviation of the batch's influence.
        estimate_noise (float): standard deviation of normal noise on it, in the same units.
        estimate_sign_flips (float): probability that its sign is turned over, before that.
        estimate_check_interval (int): the estimate, without such errors, is held against the exact influence once in so
            many iterations, where the game's model is known; 0: never.
    """

    reciprocity_delay: int = field(metadata=integer(0))
    reward_unit: float | int | str = field(metadata=unit())
    observe_balance: bool = field(metadata=switch())
    observe_balance_scale: float = field(metadata=number(above=0))
    estimate_bias: float = field(metadata=number())
    estimate_noise: float = field(metadata=number(least=0))
    estimate_sign_flips: float = field(metadata=number(least=0, most=1))
    estimate_check_interval: int = field(metadata=integer(0))


@dataclass
class ReciprocityConfig(SharedOptions):
    """What makes a policy-gradient learner a Reciprocator, on top of that learner's own options: its reciprocal
    reward, and :class:`SharedOptions`.

    Args:
        reward_weight_start (float): weight ``w`` of the reciprocal reward at the start.
        reward_weight_end (float): weight at the end of its change.
        reward_weight_frames (int): frames over which the weight changes linearly; 0: the end value from the start.
        balance_debit (str): what is taken off the influence balance: none | given | given_and_own.
        balance_gamma (float, optional): discount of the balance; null: ``experiment.gamma``; 0: memory of one step.
        reciprocal_form (str): product | sign_balance | sign_influence | tanh_balance.
        negative_reciprocity (float): weight of negative balances, in ``[0, 1]``: 1 pays back harm as much as help, 0
            help alone. At the start, if it changes.
        negative_reciprocity_end (float, optional): that weight at the end of a linear change; null: it stays as it is.
        negative_reciprocity_from (int): frames before it begins to change.
        negative_reciprocity_frames (int): frames over which it changes; 0: at once.
        reciprocal_over_others (str): mean (as published) | sum over the other agents.
        share_policy (bool): whether the agents of a group have one policy, trained in every seat: self-play with shared
            parameters. The critic of the Reciprocator on independent PPO is shared too. Without it, of two agents that
            train together one often ends up firm and the other lenient.
    """

    reward_weight_start: float = field(metadata=number(least=0))
    reward_weight_end: float = field(metadata=number(least=0))
    reward_weight_frames: int = field(metadata=integer(0))
    balance_debit: str = field(metadata=choice(DEBITS))
    balance_gamma: float | None = field(metadata=number(least=0, most=1, null=True))
    reciprocal_form: str = field(metadata=choice(RECIPROCAL_FORMS))
    negative_reciprocity: float = field(metadata=number(least=0, most=1))
    negative_reciprocity_end: float | None = field(metadata=number(least=0, most=1, null=True))
    negative_reciprocity_from: int = field(metadata=integer(0))
    negative_reciprocity_frames: int = field(metadata=integer(0))
    reciprocal_over_others: str = field(metadata=choice(OVER_OTHERS))
    share_policy: bool = field(metadata=switch())

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**ADDED_LATER, **state})

    def check(self) -> None:
        """Raise one ``ValueError`` that names the key, what it must be and what it is, if an option is bad."""
        check_declared(self, ReciprocityConfig)

    def weight(self, frames: int) -> float:
        """Weight of the reciprocal reward after ``frames`` collected frames."""
        since = frames - self.reciprocity_delay
        if since < 0:
            return 0.0
        return changed(self.reward_weight_start, self.reward_weight_end, since, self.reward_weight_frames)

    def weight_of_harm(self, frames: int) -> float:
        """Weight of negative balances after ``frames`` collected frames."""
        since = frames - self.negative_reciprocity_from
        if self.negative_reciprocity_end is None or since < 0:
            return self.negative_reciprocity
        end, over = self.negative_reciprocity_end, self.negative_reciprocity_frames
        return changed(self.negative_reciprocity, end, since, over)

    def shared(self) -> SharedOptions:
        """The part of these options that all Reciprocators of an experiment have in common."""
        return SharedOptions(**{shared.name: getattr(self, shared.name) for shared in fields(SharedOptions)})

    def check_agreement(self, other: ReciprocityConfig) -> None:
        """Raise one ``ValueError`` if two Reciprocators cannot be in one experiment: for the shared options and, where
        the balance is observed, those of the one balance.
        """
        names = [shared.name for shared in fields(SharedOptions)]
        if self.observe_balance:
            names += ["balance_debit", "balance_gamma"]
        for name in names:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                raise ValueError(
                    f"algorithm.{name} must be the same for all Reciprocators, which share one estimator, and one "
                    f"balance if it is observed, but is {ours!r} for one and {theirs!r} for another"
                )
