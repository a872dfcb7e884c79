"""What the command ``demo`` shows of the suite of that name: how far it is, a table in plain words, two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmarl_reciprocator.agents.trained import load_agents
from benchmarl_reciprocator.evaluation.checkpoints import Checkpoint, find_checkpoints
from benchmarl_reciprocator.evaluation.figures import plot_curves, population_styles
from benchmarl_reciprocator.evaluation.play_picture import actions_of_an_episode, draw_actions
from benchmarl_reciprocator.evaluation.result_files import RUN, final_rows, read_evaluations, read_results
from benchmarl_reciprocator.evaluation.sections import (
    Block,
    Cell,
    Figure,
    Paragraph,
    Section,
    Table,
    render_markdown,
    write_sections,
)
from benchmarl_reciprocator.suites.suite import Run

NAME = "demo"
COOPERATION, RETURN = "p_cooperate", "return"
ACTIONS = ("cooperate", "defect")
# How often agents cooperate where all do the same.
BOUNDS = {"cooperate": "100%", "defect": "0%"}
# From this share of actions on, agents are said to cooperate, or to defect.
MOSTLY = 0.8


def cooperation_so_far(folder: Path, runs: Sequence[Run]) -> str:
    """How often each population cooperates in its newest evaluation."""
    shares = []
    for run in runs:
        for file in folder.joinpath(run.folder).glob("*/*.json"):
            try:
                share = read_evaluations(file)[COOPERATION].iloc[-1]
            except (ValueError, KeyError):  # it is being written, or holds nothing yet
                continue
            shares.append(f"{run.population} {share:.0%}")
    return f"cooperation: {', '.join(shares)}" if shares else "starting"


def show(folder: Path, runs: Sequence[Run]) -> str:
    """Write the table and the pictures of a finished demo.

    Args:
        folder (Path): of the suite.
        runs (sequence of Run): of one seed, in the order of tables and pictures.

    Returns:
        str: all that is to be said in a terminal.
    """
    order = {run.population: place for place, run in enumerate(runs)}
    seed = runs[0].seed
    results = read_results(folder)
    evaluations = results.evaluations
    evaluations = evaluations[(evaluations["seed"] == seed) & evaluations["population"].isin(order)]
    found = {one.population: one for one in find_checkpoints([folder]) if one.seed == seed and one.population in order}
    checkpoints = [found[population] for population in order]
    steps = int(checkpoints[0].task.config["max_steps"])
    ends = final_rows(evaluations, by=RUN, runs=results.runs).set_index("population").loc[list(order)]
    draw_curve(evaluations, list(order), steps, folder / "curve")
    draw_play(checkpoints, folder / "play.png", seed)
    title = "Two populations in the prisoner's dilemma"
    blocks: list[Block] = [
        Paragraph(in_words(ends, steps), lead=True),
        table(ends, steps),
        Paragraph(
            "Mean of the last fifth of training, by actions that are drawn from the policies. This is one seed, which "
            "says nothing of others."
        ),
    ]
    figures = [
        Figure("curve.png", "Cooperation and reward over training"),
        Figure("play.png", "One episode of each population after training: C cooperates, D defects"),
    ]
    write_sections([Section(title, [*blocks, *figures], level=1)], folder, NAME)
    pictures = "\n".join(f"{folder / figure.file}: {figure.text}" for figure in figures)
    return f"{render_markdown([Section(title, blocks, level=1)]).removeprefix('# ')}\n{pictures}\n"


def in_words(ends: pd.DataFrame, steps: int) -> str:
    """What became of each population, in a sentence each."""
    return " ".join(
        f"The {population} agents {_verdict(row[COOPERATION])} ({row[COOPERATION]:.0%} of actions) and get "
        f"{row[RETURN] / steps:.2f} a step each."
        for population, row in ends.iterrows()
    )


def table(ends: pd.DataFrame, steps: int) -> Table:
    """A row for each population, beside what scripted play comes to."""
    rows: list[list[Cell]] = [
        [str(population), f"{row[COOPERATION]:.0%}", f"{row[RETURN] / steps:.2f}", _verdict(row[COOPERATION])]
        for population, row in ends.iterrows()
    ]
    for play, share in BOUNDS.items():
        rows.append([f"if all {play}", share, f"{_bound(ends, play) / steps:.2f}", ""])
    return Table(["population", "cooperates", "reward a step", "in words"], rows)


def draw_curve(evaluations: pd.DataFrame, populations: Sequence[str], steps: int, file: Path) -> None:
    """Cooperation and reward a step over training, with what scripted play comes to."""
    rows = evaluations.assign(per_step=evaluations[RETURN] / steps)
    bounds = {f"all {play}": _bound(evaluations, play) / steps for play in BOUNDS}
    styles = population_styles(populations, own=populations[:1])
    measures = {COOPERATION: "cooperation (share of actions)", "per_step": "reward a step"}
    plot_curves(rows, measures, styles, "frames", file, "Prisoner's dilemma over training", {"per_step": bounds})


def draw_play(checkpoints: Sequence[Checkpoint], file: Path, seed: int) -> None:
    """One episode of each population, step by step."""
    episodes = {
        found.population: actions_of_an_episode(found.task, load_agents(found.file), seed) for found in checkpoints
    }
    subtitles = {name: f"{(actions == 0).mean():.0%} of actions cooperate" for name, actions in episodes.items()}
    draw_actions(episodes, ACTIONS, file, "One episode after training", subtitles)


def _bound(evaluations: pd.DataFrame, play: str) -> float:
    """An episode's return where all do the same."""
    return float(evaluations[f"all_{play}_return"].mean())


def _verdict(share: float) -> str:
    if share >= MOSTLY:
        return "cooperate"
    return "defect" if share <= 1 - MOSTLY else "do neither for long"
