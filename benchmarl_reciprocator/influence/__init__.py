"""The parts of the Reciprocator that know TorchRL only: usable without BenchMARL and without this package's tasks."""

from benchmarl_reciprocator.influence.balance import (
    DEBITS,
    OVER_OTHERS,
    RECIPROCAL_FORMS,
    influence_balance,
    next_balance,
    reciprocal_reward,
    value_influence,
)
from benchmarl_reciprocator.influence.estimator import InfluenceEstimator, SharedInfluenceEstimator
from benchmarl_reciprocator.influence.ground_truth import agreement, exact_influence, unilateral_deviations
from benchmarl_reciprocator.influence.learner import InfluenceLearner, InfluenceSchedule
from benchmarl_reciprocator.influence.loss import InfluenceLoss
from benchmarl_reciprocator.influence.observed_balance import ObservedBalance
from benchmarl_reciprocator.influence.reservoir import ReservoirWriter
from benchmarl_reciprocator.influence.unit import RewardUnit

__all__ = [
    "DEBITS",
    "OVER_OTHERS",
    "RECIPROCAL_FORMS",
    "InfluenceEstimator",
    "InfluenceLearner",
    "InfluenceLoss",
    "InfluenceSchedule",
    "ObservedBalance",
    "ReservoirWriter",
    "RewardUnit",
    "SharedInfluenceEstimator",
    "agreement",
    "exact_influence",
    "influence_balance",
    "next_balance",
    "reciprocal_reward",
    "unilateral_deviations",
    "value_influence",
]
