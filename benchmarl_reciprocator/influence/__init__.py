"""The parts of the Reciprocator that know TorchRL only: usable without BenchMARL and without this package's tasks."""

from benchmarl_reciprocator.influence.balance import (
    DEBITS,
    RECIPROCAL_FORMS,
    influence_balance,
    reciprocal_reward,
    value_influence,
)
from benchmarl_reciprocator.influence.estimator import InfluenceEstimator
from benchmarl_reciprocator.influence.learner import InfluenceLearner, InfluenceSchedule
from benchmarl_reciprocator.influence.loss import InfluenceLoss

__all__ = [
    "DEBITS",
    "RECIPROCAL_FORMS",
    "InfluenceEstimator",
    "InfluenceLearner",
    "InfluenceLoss",
    "InfluenceSchedule",
    "influence_balance",
    "reciprocal_reward",
    "value_influence",
]
