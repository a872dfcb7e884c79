"""Mixed populations: different algorithms in different agent groups of one experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

from benchmarl.algorithms import EnsembleAlgorithm, algorithm_config_registry
from benchmarl.algorithms.common import Algorithm, AlgorithmConfig
from benchmarl.environments.common import TaskClass
from torchrl.envs import EnvBase

from benchmarl_reciprocator.algorithms.not_trained import NotTrainedConfig
from benchmarl_reciprocator.algorithms.scripted import ScriptedConfig, players_of
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml
from benchmarl_reciprocator.plugin.benchmarl_private import share_networks


class Mixed(EnsembleAlgorithm):
    """An ensemble whose members work on the losses that are optimised.

    BenchMARL's :class:`~benchmarl.algorithms.EnsembleAlgorithm` lets every member build networks of its own for
    computing advantages, which are never trained. Here all members share the ensemble's networks and losses.

    Args:
        algorithms_map (dict): the algorithm of each group.
        experiment (Experiment): the experiment.
    """

    def __init__(self, algorithms_map: dict[str, Algorithm], experiment) -> None:
        super().__init__(algorithms_map=algorithms_map, experiment=experiment)
        share_networks(self, self.members)

    @property
    def members(self) -> list[Algorithm]:
        """The distinct algorithms, in the order of their first groups."""
        return list(dict.fromkeys(self.algorithms_map.values()))

    def process_env_fun(self, env_fun: Callable[[], EnvBase]) -> Callable[[], EnvBase]:
        for member in self.members:
            env_fun = member.process_env_fun(env_fun)
        return env_fun


@dataclass
class MixedConfig(ConfigFromYaml, AlgorithmConfig):
    """Configuration dataclass for :class:`Mixed`: names and plain values only, looked up in BenchMARL's registry.

    Where no algorithm has a name, it is that of a scripted player of the task, see
    :class:`~benchmarl_reciprocator.algorithms.scripted.Scripted`.

    Args:
        focal (str): algorithm of the first ``n_focal`` agents.
        others (str): algorithm of all other agents.
        n_focal (int): number of focal agents.
        groups (dict, optional): the algorithm of every group by name, in place of the three above.
        tuning (dict, optional): options for all members that have them, as the preset of a task sets them.
        overrides (dict, optional): options by algorithm, ``{"ippo": {"entropy_coef": 0.01}}``, on top; the rest as in
            the algorithm's yaml.
    """

    focal: str = MISSING
    others: str = MISSING
    n_focal: int = MISSING
    groups: Any = MISSING
    tuning: Any = MISSING
    overrides: Any = MISSING

    def get_algorithm(self, experiment) -> Algorithm:
        self.check_names(experiment.task)
        assignment = self.assign(experiment.group_map)
        configs = self.member_configs()
        members = {name: configs[name].get_algorithm(experiment) for name in dict.fromkeys(assignment.values())}
        return self.associated_class()(
            algorithms_map={group: members[name] for group, name in assignment.items()},
            experiment=experiment,
        )

    def assign(self, group_map: dict[str, list[str]]) -> dict[str, str]:
        """The algorithm of each group.

        Args:
            group_map (dict): agents' names by group.

        Raises:
            ValueError: if the groups named are not those of the task, or ``n_focal`` does not fit its groups.
        """
        if self.groups is not None:
            if set(self.groups) != set(group_map):
                raise ValueError(
                    f"algorithm.groups must have one entry for each group of the task ({', '.join(group_map)}), but "
                    f"has entries for {', '.join(self.groups)}"
                )
            return {group: self.groups[group] for group in group_map}
        n_agents = sum(len(agents) for agents in group_map.values())
        if not 0 <= self.n_focal <= n_agents:
            raise ValueError(f"algorithm.n_focal must be 0 to {n_agents}, the number of agents, but is {self.n_focal}")
        assignment, counted = {}, 0
        for group, agents in group_map.items():
            assignment[group] = self.focal if counted < self.n_focal else self.others
            counted += len(agents)
            if counted > self.n_focal and assignment[group] == self.focal != self.others:
                raise ValueError(
                    f"algorithm.n_focal must make whole groups, but {self.n_focal} would split group {group!r} of "
                    f"{len(agents)} agents (a task with task.grouping=per_agent has one agent in each group)"
                )
        return assignment

    def member_names(self) -> dict[str, str]:
        """The algorithms or players of the population by the options that name them."""
        if self.groups is not None:
            return {f"algorithm.groups.{group}": name for group, name in self.groups.items()}
        return {"algorithm.focal": self.focal, "algorithm.others": self.others}

    def check_names(self, task: TaskClass) -> None:
        """Raise one ``ValueError`` if a name is neither an algorithm's nor that of one of the task's players."""
        players = players_of(task)
        for key, name in self.member_names().items():
            if name not in _algorithms() and name not in players:
                raise ValueError(
                    f"{key} must be an algorithm ({', '.join(sorted(_algorithms()))}) or a scripted player of "
                    f"task={task.name.lower()} ({', '.join(players) or 'it has none'}), but is {name!r}"
                )

    def member_classes(self) -> dict[str, type[AlgorithmConfig]]:
        """The configuration classes of the population's algorithms, by name. What no algorithm has as its name is taken
        for a player's: only :meth:`check_names`, with the task, can tell.

        Raises:
            ValueError: on an override of an algorithm that is not in the population or of an option that it does not
                have, or if on-policy and off-policy algorithms are mixed.
        """
        for option in ("groups", "tuning", "overrides"):
            value = getattr(self, option)
            if not (value is None or isinstance(value, dict)):
                raise ValueError(f"algorithm.{option} must be null or a mapping, but is {value!r}")
        names = list(dict.fromkeys(self.member_names().values()))
        classes = {name: _algorithms().get(name, ScriptedConfig) for name in names}
        for name, options in (self.overrides or {}).items():
            if name not in names:
                raise ValueError(f"algorithm.overrides must be of {', '.join(names)}, but has some of {name!r}")
            known = [] if classes[name] is ScriptedConfig else [field.name for field in fields(classes[name])]
            for option, value in options.items():
                if option not in known:
                    raise ValueError(
                        f"algorithm.overrides.{name} must be options of {name} ({', '.join(known) or 'it has none'}), "
                        f"but one is {option}={value!r}"
                    )
        by_policy = {
            name: member.on_policy() for name, member in classes.items() if not issubclass(member, NotTrainedConfig)
        }
        if len(set(by_policy.values())) > 1:
            listed = ", ".join(f"{name} ({'on' if on else 'off'}-policy)" for name, on in by_policy.items())
            key = "algorithm.groups" if self.groups is not None else "algorithm.focal/others"
            raise ValueError(
                f"{key} must be either on-policy or off-policy algorithms in one experiment, but are {listed}"
            )
        return classes

    def member_configs(self) -> dict[str, AlgorithmConfig]:
        """The configurations of the population's algorithms, by name: their yaml and the overrides.

        Raises:
            ValueError: as :meth:`member_classes`.
        """
        configs = {name: member.get_from_yaml() for name, member in self.member_classes().items()}
        for name, config in configs.items():
            if name not in _algorithms():
                config.player = name
            known = {option: value for option, value in (self.tuning or {}).items() if hasattr(config, option)}
            for option, value in {**known, **(self.overrides or {}).get(name, {})}.items():
                setattr(config, option, value)
        return configs

    def associated_class(self) -> type[Algorithm]:
        """A class named after the population, since BenchMARL names results after the class."""
        if self.groups is not None:
            counts = Counter(self.groups.values())
            population = "_".join(f"{count}_{name}" for name, count in counts.items())
        else:
            population = f"{self.n_focal}_{self.focal}_others_{self.others}"
        return type(f"mixed_{population}", (Mixed,), {"__doc__": Mixed.__doc__})

    # BenchMARL asks these many times in every iteration, hence of the classes: no file is read.

    def on_policy(self) -> bool:
        learners = (member for member in self.member_classes().values() if not issubclass(member, NotTrainedConfig))
        return next(learners, ScriptedConfig).on_policy()

    def supports_continuous_actions(self) -> bool:
        return all(member.supports_continuous_actions() for member in self.member_classes().values())

    def supports_discrete_actions(self) -> bool:
        return all(member.supports_discrete_actions() for member in self.member_classes().values())

    def has_independent_critic(self) -> bool:
        return any(member.has_independent_critic() for member in self.member_classes().values())

    def has_centralized_critic(self) -> bool:
        return any(member.has_centralized_critic() for member in self.member_classes().values())

    def has_critic(self) -> bool:
        return self.has_independent_critic() or self.has_centralized_critic()


def _algorithms() -> dict[str, type[AlgorithmConfig]]:
    """The algorithms that can be in a population, by name. Scripted ones are there by their player's name."""
    return {name: config for name, config in algorithm_config_registry.items() if name not in ("mixed", "scripted")}
