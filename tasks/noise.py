"""Noise that the tasks have in common: in what agents are paid, and in what they see."""

from __future__ import annotations

from dataclasses import dataclass, field

NOISE = "a finite number >= 0"


@dataclass
class NoiseOptions:
    """Options of every task of :class:`~benchmarl_reciprocator.tasks.environment.SocialDilemmaEnv`, 0 by default.

    Args:
        reward_noise (float): standard deviation of normal noise on every reward, in units of reward, drawn anew for
            each agent and step. It is in what agents learn from alone: evaluation, cross-play and whatever else
            scores agents pays them without it.
        observation_noise (float): standard deviation of normal noise on every number of an observation; in matrix
            games, the probability that an agent sees a uniformly random joint action in place of the last one, drawn
            anew for each agent and step. Agents are scored with it. The global state, which centralised critics and the
            influence estimator read, is without.
    """

    reward_noise: float = field(default=0.0, kw_only=True)
    observation_noise: float = field(default=0.0, kw_only=True)

    def noise(self) -> dict[str, float]:
        """The environment's keyword arguments for these."""
        return {"reward_noise": self.reward_noise, "observation_noise": self.observation_noise}
