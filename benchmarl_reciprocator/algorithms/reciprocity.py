"""Reciprocity inside a BenchMARL experiment: joint batch -> value influence -> reciprocal reward -> total reward."""

from __future__ import annotations

import warnings
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from benchmarl.experiment.callback import Callback
from benchmarl.models import model_config_registry
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import Composite

from benchmarl_reciprocator.algorithms.joint_batch import JointView, episode_step
from benchmarl_reciprocator.algorithms.observation_encoder import ObservationEncoder
from benchmarl_reciprocator.influence import (
    DEBITS,
    OVER_OTHERS,
    RECIPROCAL_FORMS,
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    ObservedBalance,
    influence_balance,
    reciprocal_reward,
)
from benchmarl_reciprocator.influence.diagnostics import FailureSignatures
from benchmarl_reciprocator.influence.observed_balance import BALANCE_KEY, observed_balance_spec
from benchmarl_reciprocator.tasks.groups import seats

STATE_KEY = "reciprocity"
SEEN_KEY = "balance"


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


class Reciprocity(Callback):
    """The one estimator of an experiment, and the reciprocal reward of all its Reciprocators.

    After every collection, once the extrinsic returns are logged, it takes the joint batch, trains the estimator, and
    adds the weighted reciprocal reward to the rewards of the groups that registered. Groups with other algorithms are
    read and never changed.
    """

    def __init__(self) -> None:
        super().__init__()
        self.configs: dict[str, ReciprocityConfig] = {}
        self.learner: InfluenceLearner | None = None
        self._balance: dict[tuple[str, float], Tensor] = {}
        self._step: Tensor | None = None
        self._frozen: dict[str, list[str]] = {}
        self._signatures = FailureSignatures()

    @classmethod
    def of(cls, experiment) -> Reciprocity:
        """The experiment's own, added to it at the first call."""
        for callback in experiment.callbacks:
            if isinstance(callback, cls):
                return callback
        callback = cls()
        callback.experiment = experiment
        experiment.callbacks = [*experiment.callbacks, callback]
        return callback

    def add_group(self, group: str, config: ReciprocityConfig) -> None:
        """Reward the agents of ``group`` by ``config``.

        Raises:
            ValueError: if an option of the estimator differs from another group's.
        """
        for other in self.configs.values():
            theirs = other.shared_options()
            for key, value in config.shared_options().items():
                if value != theirs[key]:
                    raise ValueError(
                        f"algorithm.{key}={value!r} for group {group!r}, but {theirs[key]!r} for another: all "
                        "Reciprocators share one estimator, and one balance if it is observed, allowed: one value"
                    )
        self.configs[group] = config

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
        return self.learner.value_influence(joint).to(step.device)

    def on_setup(self) -> None:
        experiment = self.experiment
        self._check_task()
        config = next(iter(self.configs.values()))
        self.view = JointView(
            experiment.group_map,
            experiment.observation_spec,
            experiment.state_spec,
            experiment.action_spec,
            experiment.max_steps,
            flat=config.estimator_encoder is None,
            in_a_row=config.estimator_share_params,
        )
        # A task that does not say is taken to be the same from every seat.
        same_game = getattr(experiment.test_env, "interchangeable_seats", True)
        if config.estimator_share_params and not (same_game and self.view.alike):
            raise ValueError(
                f"algorithm.estimator_share_params=True is not allowed for task={experiment.task_name!r}, "
                "allowed: False, or a game that is the same from every seat, with agents that observe and act alike"
            )
        encoder, features = None, self.view.state_features
        if config.estimator_encoder is not None:
            encoder = ObservationEncoder(
                experiment,
                self.view,
                model=config.estimator_encoder,
                options=config.estimator_encoder_options or {},
                width=config.estimator_encoder_features,
                share_params=config.estimator_share_params,
            )
            features = encoder.features
        device = experiment.config.train_device
        estimator = InfluenceEstimator(
            self.view.n_agents,
            features,
            self.view.action_features,
            num_cells=config.estimator_num_cells,
            future=config.future_influence,
            share_params=config.estimator_share_params,
            common_features=1,
            encoder=encoder,
            device=device,
        )
        loss = InfluenceLoss(
            estimator,
            gamma=experiment.config.gamma,
            lmbda=config.estimator_lmbda,
        )
        schedule = InfluenceSchedule(
            buffer_batches=config.buffer_batches,
            buffer_reservoir=config.buffer_reservoir,
            target_period=config.target_period,
            warmup=config.warmup,
            polyak_tau=config.estimator_polyak_tau,
            lr=config.estimator_lr,
            epochs=config.estimator_epochs,
            minibatch_size=config.estimator_minibatch_size,
            max_grad_norm=config.estimator_max_grad_norm,
        )
        self.learner = InfluenceLearner(loss, schedule)
        if experiment.config.restore_file is not None:
            self._check_checkpoint(experiment.config.restore_file)

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        experiment = self.experiment
        done = batch.get(("next", "done")).squeeze(-1)
        if self._step is None or self._step.shape != done.shape[:-1]:
            self._step = torch.zeros(done.shape[:-1], dtype=torch.long, device=done.device)
        step, self._step = episode_step(done, self._step)
        joint = self.view(batch, step).to(experiment.config.train_device)

        start = experiment.total_frames - batch.numel()
        delay = next(iter(self.configs.values())).reciprocity_delay
        if start - batch.numel() < delay <= start:
            self.learner.forget()
        metrics = self.learner.observe(joint)
        influence = self.learner.value_influence(joint).to(batch.device or done.device)
        extrinsic = joint.get(("next", "reward")).to(influence.device)
        to_log = {f"estimator/{key}": value for key, value in metrics.items()}
        to_log.update(_pairwise("influence", influence.flatten(0, -3).mean(0)))

        to_log.update(self._add_to_rewards(batch, extrinsic, influence, done))
        experiment.logger.log(
            {f"reciprocity/{key}": value for key, value in to_log.items()},
            step=experiment.n_iters_performed,
        )
        self._freeze_while_warming_up()
        self._warn_of_failures(extrinsic, influence, to_log)

    def on_state_dict(self, state_dict: dict[str, Any]) -> None:
        with_buffer = not self.experiment.config.exclude_buffer_from_checkpoint
        state_dict[STATE_KEY] = {**self._identity(), "learner": self.learner.state_dict(with_buffer)}

    def on_load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.learner.load_state_dict(state_dict[STATE_KEY]["learner"])

    def _add_to_rewards(
        self, batch: TensorDictBase, extrinsic: Tensor, influence: Tensor, done: Tensor
    ) -> dict[str, float]:
        """Write the total reward of every Reciprocator into ``batch``; returns what is to be logged of it."""
        logged = {}
        frames = self.experiment.total_frames - batch.numel()
        balances, rewards = {}, {}
        # What the policies saw: kept up during collection, by the estimator as it was then.
        seen = batch.pop(BALANCE_KEY, None)
        for group, config in self.configs.items():
            # Groups with the same options, the usual case, share one computation for all agents.
            kind = (config.balance_debit, self._balance_gamma(config))
            if kind not in balances:
                balances[kind] = self._carry_balance(influence, done, *kind) if seen is None else seen
            form = {
                "form": config.reciprocal_form,
                "negative": config.negative_reciprocity,
                "over_others": config.reciprocal_over_others,
            }
            key = (kind, *form.values())
            if key not in rewards:
                rewards[key] = reciprocal_reward(influence, balances[kind], **form)
            members = self.view.members[group]
            weight = config.weight(frames)
            intrinsic = weight * rewards[key][..., members]
            batch.set(("next", group, "reward"), (extrinsic[..., members] + intrinsic).unsqueeze(-1))
            size = intrinsic.abs().mean()
            share = size / (size + extrinsic[..., members].abs().mean()).clamp(min=1e-12)
            mean_balance = balances[kind].flatten(0, -3).mean(0)
            logged.update(_pairwise("balance", mean_balance, range(members.start, members.stop)))
            logged[f"{group}/intrinsic_reward_mean"] = intrinsic.mean().item()
            logged[f"{group}/intrinsic_reward_share"] = share.item()
            logged[f"{group}/reward_weight"] = weight
        return logged

    def _balance_gamma(self, config: ReciprocityConfig) -> float:
        return self.experiment.config.gamma if config.balance_gamma is None else config.balance_gamma

    def _carry_balance(self, influence: Tensor, done: Tensor, debit: str, gamma: float) -> Tensor:
        """Balance before each step, going on from the batch before."""
        carried = self._balance.get((debit, gamma))
        if carried is not None and carried.shape[:-2] != done.shape[:-1]:
            carried = None
        balance, self._balance[debit, gamma] = influence_balance(influence, done, gamma, carried, debit=debit)
        return balance

    def _warn_of_failures(self, reward: Tensor, influence: Tensor, logged: dict[str, float]) -> None:
        if self.learner.warming_up:
            return
        shares = [logged[f"{group}/intrinsic_reward_share"] for group in self.configs]
        messages = self._signatures.observe(
            reward,
            influence,
            share=sum(shares) / len(shares),
            explained=logged.get("estimator/explained_variance_reward"),
            immediate_only=not self.learner.loss.future,
        )
        for message in messages:
            warnings.warn(message, ReciprocityWarning, stacklevel=2)

    def _freeze_while_warming_up(self) -> None:
        training = self.experiment.train_group_map
        if self.learner.warming_up:
            # Other callbacks may leave out groups too: put back what was taken, and nothing else.
            self._frozen.update({group: training.pop(group) for group in self.configs if group in training})
        elif self._frozen:
            training.update(self._frozen)
            order = [group for group in self.experiment.group_map if group in training]
            self.experiment.train_group_map = {group: training[group] for group in order}
            self._frozen = {}

    def _check_task(self) -> None:
        experiment = self.experiment
        n_agents = sum(len(agents) for agents in experiment.group_map.values())
        if n_agents < 2:
            raise ValueError(
                f"task={experiment.task_name!r} has {n_agents} agent, allowed for "
                f"{experiment.algorithm_name}: at least 2 agents"
            )
        rewards = set(experiment.test_env.reward_keys)
        for group in experiment.group_map:
            if (group, "reward") not in rewards and "reward" not in rewards:
                raise ValueError(
                    f"task={experiment.task_name!r} gives group {group!r} no reward, allowed for "
                    f"{experiment.algorithm_name}: a reward for every group (found {sorted(map(str, rewards))})"
                )

    def _identity(self) -> dict[str, Any]:
        return {
            "algorithm": self.experiment.algorithm_name,
            "groups": {group: len(agents) for group, agents in self.experiment.group_map.items()},
        }

    def _check_checkpoint(self, file: str) -> None:
        """Refuse a checkpoint that is not this experiment's, before BenchMARL loads a part of it."""
        saved = torch.load(file, map_location="cpu", weights_only=True, mmap=True).get(STATE_KEY)
        if saved is None:
            raise ValueError(
                f"experiment.restore_file={file!r} is a checkpoint of an algorithm without reciprocity, "
                f"allowed: one of {self.experiment.algorithm_name}"
            )
        for key, value in self._identity().items():
            if saved[key] != value:
                raise ValueError(
                    f"experiment.restore_file={file!r} was made with {key}={saved[key]!r}, allowed: {value!r}"
                )


class ReciprocityWarning(UserWarning):
    """A known failure signature of the method, and what to change."""


def _pairwise(name: str, values: Tensor, rows: range | None = None) -> dict[str, float]:
    """Off-diagonal entries of ``[N, N]`` by name: ``<name>/<i>_on_<j>``."""
    n_agents = values.shape[-1]
    numbers = values.tolist()
    return {
        f"{name}/{i}_on_{j}": numbers[i][j]
        for i in (rows if rows is not None else range(n_agents))
        for j in range(n_agents)
        if i != j
    }
