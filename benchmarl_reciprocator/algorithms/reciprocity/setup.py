"""What an experiment's reciprocity needs before the first batch: a task that fits, and the estimator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarl_reciprocator.algorithms.reciprocity.config import EstimatorOptions
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import JointView
from benchmarl_reciprocator.algorithms.reciprocity.observation_encoder import ObservationEncoder
from benchmarl_reciprocator.influence import (
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    SharedInfluenceEstimator,
)

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment

STATE_KEY = "reciprocity"


def check_task(experiment: Experiment) -> None:
    """Raise one ``ValueError`` if there is nobody to reciprocate with, or a group without a reward."""
    n_agents = sum(len(agents) for agents in experiment.group_map.values())
    if n_agents < 2:
        raise ValueError(
            f"task must be one with at least 2 agents for algorithm={experiment.algorithm_name}, but is "
            f"{experiment.task_name!r} with {n_agents}"
        )
    rewards = set(experiment.test_env.reward_keys)
    for group in experiment.group_map:
        if (group, "reward") not in rewards and "reward" not in rewards:
            raise ValueError(
                f"task must be one with a reward for every group for algorithm={experiment.algorithm_name}, but "
                f"{experiment.task_name!r} gives group {group!r} none (it has {sorted(map(str, rewards))})"
            )


def seats_are_alike(experiment: Experiment) -> bool:
    """Whether the game is the same from every seat. A task that does not say is taken to be."""
    return getattr(experiment.test_env, "interchangeable_seats", True)


def make_view(experiment: Experiment, options: EstimatorOptions | None = None) -> JointView:
    """The joint view of the experiment's batches that an estimator with these options takes; without any, with the
    state as one vector.
    """
    return JointView(
        experiment.group_map,
        experiment.observation_spec,
        experiment.state_spec,
        experiment.action_spec,
        experiment.max_steps,
        flat=options is None or options.estimator_encoder is None,
        in_a_row=options is not None and options.estimator_share_params,
    )


def make_learner(
    experiment: Experiment, view: JointView, options: EstimatorOptions, reward_unit: float | str = 1.0
) -> InfluenceLearner:
    """The estimator of an experiment, with its loss and schedule.

    Raises:
        ValueError: on parameters to be shared by agents that are not in the same position, or a bad encoder.
    """
    if options.estimator_share_params and not (seats_are_alike(experiment) and view.alike):
        raise ValueError(
            f"algorithm.estimator_share_params must be false with task={experiment.task_name!r}, but is True: sharing "
            "needs a game that is the same from every seat, with agents that observe and act alike"
        )
    encoder, features = None, view.state_features
    if options.estimator_encoder is not None:
        encoder = ObservationEncoder(
            experiment,
            view,
            model=options.estimator_encoder,
            options=options.estimator_encoder_options or {},
            width=options.estimator_encoder_features,
            share_params=options.estimator_share_params,
        )
        features = encoder.features
    arguments: dict[str, Any] = {
        "n_agents": view.n_agents,
        "state_features": features,
        "action_features": view.action_features,
        "num_cells": options.estimator_num_cells,
        "future": options.future_influence,
        "encoder": encoder,
        "device": experiment.config.train_device,
    }
    if options.estimator_share_params:
        # How much of the episode has passed belongs to nobody.
        estimator: InfluenceEstimator = SharedInfluenceEstimator(common_features=1, **arguments)
    else:
        estimator = InfluenceEstimator(**arguments)
    loss = InfluenceLoss(estimator, gamma=experiment.config.gamma, lmbda=options.estimator_lmbda)
    schedule = InfluenceSchedule(
        buffer_batches=options.buffer_batches,
        buffer_reservoir=options.buffer_reservoir,
        target_period=options.target_period,
        warmup=options.warmup,
        polyak_tau=options.estimator_polyak_tau,
        lr=options.estimator_lr,
        epochs=options.estimator_epochs,
        minibatch_size=options.estimator_minibatch_size,
        max_grad_norm=options.estimator_max_grad_norm,
    )
    return InfluenceLearner(loss, schedule, reward_unit)


def identity(experiment: Experiment) -> dict[str, Any]:
    """What a checkpoint must have in common with the experiment that it is loaded into."""
    return {
        "algorithm": experiment.algorithm_name,
        "groups": {group: len(agents) for group, agents in experiment.group_map.items()},
    }


def check_checkpoint(experiment: Experiment) -> None:
    """Refuse a checkpoint that is not this experiment's, before BenchMARL loads a part of it.

    Raises:
        ValueError: if it is of an algorithm without reciprocity, or of another algorithm or other groups.
    """
    file = experiment.config.restore_file
    if file is None:
        return
    saved = torch.load(file, map_location="cpu", weights_only=True, mmap=True).get(STATE_KEY)
    if saved is None:
        raise ValueError(
            f"experiment.restore_file must be a checkpoint of {experiment.algorithm_name}, but is one of an algorithm "
            f"without reciprocity: {file!r}"
        )
    for key, value in identity(experiment).items():
        if saved[key] != value:
            raise ValueError(
                f"experiment.restore_file must be a checkpoint with {key}={value!r}, but is one with {saved[key]!r}: "
                f"{file!r}"
            )
