"""LOQA: a preset of Advantage Alignment."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarl.algorithms.common import Algorithm

from benchmarl_reciprocator.algorithms.advantage_alignment import AdvantageAlignment, AdvantageAlignmentConfig


class Loqa(AdvantageAlignment):
    """LOQA (Aghajohari et al. 2024, arXiv 2405.01035) in closed form, on :class:`~benchmarl.algorithms.Ippo`.

    The gradient of LOQA's actor is that of Advantage Alignment with other discounts: one's own one-step advantage in
    the past, weighed by what the other could have done else, and the other's advantage by its whole return. Its
    REINFORCE is PPO with one epoch and one minibatch (``experiment.on_policy_n_minibatch_iters``).
    """


@dataclass
class LoqaConfig(AdvantageAlignmentConfig):  # type: ignore[misc]  # MISSING is no default
    """Configuration dataclass for :class:`Loqa`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return Loqa

    @staticmethod
    def supports_continuous_actions() -> bool:
        # Actions are weighed by their probabilities.
        return False
