"""Finds checkpoints on disk, and settles which game they are to play. Reads files, builds no experiment."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarl.algorithms.common import AlgorithmConfig
from omegaconf import OmegaConf

from benchmarl_reciprocator.agents.setup import algorithms_by_group, read_setup, read_task_file
from benchmarl_reciprocator.algorithms.mixed import MixedConfig
from benchmarl_reciprocator.algorithms.not_trained import NotTrainedConfig
from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig
from benchmarl_reciprocator.evaluation.layout import PROGRESS, record_of, runs_folder
from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# Options that decide what an agent's observation means, though not always its shape.
SEEN_BY = ("view", "observation")


@dataclass(frozen=True)
class Checkpoint:
    """The newest checkpoint of a run.

    Args:
        file (Path): that the experiment saved.
        population (str): what the run calls its population, else the algorithm's name.
        seed (int): of the run.
        frames (int): that it was trained on.
        task (SocialDilemmaClass): that it was trained on.
        algorithm (AlgorithmConfig): that trained it.
        named (bool): whether it was asked for by its own name, not found in a folder.
        version (int, optional): of the task's rules, if that is known.
    """

    file: Path
    population: str
    seed: int
    frames: int
    task: SocialDilemmaClass
    algorithm: AlgorithmConfig
    named: bool
    version: int | None = None

    def learns(self, member: str) -> bool:
        """Whether the agents of one of its algorithms were trained."""
        return not issubclass(self._class_of(member), NotTrainedConfig)

    def reciprocates(self, member: str) -> bool:
        """Whether the agents of one of its algorithms are Reciprocators."""
        return issubclass(self._class_of(member), ReciprocityConfig)

    def _class_of(self, member: str) -> type[AlgorithmConfig]:
        config = self.algorithm
        return config.member_classes()[member] if isinstance(config, MixedConfig) else type(config)

    def seats_by_member(self) -> dict[str, list[int]]:
        """Seats of the agents that each algorithm trained, by the algorithm's name."""
        group_map = self.task.options.make_env(1, "cpu", seed=0).group_map
        seats: dict[str, list[int]] = {}
        first = 0
        for group, algorithm in algorithms_by_group(self.algorithm, group_map).items():
            seats.setdefault(algorithm, []).extend(range(first, first + len(group_map[group])))
            first += len(group_map[group])
        return seats


def find_checkpoints(places: Sequence[Path]) -> list[Checkpoint]:
    """The newest checkpoint of every run in ``places``. What cannot be read is left out, with a warning.

    Args:
        places (sequence of Path): checkpoint files, and folders that are searched for them: of experiments, of
            BenchMARL's commands, or of a suite.

    Returns:
        list[Checkpoint]: in the order of places, then of populations and seeds; one for every run.

    Raises:
        ValueError: if a place does not exist, or no checkpoint was found.
    """
    register()
    found: dict[Path, Checkpoint] = {}
    for place in places:
        if not place.exists():
            raise ValueError(f"input must be a checkpoint or a folder with checkpoints, but there is no {str(place)!r}")
        here = []
        for file in [place] if place.is_file() else _newest_of_each(place):
            try:
                here.append(_read(file, named=place.is_file()))
            except Exception as error:  # what unpickling a foreign or half-written file raises can be anything
                warnings.warn(f"skipped {file}: {error}", stacklevel=2)
        for checkpoint in sorted(here, key=lambda checkpoint: (checkpoint.population, checkpoint.seed)):
            found.setdefault(checkpoint.file.resolve(), checkpoint)
    if not found:
        listed = ", ".join(map(str, places))
        raise ValueError(f"input must hold checkpoints, .../checkpoints/checkpoint_*.pt, but there is none in {listed}")
    return list(found.values())


def choose_game(checkpoints: Sequence[Checkpoint], overrides: Sequence[str]) -> tuple[SocialDilemmaClass, list]:
    """The game that the checkpoints are to play: their own, with options replaced.

    Args:
        checkpoints (sequence of Checkpoint): at least one.
        overrides (sequence of str): ``"task=social_dilemmas/<name>"`` to choose among the games of the checkpoints, and
            ``"task.<option>=<value>"``.

    Returns:
        tuple[SocialDilemmaClass, list of Checkpoint]: the game, and the checkpoints that can play it, one for each
        population and seed; the others were found in a folder, and left out with a warning.

    Raises:
        ValueError: on a bad override, if the checkpoints' games differ and none was chosen, or if a checkpoint that was
            named cannot play the game.
    """
    name, options = _parse(overrides)
    names = sorted({checkpoint.task.name.lower() for checkpoint in checkpoints})
    if name is None and len(names) > 1:
        raise ValueError(
            f"task must be social_dilemmas/{' or social_dilemmas/'.join(names)}, but is not given, and the checkpoints "
            "are of all of them"
        )
    name = name or names[0]
    same = [checkpoint for checkpoint in checkpoints if checkpoint.task.name.lower() == name]
    if not same:
        raise ValueError(f"task must be one of the checkpoints', {', '.join(names)}, but is {name!r}")
    for key in options:
        if key not in same[0].task.config:
            options_of_task = ", ".join(same[0].task.config)
            raise ValueError(f"task.{key} must be an option of {name}, {options_of_task}, but it has no such option")
    fitting = [checkpoint for checkpoint in same if options.items() <= checkpoint.task.config.items()]
    first = (fitting or same)[0].task
    # The grouping is a matter of training: any will do to play.
    task = SocialDilemmaClass(name=first.name, config={**first.config, **options, "grouping": "per_agent"})
    asked = [checkpoint for checkpoint in checkpoints if checkpoint.task.name == task.name or checkpoint.named]
    able = _able(asked, task)
    others = [f"{key}={one.task.config[key]!r}" for one in able for key in differing(one, task)]
    if len(asked) < len(checkpoints):
        warnings.warn(
            f"skipped {len(checkpoints) - len(asked)} checkpoints of tasks other than "
            f"social_dilemmas/{task.name.lower()}",
            stacklevel=2,
        )
    if others:
        warnings.warn(
            f"some checkpoints were trained with {', '.join(sorted(set(others)))}, and play with what the game has: "
            f"{ {key: task.config[key] for key in sorted({other.split('=')[0] for other in others})} }",
            stacklevel=2,
        )
    return task, _one_for_each_seed(able, task)


def who_can_play(checkpoints: Sequence[Checkpoint], task: SocialDilemmaClass) -> list[Checkpoint]:
    """The checkpoints whose agents can play a game, one for each population and seed. The others, which were found in a
    folder, are left out with a warning.

    Raises:
        ValueError: if a checkpoint that was named cannot play the game.
    """
    return _one_for_each_seed(_able(checkpoints, task), task)


def _able(checkpoints: Sequence[Checkpoint], task: SocialDilemmaClass) -> list[Checkpoint]:
    env = task.options.make_env(1, "cpu", seed=0)
    able = []
    for checkpoint in checkpoints:
        reason = _why_not(checkpoint, task, env)
        if reason is None:
            able.append(checkpoint)
        elif checkpoint.named:
            raise ValueError(f"{checkpoint.file} {reason}")
        else:
            warnings.warn(f"skipped {checkpoint.file}: {reason}", stacklevel=3)
    return able


def _newest_of_each(folder: Path) -> list[Path]:
    newest: dict[Path, Path] = {}
    for file in sorted(runs_folder(folder).rglob("checkpoint_*.pt")):
        if file.parent.name == "checkpoints":
            newest[file.parent] = max(newest.get(file.parent, file), file, key=_frames)
    return list(newest.values())


def _frames(file: Path) -> int:
    number = re.fullmatch(r"checkpoint_(\d+)", file.stem)
    return int(number[1]) if number else -1


def _read(file: Path, named: bool) -> Checkpoint:
    experiment = file.resolve().parent.parent
    if not named and (experiment.parent / PROGRESS).is_file() and record_of(experiment.parent) is None:
        raise ValueError("its run has not finished")
    setup = read_setup(file)
    task, options, algorithm, seed = setup.task, setup.options, setup.algorithm, setup.seed
    if not isinstance(task, SocialDilemmaClass):
        raise ValueError(f"its task must be one of social_dilemmas/, but is {task.env_name()}/{task.name.lower()}")
    task = SocialDilemmaClass(name=task.name, config=options)
    continuous = task.supports_continuous_actions() and algorithm.supports_continuous_actions()
    if continuous and (setup.experiment.prefer_continuous_actions or not algorithm.supports_discrete_actions()):
        raise ValueError(
            "its actions must be discrete (experiment.prefer_continuous_actions=False), but it was trained on others"
        )
    saved = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    frames = saved["state"]["total_frames"]
    record = _record(experiment)
    return Checkpoint(
        file=file,
        population=record.get("population", algorithm.associated_class().__name__.lower()),
        seed=record.get("seed", seed),
        frames=frames,
        task=task,
        algorithm=algorithm,
        named=named,
        version=(read_task_file(experiment) or {}).get("version"),
    )


def _record(experiment: Path) -> dict[str, Any]:
    """What a suite noted of the run, in its folder or the one above; empty if it was none of a suite's."""
    for folder in (experiment, experiment.parent):
        file = record_of(folder)
        if file is not None:
            try:
                record = json.loads(file.read_text())
                return {"population": str(record["population"]), "seed": int(record["seed"])}
            except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                warnings.warn(f"{file} cannot be read ({error!r}): the run goes by its algorithm's name", stacklevel=2)
    return {}


def _one_for_each_seed(checkpoints: Sequence[Checkpoint], task: SocialDilemmaClass) -> list[Checkpoint]:
    """Of several runs with one population and seed, which cannot be told apart, that whose options are the game's, else
    the last saved. The others are left out, with a warning.
    """

    def rank(checkpoint: Checkpoint) -> tuple[bool, float]:
        return not differing(checkpoint, task), checkpoint.file.stat().st_mtime

    chosen: dict[tuple[str, int], Checkpoint] = {}
    for checkpoint in checkpoints:
        key = (checkpoint.population, checkpoint.seed)
        if key in chosen:
            left_out, checkpoint = sorted((chosen[key], checkpoint), key=rank)
            warnings.warn(
                f"skipped {left_out.file}: {checkpoint.file} is of the same population "
                f"({checkpoint.population!r}) and seed ({checkpoint.seed})",
                stacklevel=3,
            )
        chosen[key] = checkpoint
    return list(chosen.values())


def _parse(overrides: Sequence[str]) -> tuple[str | None, dict[str, Any]]:
    name = None
    options: dict[str, Any] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if equals and key == "task":
            name = value.removeprefix(f"{SocialDilemmaClass.env_name()}/")
        elif equals and key.startswith("task."):
            read: Any = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
            options.update(read["task"])
        else:
            raise ValueError(
                f"an override must be task=social_dilemmas/<name> or task.<option>=<value>, but is {override!r}"
            )
    return name, options


def _why_not(checkpoint: Checkpoint, task: SocialDilemmaClass, env: SocialDilemmaEnv) -> str | None:
    """Why the agents of a checkpoint cannot play ``task``, if so."""
    if checkpoint.task.name != task.name:
        return f"must be of {task.name.lower()}, but is of {checkpoint.task.name.lower()}"
    if checkpoint.version not in (None, task.version):
        return (
            f"must be trained on version {task.version} of {task.name.lower()}, which is installed, but was trained on "
            f"version {checkpoint.version}: its rules, presets or maps were others"
        )
    own = checkpoint.task.options.make_env(1, "cpu", seed=0)
    for what, ours, theirs in (
        ("agents", env.n_agents, own.n_agents),
        ("actions", env.n_actions, own.n_actions),
        ("observations", _observation_shape(env), _observation_shape(own)),
        *((f"task.{key}", task.config.get(key), checkpoint.task.config.get(key)) for key in SEEN_BY),
    ):
        if ours != theirs:
            return f"must be trained with the game's {what} ({ours}), but was with {theirs}"
    return None


def _observation_shape(env: SocialDilemmaEnv) -> list[int]:
    group = next(iter(env.group_map))
    return list(env.full_observation_spec_unbatched[group, "observation"].shape[1:])


def differing(checkpoint: Checkpoint, task: SocialDilemmaClass) -> list[str]:
    """The options of a game that a checkpoint was trained with another value of."""
    own = checkpoint.task.config
    return [key for key, value in task.config.items() if key != "grouping" and own.get(key, value) != value]
