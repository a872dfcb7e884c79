"""The Reciprocator on independent PPO."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import Ippo, IppoConfig
from tensordict.nn import TensorDictModule
from torchrl.data import Composite
from torchrl.envs import EnvBase
from torchrl.objectives import LossModule

from benchmarl_reciprocator.algorithms.not_trained import AddsToEnvironment, groups_of, with_transform
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.algorithms.reciprocity.config import ReciprocityConfig
from benchmarl_reciprocator.algorithms.reciprocity.setup import seats_are_alike
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment


class ReciprocatorMixin(AddsToEnvironment):
    """Makes a policy-gradient algorithm a Reciprocator: everything of its own happens to the reward, before it
    is optimised.
    """

    observation_spec: Composite
    state_spec: Composite | None

    def __init__(self, experiment: Experiment, **options: Any) -> None:
        names = [field.name for field in fields(ReciprocityConfig)]
        self.reciprocity_config = ReciprocityConfig(**{name: options.pop(name) for name in names})
        self.reciprocity_config.check()
        super().__init__(experiment=experiment, **options)
        if self.reciprocity_config.share_policy:
            self.experiment_config = replace(self.experiment_config, share_policy_params=True)
        self.reciprocity = Reciprocity.of(experiment)
        if self.reciprocity_config.observe_balance:
            self.observation_spec = self.reciprocity.with_balance(self.observation_spec)
            # A centralised critic would read the state alone, in which no balance is.
            self.state_spec = None

    def process_env_fun(self, env_fun: Callable[[], EnvBase]) -> Callable[[], EnvBase]:
        env_fun = super().process_env_fun(env_fun)
        if not self.reciprocity_config.observe_balance:
            return env_fun
        groups = groups_of(self)
        return lambda: with_transform(env_fun(), self.reciprocity.observed_balance(groups, self.reciprocity_config))

    def _get_loss(self, group: str, policy_for_loss: TensorDictModule, continuous: bool) -> tuple[LossModule, bool]:
        if self.reciprocity_config.observe_balance:
            self.check_environment("algorithm.observe_balance=true")
        if self.reciprocity_config.share_policy and not seats_are_alike(self.experiment):
            raise ValueError(
                f"algorithm.share_policy must be false with task={self.experiment.task_name!r}, which is another game "
                "from every seat, but is True"
            )
        self.reciprocity.add_group(group, self.reciprocity_config)
        return super()._get_loss(group, policy_for_loss, continuous)


class Reciprocator(ReciprocatorMixin, Ippo):
    """Reciprocator (Zhou, Hong and Kao 2024, arXiv 2406.01641) on :class:`~benchmarl.algorithms.Ippo`.

    PPO on the task's reward plus a reciprocal reward for paying back the influence that others' actions had on the
    agent's return. The options are those of :class:`ReciprocityConfig` and of
    :class:`~benchmarl.algorithms.Ippo`.
    """

    def __init__(self, experiment: Experiment, **options: Any) -> None:
        super().__init__(experiment, **options)
        # It reads what its agent sees, and so is one for all as well as the policy is.
        self.share_param_critic = self.share_param_critic or self.reciprocity_config.share_policy


@dataclass
class ReciprocatorConfig(ConfigFromYaml, ReciprocityConfig, IppoConfig):
    """Configuration dataclass for :class:`Reciprocator`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return Reciprocator
