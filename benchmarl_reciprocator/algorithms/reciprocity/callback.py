"""Reciprocity inside a BenchMARL experiment: joint batch -> value influence -> reciprocal reward -> total reward."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data import Composite

from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig
from benchmarl_reciprocator.algorithms.reciprocity.diagnostics import FailureSignatures, ReciprocityWarning
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import JointView, episode_step
from benchmarl_reciprocator.algorithms.reciprocity.observation_encoder import ObservationEncoder
from benchmarl_reciprocator.influence import (
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    ObservedBalance,
    influence_balance,
    reciprocal_reward,
)
from benchmarl_reciprocator.influence.observed_balance import BALANCE_KEY, observed_balance_spec
from benchmarl_reciprocator.tasks.groups import seats

STATE_KEY = "reciprocity"
SEEN_KEY = "balance"


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
