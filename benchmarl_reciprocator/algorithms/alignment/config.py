"""The options of Advantage Alignment."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarl_reciprocator.algorithms.alignment.advantages import CENTRES, FORMS
from benchmarl_reciprocator.algorithms.reciprocity.config import EstimatorOptions, choice, number

OPPONENT_WEIGHTS = ("none", "loqa", "softmax")
PASTS = ("advantage", "influence")


@dataclass
class AlignmentOptions(EstimatorOptions):
    """What is added to an agent's advantage, and the estimator that is fitted if ``alignment_past`` is ``influence``.

    Args:
        alignment_weight (float): of the aligned part, the authors' beta; 0: IPPO. Without unit where the past is made
            of centred advantages, by whose deviation it is divided; else in 1 / reward.
        alignment_form (str): how the past is summed up: mean | discounted | absolute | trace, see
            :func:`~benchmarl_reciprocator.algorithms.alignment.advantages.past_weights`.
        alignment_lambda (float): the past is discounted by ``experiment.gamma`` times this a step.
        alignment_centre (str): what is taken off advantages and influence before they are multiplied: step | batch |
            none, see
            :func:`~benchmarl_reciprocator.algorithms.alignment.advantages.centred_advantage`.
        alignment_past (str): how well a step went for an agent: its advantage (as published) | the value influence that
            the other had on it, so that what it did itself is averaged out.
        alignment_opponent_weight (str): whether another agent counts by what it could have done else: none | loqa (one
            minus the probability of its action) | softmax (that of a softmax of its action values, which are learned).
        alignment_past_lambda (float, optional): GAE lambda of the advantages that the past is made of; null: that of
            their learner.
        alignment_other_lambda (float, optional): the same of the other's present advantage.
    """

    alignment_weight: float = field(metadata=number(least=0))
    alignment_form: str = field(metadata=choice(FORMS))
    alignment_lambda: float = field(metadata=number(least=0, most=1))
    alignment_centre: str = field(metadata=choice(CENTRES))
    alignment_past: str = field(metadata=choice(PASTS))
    alignment_opponent_weight: str = field(metadata=choice(OPPONENT_WEIGHTS))
    alignment_past_lambda: float | None = field(metadata=number(least=0, most=1, null=True))
    alignment_other_lambda: float | None = field(metadata=number(least=0, most=1, null=True))
