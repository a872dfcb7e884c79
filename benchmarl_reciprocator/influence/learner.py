"""When and on what the value-influence estimator is trained: replay buffer, fitting, lagged baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.data import LazyTensorStorage, ReplayBuffer
from torchrl.data.replay_buffers.writers import RoundRobinWriter
from torchrl.objectives import HardUpdate, SoftUpdate

from benchmarl_reciprocator.influence.balance import value_influence
from benchmarl_reciprocator.influence.loss import InfluenceLoss, error, squared_error
from benchmarl_reciprocator.influence.reservoir import ReservoirWriter
from benchmarl_reciprocator.influence.trajectories import AFTER, BREAKS, next_values, pack, with_room
from benchmarl_reciprocator.influence.unit import RewardUnit

# What the networks make of more than this takes more memory, and more time.
FRAMES_AT_ONCE = 2048


@dataclass
class InfluenceSchedule:
    """When and how the estimator is fitted.

    Args:
        buffer_batches (int): how many collected batches' worth of trajectories the estimator is fitted on.
        buffer_reservoir (bool): whether those are a uniform sample of all that was ever collected (reservoir sampling,
            Vitter 1985) or the last batches. The longer the memory, the longer a change of behaviour goes on being
            seen as influence.
        target_period (int): fit and refresh the baselines once in so many batches.
        warmup (int): fit after each of the first so many batches (policies stay frozen meanwhile).
        polyak_tau (float): how much of the way the baselines move to the fitted estimator at each refresh, in
            ``(0, 1]``.
        lr (float): learning rate (Adam).
        epochs (int): passes over one collected batch's worth of frames in each fit, drawn from the whole
            buffer, so that the time a fit takes does not depend on the buffer's length.
        minibatch_size (int): frames in one gradient step.
        max_grad_norm (float): the gradient's norm is clipped to this.
    """

    buffer_batches: int = 20
    buffer_reservoir: bool = True
    target_period: int = 1
    warmup: int = 0
    polyak_tau: float = 1.0
    lr: float = 0.005
    epochs: int = 1
    minibatch_size: int = 1024
    max_grad_norm: float = 10.0


class InfluenceLearner:
    """Fits an :class:`InfluenceLoss` on replayed joint experience, and tells the value influence of new experience.

    Args:
        loss (InfluenceLoss): the loss around the estimator.
        schedule (InfluenceSchedule): when and how to fit.
        reward_unit (float or str): see :class:`RewardUnit`. Its value is ``unit.value``, by which the influence can be
            divided.

    Examples:
        >>> from benchmarl_reciprocator.influence import InfluenceEstimator
        >>> loss = InfluenceLoss(InfluenceEstimator(n_agents=2, state_features=1, action_features=2), gamma=0.9)
        >>> learner = InfluenceLearner(loss, InfluenceSchedule(epochs=2))
        >>> batch = TensorDict({
        ...     "state": torch.zeros(4, 8, 1), "action": torch.zeros(4, 8, 2, 2),
        ...     "next": {"state": torch.zeros(4, 8, 1), "reward": torch.zeros(4, 8, 2),
        ...              "done": torch.zeros(4, 8, 1, dtype=torch.bool),
        ...              "terminated": torch.zeros(4, 8, 1, dtype=torch.bool)},
        ... }, [4, 8])
        >>> metrics = learner.observe(batch)
        >>> learner.influence(batch).shape
        torch.Size([4, 8, 2, 2])
    """

    def __init__(self, loss: InfluenceLoss, schedule: InfluenceSchedule, reward_unit: float | str = 1.0) -> None:
        self.loss = loss
        self.schedule = schedule
        self.unit = RewardUnit(reward_unit)
        self._parameters = list(loss.parameters())
        self.optimizer = torch.optim.Adam(self._parameters, lr=schedule.lr, fused=True)
        if schedule.polyak_tau < 1:
            self.target_updater = SoftUpdate(loss, tau=schedule.polyak_tau)
        else:
            self.target_updater = HardUpdate(loss, value_network_update_interval=0)
        self.batches_seen = 0
        self.fits = 0
        # What the estimator is fitted on, trajectories [T]; none before the first batch
        self.buffer: ReplayBuffer | None = None
        self._trajectories_per_batch = 0

    @property
    def warming_up(self) -> bool:
        """Whether the batch last observed belongs to the warm-up."""
        return self.batches_seen <= self.schedule.warmup

    def observe(self, batch: TensorDictBase, where: Tensor | None = None) -> dict[str, float]:
        """Take in a collected batch ``[*B, T]``, and fit if it is time.

        Args:
            batch (TensorDictBase): with the estimator's inputs and, under ``"next"``, what
                :meth:`InfluenceLoss.targets` reads.
            where (Tensor, optional): boolean ``[*B]``: which trajectories the estimator learns from. Default: all. The
                buffer's size and the length of a fit go by the whole batch, however many these are; before the first
                of them there is no fit.

        Returns:
            dict[str, float]: explained variance of these trajectories before they were learned from, and, if there was
            a fit, its last losses and gradient norm.

        Raises:
            ValueError: if a reward is not finite, or ``where`` is not one boolean for each trajectory.
        """
        reward = batch.get(("next", "reward"))
        if not torch.isfinite(reward).all():
            raise ValueError(
                "the collected rewards must be finite numbers, but "
                f"{int((~torch.isfinite(reward)).sum())} of {reward.numel()} are NaN or infinite"
            )
        if where is not None and (where.shape != batch.shape[:-1] or where.dtype != torch.bool):
            raise ValueError(
                f"where must be boolean and of shape [*B] = {tuple(batch.shape[:-1])}, but is {where.dtype} and "
                f"{tuple(where.shape)}"
            )
        frames = batch.numel()
        batch = batch.select(*self._stored_keys()).detach()
        if not self._trajectories_per_batch:
            self._trajectories_per_batch = batch.shape[:-1].numel()
        batch = batch.reshape(-1, batch.shape[-1]) if where is None else batch[where]
        self.batches_seen += 1
        metrics = {}
        if len(batch):
            if self.loss.future:
                batch = pack(batch, self.loss.estimator_network.in_keys[:-1])
            batch.batch_size = batch.shape[:1]
            self._extend(batch)
            if self.fits:
                metrics = self._explained_variance(batch)
        self.unit.observe(reward, metrics.get("explained_variance_reward"))
        due = self.warming_up or self.batches_seen % self.schedule.target_period == 0 or not self.fits
        if due and self.buffer is not None and len(self.buffer):
            metrics.update(self._fit(frames))
        return metrics

    def forget(self) -> None:
        """Empty the buffer: the estimator is fitted on what comes from here on. What it has learned stays."""
        if self.buffer is not None:
            self.buffer.empty()

    @torch.no_grad()
    def influence(self, batch: TensorDictBase) -> Tensor:
        """Value influence in a batch by the lagged baselines, see
        :func:`~benchmarl_reciprocator.influence.value_influence`.

        Args:
            batch (TensorDictBase): ``[*B]`` with the estimator's inputs.

        Returns:
            Tensor: ``[*B, N, N]``, ``[..., i, j]`` is the influence of ``i`` on ``j``, on the reward and, where it is
            predicted, on the discounted future, in units of reward.
        """
        with self.loss.lagged() as estimator:

            def influence(frames: TensorDictBase) -> Tensor:
                full, left_out = estimator.full_and_left_out(frames)
                return value_influence(full.sum(-1), left_out.sum(-1))

            return by_parts(influence, batch)

    def _stored_keys(self) -> list[NestedKey]:
        network = self.loss.estimator_network
        inputs = list(network.in_keys)
        keys = [*inputs, ("next", "reward")]
        if self.loss.future:
            state_keys = inputs[:-1]
            keys += [("next", "done"), ("next", "terminated")]
            keys += [("next", *(key if isinstance(key, tuple) else (key,))) for key in state_keys]
        return keys

    def _extend(self, trajectories: TensorDictBase) -> None:
        """Put trajectories ``[n]``, packed where the future is predicted, into the buffer."""
        if self.buffer is None:
            self.buffer = self._make_buffer()
        elif self.loss.future and len(self.buffer):
            held = self.buffer[:]
            room = max(data.get(AFTER).shape[1] for data in (held, trajectories))
            if room > held.get(AFTER).shape[1]:
                writer = self.buffer.writer.state_dict()
                self.buffer = self._make_buffer()
                self.buffer.extend(with_room(held, room))
                self.buffer.writer.load_state_dict(writer)
            trajectories = with_room(trajectories, room)
        self.buffer.extend(trajectories)

    def _make_buffer(self) -> ReplayBuffer:
        return ReplayBuffer(
            storage=LazyTensorStorage(
                self.schedule.buffer_batches * self._trajectories_per_batch,
                device=self.loss.estimator_network.target_mean.device,
            ),
            writer=ReservoirWriter() if self.schedule.buffer_reservoir else RoundRobinWriter(),
        )

    def _inputs(self, trajectories: TensorDictBase) -> TensorDictBase:
        """The estimator's inputs ``[n, T]`` of trajectories ``[n]``."""
        keys = self.loss.estimator_network.in_keys
        shape = trajectories.get(("next", "reward")).shape[:2]
        return TensorDict({key: trajectories.get(key) for key in keys}, shape)

    @torch.no_grad()
    def _targets(self, trajectories: TensorDictBase) -> Tensor:
        """:meth:`InfluenceLoss.targets` of trajectories ``[n]`` as the buffer holds them, ``[n, T, N, P]``."""
        if not self.loss.future:
            return self.loss.targets(trajectories)
        with self.loss.fitted() as estimator:
            seats = estimator.sample_seats()
            values, values_after = (
                by_parts(lambda frames: estimator.state_value(frames, seats), states)
                for states in (self._inputs(trajectories), trajectories.get(AFTER))
            )
        next_value = next_values(values, values_after, trajectories.get(BREAKS))
        return self.loss.targets(trajectories, next_value)

    def _explained_variance(self, trajectories: TensorDictBase) -> dict[str, float]:
        horizon = trajectories.get(("next", "reward")).shape[1]
        # A sample is enough to be told by.
        sample = trajectories[:: max(1, len(trajectories) * horizon // FRAMES_AT_ONCE)]
        data = self._inputs(sample).set("target", self._targets(sample))
        shares = self.loss.explained_variance(data, self.unit.value)
        return {f"explained_variance_{part}": share.item() for part, share in shares.items()}

    def _fit(self, frames: int) -> dict[str, float]:
        assert self.buffer is not None
        if not self.fits:
            self.loss.start_in_units(self.unit.value)
        stored, device = self.buffer[:], self.loss.estimator_network.target_mean.device
        wanted = self.schedule.epochs * self._trajectories_per_batch
        if wanted < len(stored):
            # A draw from the buffer, so that a fit takes no longer with a longer buffer.
            chosen = torch.randint(len(stored), (wanted,), device=device)
        else:
            chosen = torch.arange(len(stored), device=device)
        # One batch's worth at a time, and no copy of what is drawn: it would be most of the memory that a run takes.
        parts = chosen.split(self._trajectories_per_batch)
        target = torch.cat([self._targets(stored[part]) for part in parts])
        self.loss.update_normalisation(target, self.unit.value)
        horizon = target.shape[1]
        frames_chosen = (chosen.unsqueeze(-1) * horizon + torch.arange(horizon, device=device)).flatten()
        inputs = self._inputs(stored).reshape(-1)
        target = target.flatten(0, 1)

        def sample(index: Tensor) -> tuple[TensorDictBase, Tensor]:
            chosen = frames_chosen[index]
            # Much faster than indexing
            data = {key: inputs.get(key).index_select(0, chosen) for key in self.loss.estimator_network.in_keys}
            return TensorDict(data, index.shape), target.index_select(0, index)

        size = min(self.schedule.minibatch_size, len(target))
        steps = max(1, self.schedule.epochs * frames // size)
        order = torch.empty(0, dtype=torch.long, device=device)
        with self.loss.fitted() as estimator:
            target = estimator.normalise(target)
            for _ in range(steps):
                if len(order) < size:
                    order = torch.randperm(len(target), device=device)
                index, order = order[:size], order[size:]
                losses = squared_error(estimator, *sample(index))
                self.optimizer.zero_grad()
                losses.sum().backward()
                norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.schedule.max_grad_norm)
                self.optimizer.step()
            some = torch.randperm(len(target), device=device)[:frames]
            with torch.no_grad():
                errors = (error(estimator, *sample(index)).flatten(0, -4).sum(0) for index in some.split(size))
                estimator.shift(reduce(torch.add, errors) / len(some))
        self.target_updater.step()
        self.fits += 1
        return {**{key: loss.item() for key, loss in zip(self.loss.out_keys, losses)}, "grad_norm": norm.item()}

    def state_dict(self, with_buffer: bool = True) -> dict[str, Any]:
        """Estimator, lagged baselines, optimiser, buffer and counters as tensors, dicts and plain numbers.

        Args:
            with_buffer (bool): whether the buffer's content is in it. Without it, a resumed learner
                fills its buffer anew.
        """
        buffer = None
        if with_buffer and self.buffer is not None and len(self.buffer):
            # The buffer's own state would hold its whole capacity, filled or not.
            buffer = {"content": self.buffer[:].to_dict(), "writer": dict(self.buffer.writer.state_dict())}
        return {
            "loss": dict(self.loss.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "batches_seen": self.batches_seen,
            "fits": self.fits,
            "trajectories_per_batch": self._trajectories_per_batch,
            "unit": self.unit.state_dict(),
            "buffer": buffer,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state that :meth:`state_dict` gave."""
        known, saved = self.loss.state_dict(), state["loss"]
        # Tables of seats lie beside the parameters. They are what they are, and versions differ in which there are.
        tensors = {key: value for key, value in known.items() if isinstance(value, Tensor)}
        tables = {key: value for key, value in tensors.items() if not value.is_floating_point()}
        self.loss.load_state_dict({**tables, **{key: value for key, value in saved.items() if key in known}})
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches_seen = state["batches_seen"]
        self.fits = state["fits"]
        self._trajectories_per_batch = state["trajectories_per_batch"]
        if "unit" in state:
            self.unit.load_state_dict(state["unit"])
        self.buffer = None
        if state["buffer"] is not None:
            content = TensorDict(state["buffer"]["content"]).auto_batch_size_(2)
            if self.loss.future and AFTER not in content.keys():
                # Older versions kept every next state.
                content = pack(content, self.loss.estimator_network.in_keys[:-1])
            content.batch_size = content.shape[:1]
            self._extend(content)
            assert self.buffer is not None
            self.buffer.writer.load_state_dict(state["buffer"]["writer"])


def by_parts(function: Callable[[TensorDictBase], Tensor], batch: TensorDictBase) -> Tensor:
    """What ``function`` gives for a batch ``[*B]``, ``[*B, ...]``, taken by parts of it."""
    if batch.numel() <= FRAMES_AT_ONCE:
        return function(batch)
    return torch.cat([function(part) for part in batch.reshape(-1).split(FRAMES_AT_ONCE)]).unflatten(0, batch.shape)
