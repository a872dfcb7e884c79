"""Advantage Alignment: independent PPO whose advantages are aligned with those of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import Ippo, IppoConfig
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.alignment.advantages import (
    alignment_term,
    centred_advantage,
    past_contributions,
    past_weights,
)
from benchmarl_reciprocator.algorithms.alignment.callback import KEY, Alignments
from benchmarl_reciprocator.algorithms.alignment.config import AlignmentOptions
from benchmarl_reciprocator.algorithms.alignment.joint_advantages import JointAdvantages
from benchmarl_reciprocator.algorithms.intrinsic.joint import Carried, options_of
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment


class AdvantageAlignment(Ippo):
    """Advantage Alignment (Duque et al. 2025, arXiv 2406.14662) on :class:`~benchmarl.algorithms.Ippo`.

    PPO on the agent's own advantage plus ``beta`` times what went well for it in the past times the others' present
    advantages: it makes likelier what is good for others who were good to it. The critic learns what IPPO's does. The
    options are those of :class:`AlignmentOptions` and of :class:`~benchmarl.algorithms.Ippo`.

    Args:
        experiment (Experiment): the experiment.
        **options: those options.

    Raises:
        ValueError: if an option is not what it must be.
    """

    def __init__(self, experiment: Experiment, **options: Any) -> None:
        self.options: AlignmentOptions = options_of(AlignmentOptions, options)
        super().__init__(experiment=experiment, **options)
        # What the past is summed up to after the last batch, [*B, N, N], in units of reward: a deviation changes from
        # batch to batch.
        self._past = Carried()
        self._alignments: Alignments | None = None
        if self.options.alignment_weight > 0:
            self._alignments = Alignments.of(experiment)
            self._alignments.algorithms.append(self)

    @torch.no_grad()
    def aligned(
        self, joint: JointAdvantages, step: Tensor, influence: Tensor | None, probability: Tensor | None
    ) -> tuple[Tensor, dict[str, float]]:
        """What each agent would learn from if it learned by this algorithm.

        Args:
            joint (JointAdvantages): of a batch ``[*B, T]`` that goes on from the last.
            step (Tensor): integers ``[*B, T]``: how many steps of its episode came before each step.
            influence (Tensor, optional): value influence, ``[*B, T, N, N]``, in place of the advantage in the past.
            probability (Tensor, optional): of the actions that agents took, ``[*B, T, N]``, for the opponent weight.

        Returns:
            tuple: the aligned advantage ``[*B, T, N]``, in units of reward; and what is to be logged.
        """
        options = self.options
        centre = options.alignment_centre
        own, scale = centred_advantage(joint.by_lambda(options.alignment_past_lambda), step, centre, joint.left_out)
        other, _ = centred_advantage(joint.by_lambda(options.alignment_other_lambda), step, centre, joint.left_out)
        if influence is not None:
            # It is measured against earlier behaviour: as all defect more than before, all that happens looks bad.
            whose = joint.left_out.unsqueeze(-1).expand_as(influence).flatten(-2)
            pairs, _ = centred_advantage(influence.flatten(-2), step, centre, whose)
            influence = pairs.view_as(influence)
            # Where everybody has settled there is next to none, and its deviation is that of its errors.
            scale = torch.ones_like(scale)
        gamma = joint.gamma * options.alignment_lambda
        past, self._past.value = past_weights(
            past_contributions(own, influence, probability),
            joint.done,
            step,
            gamma,
            form=options.alignment_form,
            initial=self._past.initial(joint.done.shape[:-1]),
        )
        discount = {"discounted": gamma, "trace": joint.gamma}.get(options.alignment_form, 1.0)
        added = options.alignment_weight * discount / scale * alignment_term(past, other)
        size, plain = added.abs().mean(), joint.advantage.abs().mean()
        told = {
            "share": (size / (size + plain).clamp(min=1e-12)).item(),
            "past": past.mean().item(),
            "deviation": scale.item(),
        }
        return joint.advantage + added, told

    def process_batch(self, group: str, batch: TensorDictBase) -> TensorDictBase:
        aligned = batch.pop((group, KEY), None)
        if aligned is None or self._alignments is None:
            return super().process_batch(group, batch)
        return self._alignments.take(group, batch).set((group, "advantage"), aligned)


@dataclass
class AdvantageAlignmentConfig(ConfigFromYaml, AlignmentOptions, IppoConfig):  # type: ignore[misc]  # MISSING is no default
    """Configuration dataclass for :class:`AdvantageAlignment`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return AdvantageAlignment
