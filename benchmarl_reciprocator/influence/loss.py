"""TorchRL loss of the value-influence estimator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from tensordict import TensorDict, TensorDictBase, TensorDictParams
from tensordict.utils import NestedKey
from torch import Tensor
from torchrl.objectives.common import LossModule
from torchrl.objectives.value.functional import td_lambda_return_estimate, vec_td_lambda_return_estimate

from benchmarl_reciprocator.influence.estimator import InfluenceEstimator
from benchmarl_reciprocator.influence.unit import SMALLEST


class InfluenceLoss(LossModule):
    """Squared error of all predictions of an :class:`InfluenceEstimator`, full and counterfactual.

    The mean is the quantity that a counterfactual baseline is defined by, hence the squared error. The loss keeps
    target parameters (:meth:`lagged`): value influence is read off those, so that a baseline is refreshed only when a
    target updater of TorchRL (:class:`~torchrl.objectives.HardUpdate`, :class:`~torchrl.objectives.SoftUpdate`) says
    so. The lag keeps a recent change of an agent's behaviour visible as influence instead of explaining it away.

    Args:
        estimator_network (InfluenceEstimator): the estimator.

    Keyword Args:
        gamma (float): discount of the return.
        lmbda (float): the lambda of the TD(lambda) targets of the future; 1 is Monte Carlo.

    Keys read by :meth:`forward`: ``"state"`` ``[*B, S]`` (or what the encoder reads), ``"action"`` ``[*B, N, A]`` and
    ``"target"`` ``[*B, N, P]`` as :meth:`targets` gives it.

    Keys written: ``"loss_reward"`` and, where the future is predicted, ``"loss_future"``, scalars: mean squared
    error in units of the targets' variance, summed over the ``V`` predictions (with shared parameters, over those from
    two seats drawn at random).

    Raises:
        ValueError: on a ``gamma`` or ``lmbda`` outside ``[0, 1]``.

    Examples:
        >>> estimator = InfluenceEstimator(n_agents=2, state_features=3, action_features=2)
        >>> loss = InfluenceLoss(estimator, gamma=0.99)
        >>> data = TensorDict({"state": torch.zeros(8, 3), "action": torch.zeros(8, 2, 2)}, [8])
        >>> data["target"] = torch.ones(8, 2, 2)
        >>> sorted(loss(data).keys())
        ['loss_future', 'loss_reward']
    """

    @dataclass
    class _AcceptedKeys:
        """Maps default values for all configurable tensordict keys."""

        target: NestedKey = "target"
        reward: NestedKey = "reward"
        done: NestedKey = "done"
        terminated: NestedKey = "terminated"

    default_keys = _AcceptedKeys
    tensor_keys: _AcceptedKeys

    estimator_network: InfluenceEstimator
    estimator_network_params: TensorDictParams
    target_estimator_network_params: TensorDictParams

    def __init__(
        self,
        estimator_network: InfluenceEstimator,
        *,
        gamma: float,
        lmbda: float = 1.0,
    ) -> None:
        super().__init__()
        for name, value in (("gamma", gamma), ("lmbda", lmbda)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be a number from 0 to 1, but is {value!r}")
        self.convert_to_functional(estimator_network, "estimator_network", create_target_params=True)
        self.gamma = gamma
        self.lmbda = lmbda
        self.future = estimator_network.future

    @property
    def in_keys(self) -> list[NestedKey]:
        return [*self.estimator_network.in_keys, self.tensor_keys.target]

    @property
    def out_keys(self) -> list[str]:
        return ["loss_reward", "loss_future"] if self.future else ["loss_reward"]

    @contextmanager
    def fitted(self) -> Iterator[InfluenceEstimator]:
        """The estimator with the parameters that are trained, as long as the context lasts."""
        with self.estimator_network_params.to_module(self.estimator_network):
            yield self.estimator_network

    @contextmanager
    def lagged(self) -> Iterator[InfluenceEstimator]:
        """The estimator with the target parameters, by which value influence is told, as long as the context lasts."""
        with self.target_estimator_network_params.to_module(self.estimator_network):
            yield self.estimator_network

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        with self.fitted() as estimator:
            target = estimator.normalise(tensordict.get(self.tensor_keys.target))
            losses = squared_error(estimator, tensordict, target)
        return TensorDict(dict(zip(self.out_keys, losses)), [])

    @torch.no_grad()
    def targets(self, tensordict: TensorDictBase, next_value: Tensor | None = None) -> Tensor:
        """Regression targets of a batch of trajectories.

        The future target is the discounted return from the NEXT step on. It is discounted once, where
        the authors' public code discounts it twice. It stops where an episode terminates, and bootstraps with
        the estimator's own state value where it is truncated and where the batch ends in mid-episode.

        Args:
            tensordict (TensorDictBase): ``[*B, T]`` with ``("next", "reward")`` ``[*B, T, N]``, ``("next", "done")``
                and ``("next", "terminated")`` ``[*B, T, 1]``, and, where the future is predicted, the estimator's
                input under ``"next"``.
            next_value (Tensor, optional): value of the next states, ``[*B, T, N]``, where it is known. Default: the
                estimator's.

        Returns:
            Tensor: ``[*B, T, N, P]``: the reward and, where the future is predicted, ``gamma F``.
        """
        reward = tensordict.get(("next", self.tensor_keys.reward))
        if not self.future:
            return reward.unsqueeze(-1)
        if next_value is None:
            with self.fitted() as estimator:
                next_value = estimator.state_value(tensordict.get("next"), estimator.sample_seats())
        # The vectorised estimate divides by gamma * lmbda.
        estimate = vec_td_lambda_return_estimate if self.gamma * self.lmbda > 0 else td_lambda_return_estimate
        returns = estimate(
            self.gamma,
            self.lmbda,
            next_value,
            reward,
            tensordict.get(("next", self.tensor_keys.done)).expand(reward.shape),
            tensordict.get(("next", self.tensor_keys.terminated)).expand(reward.shape),
        )
        return torch.stack([reward, returns - reward], dim=-1)

    @torch.no_grad()
    def update_normalisation(self, target: Tensor, unit: float = 1.0) -> None:
        """Standardise by ``target`` ``[*B, N, P]`` from here on, see :meth:`InfluenceEstimator.update_normalisation`.

        No prediction changes. The target parameters follow, since TorchRL's updaters copy trained entries only and
        mixing weights made for different units would be wrong.
        """
        for parameters in (self.fitted, self.lagged):
            with parameters() as estimator:
                estimator.update_normalisation(target, unit)

    @torch.no_grad()
    def start_in_units(self, unit: float) -> None:
        """Give what a new estimator predicts before its first fit the size of the rewards, ``unit``."""
        for parameters in (self.fitted, self.lagged):
            with parameters() as estimator:
                estimator.target_std.fill_(unit)

    @torch.no_grad()
    def explained_variance(self, tensordict: TensorDictBase, unit: float = 1.0) -> dict[str, Tensor]:
        """Share of the targets' variance that the full prediction explains, by part; below 0 it is worse than the mean.

        Args:
            tensordict (TensorDictBase): as for :meth:`forward`.
            unit (float): see :meth:`InfluenceEstimator.update_normalisation`.

        Returns:
            dict[str, Tensor]: a scalar for ``"reward"`` and, where it is predicted, ``"future"``.
                ``nan`` where the target does not vary.
        """
        target = tensordict.get(self.tensor_keys.target)
        with self.fitted() as estimator:
            prediction = estimator.full(tensordict, estimator.sample_seats())
        error = (prediction - target).pow(2).flatten(0, -3).mean(0)
        variance = target.flatten(0, -3).var(0, unbiased=False)
        varies = variance > (SMALLEST * unit) ** 2
        share = torch.where(varies, 1 - error / variance, torch.nan).nanmean(0)
        return dict(zip(("reward", "future"), share))

    def make_value_estimator(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("the targets of InfluenceLoss come from InfluenceLoss.targets")


def squared_error(estimator: InfluenceEstimator, tensordict: TensorDictBase, target: Tensor) -> Tensor:
    """What :class:`InfluenceLoss` minimises, by part, ``[P]``. Arguments as for :func:`error`."""
    # Two seats drawn at random, where parameters are shared by more
    errors = error(estimator, tensordict, target, estimator.sample_seats())
    return errors.flatten(0, -4).square().mean((0, 2)).sum(0)


def error(
    estimator: InfluenceEstimator, tensordict: TensorDictBase, target: Tensor, seats: Tensor | None = None
) -> Tensor:
    """Standardised targets minus predictions, ``[*B, V, N, P]``.

    Args:
        estimator (InfluenceEstimator): the estimator.
        tensordict (TensorDictBase): ``[*B]`` with the estimator's inputs.
        target (Tensor): standardised, ``[*B, N, P]``.
        seats (Tensor, optional): see :class:`~benchmarl_reciprocator.influence.SharedInfluenceEstimator`.
    """
    return target.unsqueeze(-3) - estimator.standardised(tensordict, seats)
