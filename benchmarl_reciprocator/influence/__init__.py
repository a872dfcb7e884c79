"""The parts of the Reciprocator that know TorchRL only: usable without BenchMARL and without this package's tasks."""

from benchmarl_reciprocator.influence.balance import (
    DEBITS,
    OVER_OTHERS,
    RECIPROCAL_FORMS,
    balance_change,
    influence_balance,
    reciprocal_reward,
    value_influence,
)
from benchmarl_reciprocator.influence.estimator import InfluenceEstimator
from benchmarl_reciprocator.influence.ground_truth import agreement, exact_influence, unilateral_deviations
from benchmarl_reciprocator.influence.learner import InfluenceLearner, InfluenceSchedule
from benchmarl_reciprocator.influence.loss import InfluenceLoss
from benchmarl_reciprocator.influence.observed_balance import ObservedBalance

__all__ = [
    "DEBITS",
    "OVER_OTHERS",
    "RECIPROCAL_FORMS",
    "InfluenceEstimator",
    "InfluenceLearner",
    "InfluenceLoss",
    "InfluenceSchedule",
    "ObservedBalance",
    "agreement",
    "balance_change",
    "exact_influence",
    "influence_balance",
    "reciprocal_reward",
    "unilateral_deviations",
    "value_influence",
]
