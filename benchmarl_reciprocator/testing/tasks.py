"""Checks of tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from types import ModuleType
from typing import Any

import torch
from benchmarl.environments import task_config_registry
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator.agents.play import joint_observations
from benchmarl_reciprocator.agents.setup import read_task_file
from benchmarl_reciprocator.plugin.registration import register, register_task
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.players import Player
from benchmarl_reciprocator.tasks.social_outcome import social_outcome
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass
from benchmarl_reciprocator.testing.experiments import (
    act,
    evaluations_of,
    overrides_for,
    require,
    small_experiment,
    task_of,
    telling,
    temporary_folder,
)
from benchmarl_reciprocator.testing.players import check_player

# What a measure of cooperation counts may be rare: then it is looked for in longer play.
N_ENVS, STEPS, MORE_STEPS = 5, 24, 128
# What an environment offers beside TorchRL's interface.
NEEDED = ("n_agents", "n_actions", "max_steps", "group_map", "interchangeable_seats", "state")
# One of each kind: a critic for each agent, a central one, a mixer, neither, and reciprocity.
ALGORITHMS = ("ippo", "mappo", "qmix", "iql", "reciprocator")


def check_task(task: str | ModuleType, algorithms: Sequence[str] = ALGORITHMS) -> None:
    """Check that a social dilemma does all that this package and BenchMARL expect of one.

    Its options and their yaml, the environment's specs, seeds and partial resets, its metrics and its measure of
    cooperation, its scripted players, the seats that it says are interchangeable, and two iterations of training by
    each kind of algorithm. It needs no preset; one of its name is used.

    Args:
        task (str or module): its name, without ``social_dilemmas/``, or the module that defines its ``TaskConfig``,
            which is registered if it is not yet.
        algorithms (sequence of str): by which it is trained.

    Raises:
        AssertionError: with what is to be mended.
    """
    register()
    name = task if isinstance(task, str) else task.__name__.rpartition(".")[2]
    with telling(f"task {name}"):
        if isinstance(task, ModuleType) and f"{SocialDilemmaClass.env_name()}/{name}" not in task_config_registry:
            register_task(task)
        made = task_of(name)
        _check_options(made)
        _check_environment(made)
        _check_seeds_and_resets(made)
        _check_metrics(made)
        _check_seats(made)
        for player, make in made.players().items():
            if _can_play(make):
                check_player(player, made)
    for algorithm in algorithms:
        with telling(f"task {name} with algorithm={algorithm}"):
            _check_training(made, algorithm)


def _can_play(make: Callable[[], Player]) -> bool:
    """Whether a player can be made: the maker of one that cannot play with such options raises ``ValueError``."""
    try:
        make()
    except ValueError:
        return False
    return True


def _check_options(task: SocialDilemmaClass) -> None:
    names = {field.name for field in fields(type(task.options))}
    require(
        set(task.config) == names,
        f"yaml and TaskConfig must have the same options, but differ in {', '.join(sorted(set(task.config) ^ names))}",
    )
    for option, value in task.config.items():
        require(value != "???", f"task.{option} must have a value in its yaml or a default in TaskConfig")
    version = task.version
    require(isinstance(version, int) and version >= 1, f"version must be an integer >= 1, but is {version!r}")
    for key, value in task.bounds().items():
        require(
            isinstance(value, float) and math.isfinite(value), f"bounds()[{key!r}] must be finite, but is {value!r}"
        )


def _check_environment(task: SocialDilemmaClass) -> None:
    for grouping in ("per_agent", "one_group") if "grouping" in task.config else (None,):
        env = _env(task, grouping=grouping)
        missing = [name for name in NEEDED if not hasattr(env, name)]
        require(
            isinstance(env, EnvBase) and not missing,
            f"make_env must give a tasks.environment.SocialDilemmaEnv, or an environment of TorchRL with "
            f"{', '.join(NEEDED)}, but gives {type(env).__name__}{' without ' if missing else ''}{', '.join(missing)}",
        )
        require(env.n_agents >= 2, f"it must have at least 2 agents, but has {env.n_agents}")
        with telling("TorchRL's check_env_specs refuses the environment"):
            check_env_specs(env)
        if len(set(env.n_actions)) > 1:
            # Agents with different numbers of actions are no group.
            break
    observations = joint_observations(env, env.reset())
    require(
        observations.dtype == torch.float32 == env.state().dtype,
        f"observations and state must be float32, but are {observations.dtype} and {env.state().dtype}",
    )


def _check_seeds_and_resets(task: SocialDilemmaClass) -> None:
    first, second = (_rollout(_env(task, seed=7), actions_seed=3) for _ in range(2))
    for key in first.keys(True, True):
        require(
            torch.equal(first.get(key), second.get(key)),
            f"the same seed and actions must give the same episodes, but {key} differs: draw all random numbers by "
            "self.random and self.random_normal, and begin anew wherever start() says so",
        )
    env = _env(task)
    tensordict = env.reset()
    for _ in range(2):
        env.step(act(tensordict, _random_actions(env, torch.Generator().manual_seed(0)), env))
    before = env.state().clone()
    where = torch.arange(N_ENVS) % 2 == 0
    env.reset(TensorDict({"_reset": where.unsqueeze(-1)}, [N_ENVS]))
    require(
        torch.equal(before[~where], env.state()[~where]),
        "start(where) must leave the environments that are not in where as they are, but their state changed",
    )


def _check_metrics(task: SocialDilemmaClass) -> None:
    env = _env(task)
    batch = _rollout(env)
    valid = torch.ones(batch.shape, dtype=torch.bool)
    metrics = task.options.metrics(batch, valid)
    taken = {*social_outcome(joint_entry(batch, "next", "reward")), *(f"agent_{i}_return" for i in range(env.n_agents))}
    for name, value in metrics.items():
        require(isinstance(value, Tensor), f"metrics()[{name!r}] must be a tensor, but is {type(value).__name__}")
        require(
            value.shape == (N_ENVS,),
            f"metrics()[{name!r}] must be of shape [E], a value for each of E={N_ENVS} episodes, but is of "
            f"{list(value.shape)}",
        )
        require(not value.isinf().any(), f"metrics()[{name!r}] must be finite, or nan where it is undefined")
        require(name not in taken, f"metrics() must have names of their own, but {name!r} is what every task measures")
    half = batch.shape[1] // 2
    valid[:, half:] = False
    padded, short = (task.options.metrics(*of) for of in ((batch, valid), (batch[:, :half], valid[:, :half])))
    for name in metrics:
        require(
            torch.allclose(padded[name].float(), short[name].float(), equal_nan=True, atol=1e-5),
            f"metrics()[{name!r}] must leave out the steps where valid is False, which pad an episode that has ended",
        )
    measure = task.cooperation
    if isinstance(measure, CooperationMeasure) and metrics.get(measure.metric, torch.zeros(1)).isnan().all():
        batch = _rollout(env, steps=MORE_STEPS)
        metrics = task.options.metrics(batch, torch.ones(batch.shape, dtype=torch.bool))
    _check_cooperation(measure, metrics)


def _check_cooperation(measure: Any, metrics: dict[str, Tensor]) -> None:
    if measure is None:
        return
    require(
        isinstance(measure, CooperationMeasure),
        f"cooperation() must give a tasks.measure.CooperationMeasure or None, but gives {measure!r}",
    )
    require(
        measure.metric in metrics,
        f"cooperation().metric must be one of metrics() ({', '.join(metrics)}), but is {measure.metric!r}",
    )
    require(measure.low < measure.high, f"cooperation() must have low < high, but has {measure.low} and {measure.high}")
    value = metrics[measure.metric]
    value = value[~value.isnan()]
    require(len(value), f"metrics()[{measure.metric!r}], the measure of cooperation, must be defined in random play")
    require(
        ((value >= measure.low - 1e-5) & (value <= measure.high + 1e-5)).all(),
        f"metrics()[{measure.metric!r}] must be within the bounds of cooperation(), {measure.low} to {measure.high}, "
        f"but is {value.min().item():.4g} to {value.max().item():.4g}",
    )


def _check_seats(task: SocialDilemmaClass) -> None:
    env = _env(task, grouping="per_agent")
    if not env.interchangeable_seats:
        return
    require(len(set(env.n_actions)) == 1, "interchangeable_seats must be False where seats have different actions")
    env.reset()
    for seat in range(env.n_agents):
        with telling(f"a game with interchangeable_seats must show its state from any seat, state(first_seat={seat})"):
            require(env.state(seat).shape == env.state().shape, "it is of another shape")
    actions = [_random_actions(env, torch.Generator().manual_seed(step)) for step in range(STEPS)]
    if not _same(*(_seen(_env(task, seed=seed, grouping="per_agent"), actions) for seed in (0, 1))):
        # Chance is not the same from another seat.
        return
    moved = _seen(_env(task, grouping="per_agent"), [action.roll(1, -1) for action in actions], first_seat=1)
    require(
        _same(_seen(_env(task, grouping="per_agent"), actions), moved),
        "interchangeable_seats must be False, or rewards, observations and state(first_seat=1) the same when all "
        "agents have moved on by a seat, but they differ",
    )


def _check_training(task: SocialDilemmaClass, algorithm: str) -> None:
    extra = ["algorithm.share_param_critic=False"] if algorithm == "mappo" else []
    with temporary_folder() as folder:
        experiment = small_experiment(folder, [*overrides_for(task), f"algorithm={algorithm}", *extra])
        experiment.run()
        measure = task.cooperation
        steps = [value for key, value in evaluations_of(experiment).items() if key.startswith("step_")]
        require(len(steps) >= 2, f"two iterations must be evaluated, but {len(steps)} are in the JSON")
        for step in steps:
            returns = [key for key in step if key.startswith("agent_") and key.endswith("_return")]
            require(returns, "the JSON must hold every agent's return")
            require(all(math.isfinite(x) for key in returns for x in step[key]), "returns must be finite")
            require(measure is None or measure.metric in step, "the JSON must hold the measure of cooperation")
        left = read_task_file(experiment.folder_name)
        require(left is not None and left["version"] == task.version, "task.yaml must hold the task's version")


def _env(task: SocialDilemmaClass, seed: int = 0, grouping: str | None = None) -> Any:
    config = {**task.config, "grouping": grouping or "per_agent"} if "grouping" in task.config else task.config
    options = SocialDilemmaClass(task.name, config).options
    return options.make_env(num_envs=N_ENVS, device="cpu", seed=seed)


def _random_actions(env: Any, generator: torch.Generator) -> Tensor:
    return torch.stack([torch.randint(n, (N_ENVS,), generator=generator) for n in env.n_actions], -1)


def _rollout(env: Any, actions_seed: int = 0, steps: int = STEPS) -> TensorDictBase:
    """Random play ``[B, T]`` as BenchMARL collects it, of at most so many steps."""
    generator = torch.Generator().manual_seed(actions_seed)
    played = []
    tensordict = env.reset()
    for _ in range(min(env.max_steps, steps)):
        tensordict = env.step(act(tensordict, _random_actions(env, generator), env))
        played.append(tensordict.clone())
        tensordict = env.step_mdp(tensordict)
    return torch.stack(played, 1)


def _seen(env: Any, actions: Sequence[Tensor], first_seat: int = 0) -> list[Tensor]:
    """Rewards, observations and states of an episode, in the order of seats from ``first_seat`` on."""
    tensordict = env.reset()
    found = []
    for action in actions[: env.max_steps]:
        stepped = env.step(act(tensordict, action, env))
        tensordict = env.step_mdp(stepped)
        rewards = joint_entry(stepped.unsqueeze(1), "next", "reward").squeeze(1)
        found += [rewards.roll(-first_seat, 1), joint_observations(env, tensordict).roll(-first_seat, 1)]
        found.append(env.state(first_seat) if first_seat else env.state())
    return [value.clone() for value in found]


def _same(these: Sequence[Tensor], those: Sequence[Tensor]) -> bool:
    return all(torch.allclose(one, other, atol=1e-5) for one, other in zip(these, those))
