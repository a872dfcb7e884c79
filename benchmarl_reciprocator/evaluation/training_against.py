"""Trains somebody against an agent of a checkpoint, which stays as it is or goes on learning."""

from __future__ import annotations

import logging
import warnings
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from benchmarl.algorithms import algorithm_config_registry
from benchmarl.experiment import Experiment, ExperimentConfig

from benchmarl_reciprocator.agents.devices import device_here, on_device
from benchmarl_reciprocator.agents.setup import CO_PLAYERS, Setup, read_setup
from benchmarl_reciprocator.algorithms.mixed import MixedConfig
from benchmarl_reciprocator.algorithms.reciprocity.callback import STATE_KEY, Reciprocity
from benchmarl_reciprocator.evaluation.checkpoints import Checkpoint
from benchmarl_reciprocator.plugin.benchmarl_private import without_progress_bar
from benchmarl_reciprocator.tasks.groups import seats
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass


@dataclass(frozen=True)
class Exploiter:
    """Who is trained against the focal agents.

    Args:
        algorithm (str): name in BenchMARL's registry.
        budget (int): iterations of training.
        options (dict): of the algorithm, in place of its yaml's.
        experiment (dict): options of the experiment in place of those that the focal agent was trained with.
    """

    algorithm: str
    budget: int
    options: dict[str, Any] = field(default_factory=dict)
    experiment: dict[str, Any] = field(default_factory=dict)


def train_against(
    checkpoint: Checkpoint,
    place: int,
    task: SocialDilemmaClass,
    exploiter: Exploiter,
    folder: Path,
    frozen: bool,
    device: str | None = None,
) -> Experiment:
    """Train an exploiter in all seats but that of the focal agent, with the models and settings of the checkpoint.

    Args:
        checkpoint (Checkpoint): of the focal agent.
        place (int): which of its agents that is, by the seat that it was trained in, which it keeps.
        task (SocialDilemmaClass): the game.
        exploiter (Exploiter): who is trained.
        folder (Path): where the experiment goes.
        frozen (bool): whether the focal agent stays as it is; else it goes on learning with its own algorithm, from its
            networks and its estimator.
        device (str, optional): where all of it is; default: where the focal agent was trained, if this machine has such
            a device, else on the CPU.

    Returns:
        Experiment: after training.
    """
    setup = read_setup(checkpoint.file)
    group_map = task.options.make_env(1, "cpu", seed=0).group_map
    if frozen:
        name, options = "frozen", {"checkpoint": str(checkpoint.file.resolve()), "agent": place}
    else:
        name, options = _own_algorithm(checkpoint, place)
    learner = exploiter.algorithm if frozen else _of_a_kind(exploiter.algorithm, name)
    # A population has one set of options for each algorithm: where both are of one, the focal agent's.
    overrides = {learner: exploiter.options} | {name: options}
    algorithm = MixedConfig(
        focal=name,
        others=learner,
        n_focal=1,
        groups={group: name if seat == place else learner for seat, group in enumerate(group_map)},
        tuning=None,
        overrides=overrides,
    )
    config = deepcopy(setup.experiment)
    # These two meet each other and nobody else.
    vars(config).pop(CO_PLAYERS, None)
    patch = {
        **_devices(config, device),
        "max_n_iters": exploiter.budget,
        "max_n_frames": None,
        "save_folder": str(folder),
        "restore_file": None,
        "loggers": [],
        "create_json": True,
        "render": False,
        "evaluation": True,
        "checkpoint_at_end": True,
        "checkpoint_interval": 0,
        # A learner that goes on no longer explores as it did at first.
        **({} if frozen else {"exploration_eps_init": config.exploration_eps_end}),
        **exploiter.experiment,
    }
    for key, value in patch.items():
        if not hasattr(config, key):
            raise ValueError(
                f"experiment.{key} must be an option of BenchMARL's experiments: {', '.join(vars(config))}"
            )
        setattr(config, key, value)
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):
            warnings.filterwarnings("ignore", category=category)
        experiment = Experiment(
            task=task,
            algorithm_config=algorithm,
            model_config=setup.model,
            critic_model_config=setup.critic_model,
            seed=setup.seed,
            config=config,
        )
        if not frozen:
            go_on(experiment, checkpoint.file, setup, place)
        # There is one bar, over all meetings.
        with without_progress_bar():
            experiment.run()
    return experiment


def _devices(config: ExperimentConfig, device: str | None) -> dict[str, str]:
    """Where an experiment is trained: on ``device``, else as ``config`` says, as far as this machine has it."""
    return {key: device or device_here(getattr(config, key)) for key in on_device("cpu")}


def go_on(experiment: Experiment, checkpoint: Path, setup: Setup, place: int) -> None:
    """Let one agent of a checkpoint go on where it was, in a group of its own.

    Args:
        experiment (Experiment): with a group for each agent.
        checkpoint (Path): whose networks, estimator and count of frames are taken over.
        setup (Setup): of the checkpoint.
        place (int): which agent: the same in both.

    Raises:
        ValueError: if its policy does not fit.
    """
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
    their_map = SocialDilemmaClass(setup.task.name, setup.options).options.make_env(1, "cpu", seed=0).group_map
    theirs, members = next(item for item in seats(their_map).items() if item[1].start <= place < item[1].stop)
    group = list(experiment.group_map)[place]
    loss = experiment.losses[group]
    state, source = loss.state_dict(), saved[f"loss_{theirs}"]
    fresh = []
    for key, value in state.items():
        if not torch.is_tensor(value):
            continue
        fitting = _of_agent(source.get(key), value, place - members.start, members.stop - members.start)
        if fitting is None:
            fresh.append(key)
        else:
            state[key] = fitting
    policy = [key for key in fresh if "critic" not in key and "mixer" not in key]
    if policy:
        raise ValueError(f"the policy of {checkpoint} does not fit into a group of one ({', '.join(policy)})")
    if fresh:
        warnings.warn(
            f"{checkpoint}: the critic or mixer of all agents does not fit an agent on its own, and begins anew",
            stacklevel=2,
        )
    loss.load_state_dict(state)
    if not experiment.config.collect_with_grad:
        experiment.collector.update_policy_weights_()
    experiment.total_frames = saved["state"]["total_frames"]
    if STATE_KEY in saved and any(isinstance(callback, Reciprocity) for callback in experiment.callbacks):
        Reciprocity.of(experiment).learner.load_state_dict(saved[STATE_KEY]["learner"])


def _of_agent(saved: torch.Tensor | None, wanted: torch.Tensor, index: int, n_agents: int) -> torch.Tensor | None:
    """A parameter of one agent: shared, or the agent's own of a stack; ``None`` where it does not fit."""
    if saved is None:
        return None
    if saved.shape == wanted.shape:
        return saved
    stacked = saved.ndim > 0 and saved.shape[0] == n_agents and wanted.shape == (1, *saved.shape[1:])
    return saved[index : index + 1] if stacked else None


def _own_algorithm(checkpoint: Checkpoint, place: int) -> tuple[str, dict[str, Any]]:
    """Name and options of the algorithm that trained an agent."""
    config = checkpoint.algorithm
    if isinstance(config, MixedConfig):
        name = next(name for name, own in checkpoint.seats_by_member().items() if place in own)
        return name, dict(vars(config.member_configs()[name]))
    name = next(name for name, known in algorithm_config_registry.items() if type(config) is known)
    return name, dict(vars(config))


def _of_a_kind(exploiter: str, focal: str) -> str:
    """The exploiter's algorithm, or independent Q-learning where the focal agent's is off-policy: both kinds do not
    learn in one experiment.
    """
    on_policy = algorithm_config_registry[focal].on_policy()
    return exploiter if algorithm_config_registry[exploiter].on_policy() == on_policy else "iql"
