"""How commands that need no checkpoints are told of a task: by its name and options of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from benchmarl.environments import task_config_registry
from omegaconf import OmegaConf

from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.tasks.options import bad_option
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass


def add_task(parser: argparse.ArgumentParser) -> None:
    """``arguments.task`` and ``arguments.options``, for :func:`chosen_task`."""
    parser.add_argument("task", help="name of a social dilemma, such as prisoners_dilemma")
    parser.add_argument("options", nargs="*", metavar="task.<option>=<value>", help="options of the task")


def chosen_task(name: str, overrides: Sequence[str] = (), **changes: Any) -> SocialDilemmaClass:
    """The social dilemma of a name, with options replaced.

    Args:
        name (str): with or without ``social_dilemmas/``.
        overrides (sequence of str): ``"task.<option>=<value>"``.
        **changes: further options, where the task has them.

    Raises:
        ValueError: if no such task is registered, or it has no such option.
    """
    register()
    group = SocialDilemmaClass.env_name()
    name = name.removeprefix("task=").removeprefix(f"{group}/")
    known = [known.partition("/")[2] for known in task_config_registry if known.startswith(f"{group}/")]
    if name not in known:
        like = get_close_matches(name, known, n=1)
        hint = f" (did you mean {like[0]}?)" if like else ""
        raise bad_option("task", name, f"one of {', '.join(sorted(known))}{hint}")
    task: Any = task_config_registry[f"{group}/{name}"].get_from_yaml()
    config = {**task.config, **{key: value for key, value in changes.items() if key in task.config}}
    for override in overrides:
        key, equals, _ = override.partition("=")
        option = key.removeprefix("task.")
        if not (equals and key.startswith("task.") and option in config):
            raise bad_option("an override", override, f"task.<option>=<value> with one of {', '.join(config)}")
        read: Any = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
        config[option] = read["task"][option]
    return SocialDilemmaClass(task.name, config)
