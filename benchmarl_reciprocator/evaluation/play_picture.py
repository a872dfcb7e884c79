"""A picture of play for games that do not render: who took which action in every step of an episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from benchmarl_reciprocator.agents.agent import Agent
from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.agents.play import play
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

# Apart for the colour-blind, and in grey too; the letters in the cells say the same.
COLOURS = ("#BFE3F2", "#B5471B", "#E9C46A", "#6A4C93")
INKS = ("#1B4965", "white", "#3D2B00", "white")


def actions_of_an_episode(
    task: SocialDilemmaClass, agents: Sequence[Agent], seed: int = 0, device: str = "cpu"
) -> np.ndarray:
    """What agents did, step by step, by actions that are drawn from their policies.

    Args:
        task (SocialDilemmaClass): a game with one action for each agent in each step.
        agents (sequence of Agent): who sits in each seat.
        seed (int): of the draws. The random numbers of the process are left as they are.
        device (str): where they play.

    Returns:
        ndarray: integers ``[T, N]``, by step and seat.
    """
    with seeded(seed):
        trajectories, valid = play(task.options.make_env(1, device, seed=seed), agents)
    return joint_entry(trajectories, "action")[0][valid[0]].cpu().numpy()


def draw_actions(
    episodes: Mapping[str, np.ndarray], names: Sequence[str], file: Path, title: str, subtitles: Mapping[str, str]
) -> None:
    """Episodes side by side, a strip for every agent, a cell for every step.

    Args:
        episodes (mapping): actions ``[T, N]`` by what each panel is called.
        names (sequence of str): of the actions, in their order; the cells hold their first letters.
        file (Path): where the PNG goes.
        title (str): of the whole.
        subtitles (mapping): what comes beneath the name of a panel.
    """
    steps = max(len(actions) for actions in episodes.values())
    seats = max(actions.shape[1] for actions in episodes.values())
    width = 0.16 * steps + 0.35
    figure = Figure(figsize=(0.75 + width * len(episodes), 1.5 + 0.28 * seats), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(episodes), squeeze=False)[0]
    colours = ListedColormap(COLOURS[: len(names)])
    for column, (panel, (name, actions)) in enumerate(zip(panels, episodes.items())):
        panel.imshow(actions.T, cmap=colours, vmin=0, vmax=len(names) - 1, aspect="auto", interpolation="nearest")
        for step, seat in np.ndindex(*actions.shape):
            action = int(actions[step, seat])
            panel.text(step, seat, names[action][0].upper(), ha="center", va="center", fontsize=7, color=INKS[action])
        panel.set_xticks(np.arange(-0.5, len(actions)), minor=True)
        panel.set_yticks(np.arange(-0.5, actions.shape[1]), minor=True)
        panel.grid(which="minor", color="white", linewidth=1.2)
        panel.tick_params(which="both", length=0, labelsize=8)
        shown = [1, *range(5, len(actions) + 1, 5)]
        panel.set_xticks([step - 1 for step in shown], [str(step) for step in shown])
        seated = [f"agent {seat}" for seat in range(actions.shape[1])] if column == 0 else []
        panel.set_yticks(range(len(seated)), seated)
        panel.set_xlabel("step", fontsize=8)
        panel.set_title(f"{name}\n{subtitles.get(name, '')}".rstrip(), fontsize=9, loc="left")
        panel.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    handles = [panels[0].scatter([], [], marker="s", s=45, color=colour) for colour in COLOURS[: len(names)]]
    figure.legend(handles, list(names), loc="outside lower center", ncols=len(names), fontsize=8, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=160)
