"""BenchMARL's view of the social dilemmas: one task class for all, one enum of those that ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from benchmarl.environments.common import Task, TaskClass
from benchmarl.models import CnnConfig, DeepsetsConfig, GnnConfig, GruConfig, LstmConfig, MlpConfig
from benchmarl.models.common import ModelConfig, SequenceModelConfig
from benchmarl.utils import DEVICE_TYPING
from tensordict import TensorDictBase, pad_sequence
from torch import Tensor
from torchrl.data import Composite
from torchrl.envs import EnvBase

import benchmarl_reciprocator.conf
from benchmarl_reciprocator.extensions import find_yaml
from benchmarl_reciprocator.plugin.benchmarl_private import read_yaml, task_options_class
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.players import Player, players_of_packages
from benchmarl_reciprocator.tasks.social_outcome import social_outcome

AUTO_GROUPING = "auto"
VECTOR_MODELS = (DeepsetsConfig, GnnConfig, GruConfig, LstmConfig, MlpConfig)
CONF_FOLDER = Path(benchmarl_reciprocator.conf.__file__).parent / "task"


class SocialDilemmaClass(TaskClass):
    """A social dilemma as a BenchMARL task.

    The rules come from the ``TaskConfig`` dataclass of the task's own file: ``make_env`` builds the environment,
    ``metrics`` measures what the task is about, and, where the task has them, ``players`` makes scripted ones and
    ``bounds`` says what such play comes to. A ``TaskConfig`` whose class has ``continuous = True`` also offers
    continuous actions: its ``make_env`` takes ``continuous_actions``, by default false.
    """

    @property
    def options(self) -> Any:
        """The task's ``TaskConfig`` with this task's values.

        Raises:
            ValueError: if no task of this name is registered.
        """
        return options_class(self.name.lower())(**self.config)

    @property
    def cooperation(self) -> CooperationMeasure | None:
        """The task's measure of cooperation with these options, what ``TaskConfig.cooperation()`` gives; ``None`` where
        it has none.
        """
        cooperation = getattr(self.options, "cooperation", None)
        return cooperation() if cooperation is not None else None

    @property
    def version(self) -> int:
        """The version of the task's rules, ``TaskConfig.version``: results of different versions are not comparable."""
        return getattr(type(self.options), "version", 1)

    def for_algorithm(self, needs_joint_group: bool) -> SocialDilemmaClass:
        """This task with ``grouping: auto`` settled: one group where the algorithm pools agents, else one for
        each agent.
        """
        if self.config.get("grouping") != AUTO_GROUPING:
            return self
        grouping = "one_group" if needs_joint_group else "per_agent"
        return type(self)(name=self.name, config={**self.config, "grouping": grouping})

    def check_model(self, key: str, config: ModelConfig) -> None:
        """Raise one ``ValueError`` if a model cannot take the form of observations that this task's options name.

        Args:
            key (str): where the model is chosen, such as ``"model@critic_model"``.
            config (ModelConfig): of the model; of a sequence, its first layer counts.
        """
        first = config.model_configs[0] if isinstance(config, SequenceModelConfig) else config
        form = self.config.get("observation")
        if form in ("image", "rgb") and isinstance(first, VECTOR_MODELS):
            raise ValueError(
                f"task.observation must be flat where {key} is {first.associated_class().__name__.lower()}, but is "
                f"{form!r}: choose that, or a model for images (cnn)"
            )
        if form == "flat" and isinstance(first, CnnConfig):
            raise ValueError(
                f"{key} must be a model that takes vectors where task.observation is flat, but is 'cnn': choose "
                "one, or task.observation=image"
            )

    def get_env_fun(
        self,
        num_envs: int,
        continuous_actions: bool,
        seed: int | None,
        device: DEVICE_TYPING,
    ) -> Callable[[], EnvBase]:
        options = self.options
        kind = {"continuous_actions": continuous_actions} if self.supports_continuous_actions() else {}
        return lambda: options.make_env(num_envs=num_envs, device=device, seed=seed, **kind)

    def supports_continuous_actions(self) -> bool:
        return getattr(type(self.options), "continuous", False)

    def supports_discrete_actions(self) -> bool:
        return True

    def max_steps(self, env: EnvBase) -> int:
        return env.max_steps

    def has_render(self, env: EnvBase) -> bool:
        return callable(getattr(env, "render", None))

    def group_map(self, env: EnvBase) -> dict[str, list[str]]:
        return env.group_map

    def observation_spec(self, env: EnvBase) -> Composite:
        spec = env.full_observation_spec_unbatched.clone()
        del spec["state"]
        for group in self.group_map(env):
            if "info" in spec[group].keys():
                del spec[group, "info"]
        return spec

    def info_spec(self, env: EnvBase) -> Composite | None:
        spec = env.full_observation_spec_unbatched.clone()
        del spec["state"]
        for group in self.group_map(env):
            if "info" not in spec[group].keys():
                return None
            del spec[group, "observation"]
        return spec

    def state_spec(self, env: EnvBase) -> Composite | None:
        spec = env.full_observation_spec_unbatched
        return Composite({"state": spec["state"].clone()}, shape=spec.shape)

    def action_spec(self, env: EnvBase) -> Composite:
        return env.full_action_spec_unbatched

    def action_mask_spec(self, env: EnvBase) -> Composite | None:
        return None

    @staticmethod
    def env_name() -> str:
        return "social_dilemmas"

    def log_info(self, batch: TensorDictBase) -> dict[str, float]:  # type: ignore[override]
        trajectories = batch.reshape(-1, batch.shape[-1])
        valid = torch.ones(trajectories.shape, dtype=torch.bool, device=batch.device)
        metrics = self.options.metrics(trajectories, valid)
        return {f"collection/{key}": value.nanmean().item() for key, value in metrics.items()}

    def bounds(self) -> dict[str, float]:
        """What scripted play comes to, beside which the measures are to be read; empty where the task has no script."""
        bounds = getattr(self.options, "bounds", None)
        return bounds() if bounds is not None else {}

    def players(self) -> dict[str, Callable[[], Player]]:
        """Makers of the scripted players of the task with these options, by name: its own, and those of other packages
        that can play it. Empty where there are none.

        Raises:
            NameTakenError: if another package's player has a name of the task's own.
        """
        options = self.options
        players = getattr(options, "players", None)
        makers = dict(players()) if players is not None else {}
        return {**makers, **players_of_packages(options, taken=makers)}

    def evaluation_metrics(self, rollouts: list[TensorDictBase]) -> dict[str, Tensor]:
        """Every agent's return, whatever the grouping, the social outcome and the task's own measures of evaluation
        episodes.

        Args:
            rollouts (list of TensorDictBase): ``E`` episodes, ``[T]`` each, of any lengths.

        Returns:
            dict[str, Tensor]: each ``[E]``, one value for every episode.
        """
        padded = pad_sequence(rollouts)
        lengths = torch.tensor([len(rollout) for rollout in rollouts], device=padded.device)
        time = torch.arange(padded.shape[1], device=padded.device)
        valid = time < lengths.unsqueeze(-1)
        rewards = joint_entry(padded, "next", "reward") * valid.unsqueeze(-1)
        by_agent = {f"agent_{i}_return": value for i, value in enumerate(rewards.sum(-2).unbind(-1))}
        return {**by_agent, **social_outcome(rewards), **self.options.metrics(padded, valid)}


class _SocialDilemmaTask(Task):
    """Where the social dilemmas' yaml files are: in this and other packages, not in BenchMARL."""

    @staticmethod
    def associated_class() -> type[TaskClass]:
        return SocialDilemmaClass

    def get_from_yaml(self, path: str | None = None) -> TaskClass:
        """The task with the options of its yaml file, or of that at ``path``; without one, with its defaults."""
        name = self.name.lower()
        file = Path(path) if path is not None else yaml_of(name)
        config = options_class(name)(**(read_yaml(file) if file is not None else {}))
        return self.get_task(config=dict(config.__dict__))


def options_class(name: str) -> type:
    """The ``TaskConfig`` of the social dilemma of a name.

    Raises:
        ValueError: if none is registered.
    """
    found = task_options_class(SocialDilemmaClass.env_name(), name)
    if found is None:
        raise ValueError(
            f"task={SocialDilemmaClass.env_name()}/{name} must be registered, but is not: install the package that it "
            "is from, or register it first (benchmarl_reciprocator.register_task; register for this package's own)"
        )
    return found


def yaml_of(name: str) -> Path | None:
    """The yaml file of the social dilemma of a name: in a folder of yaml files, else beside its module; ``None`` where
    it has none.
    """
    return find_yaml(f"task/{SocialDilemmaClass.env_name()}", name, options_class(name).__module__)


def task_enum(name: str, tasks: list[str], module: str = __name__) -> type[Task]:
    """An enum of social dilemmas, members in upper case."""
    made: Any = _SocialDilemmaTask(name, [(task.upper(), None) for task in tasks], module=module)
    return made


def shipped_tasks() -> list[str]:
    """Names of the tasks in this package: those that have a yaml file."""
    folder = CONF_FOLDER / SocialDilemmaClass.env_name()
    return sorted(path.stem for path in folder.glob("*.yaml"))


SocialDilemmaTask = task_enum("SocialDilemmaTask", shipped_tasks())
