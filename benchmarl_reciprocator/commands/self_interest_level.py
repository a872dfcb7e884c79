"""The self-interest level of a dilemma: how much of their reward agents can keep so that cooperating pays.

    benchmarl-reciprocator self_interest_level prisoners_dilemma
    benchmarl-reciprocator self_interest_level coins task.n_agents=3 --episodes 500

Agents that keep a share s of their reward and give the rest to the others (algorithm=prosocial) gain by cooperating
where that hurts themselves less than it helps the others. Matrix games: exact, of a single round, for all that others
can do. Elsewhere: by the returns of scripted cooperators and defectors in populations of all mixtures, with what agents
learn left out: training by algorithm=prosocial algorithm.self_interest=<s> tells what learners do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from benchmarl_reciprocator.agents.agent import ScriptedAgent
from benchmarl_reciprocator.agents.play import play, returns
from benchmarl_reciprocator.algorithms.exact.self_interest import (
    effects_in_populations,
    effects_of_cooperation,
    self_interest_level,
)
from benchmarl_reciprocator.commands.arguments import (
    add_episodes,
    add_integer,
    add_output,
    command_parser,
    run_command,
)
from benchmarl_reciprocator.commands.task_arguments import add_task, chosen_task
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.evaluation.sections import Cell, Measured, Paragraph, Section, Table, write_sections
from benchmarl_reciprocator.tasks.options import bad_option
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

NAME = "self_interest_level"
# As games name their players, by whether these cooperate
KINDS = {True: ("cooperate", "all_c"), False: ("defect", "greedy", "all_d")}
RESAMPLES = 1000
ROUND, MIXTURES = "one round, exactly", "scripted play"
READS = """
nothing but the task: a matrix game with an action that cooperates, or a game with scripted cooperators and defectors;
task.<option>=<value>: its options
"""
WRITES = """
<output>/self_interest_level.md: the level, and what cooperating gains in the worst case by the share kept; it is
printed too
<output>/self_interest_level.csv: the sweep; section.json: the same for the command report
"""


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line, measure and report."""
    parser = command_parser(NAME, __doc__, READS, WRITES)
    add_task(parser)
    add_episodes(parser, "of each population of scripted players")
    add_integer(parser, "--steps", 20, "into which the sweep from 0 to 1 is divided")
    add_integer(parser, "--seed", 0, "of scripted play", least=0)
    add_output(parser, f"{NAME}/<task>")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> None:
    """Measure, write and print."""
    task = chosen_task(arguments.task, arguments.options, grouping="per_agent")
    if hasattr(task.options, "payoff_table"):
        how = ROUND
        own, others, beside = _of_a_matrix_game(task)
        levels = {"whatever others do": (own, others), "where all others cooperate": (own[beside], others[beside])}
        measured = {name: Measured(self_interest_level(*effects), digits=3) for name, effects in levels.items()}
    else:
        how = f"{MIXTURES}, {arguments.episodes} episodes of each population, 95% bootstrap intervals"
        drawn = torch.stack(_of_scripted_play(task, arguments.episodes, arguments.seed))
        # The last effects are those beside cooperators alone.
        measured = {
            "whatever others do": _with_interval(*drawn),
            "where all others cooperate": _with_interval(*drawn[..., -1:]),
        }
        own, others = drawn[:, 0]
    sweep = []
    for share in torch.linspace(0, 1, arguments.steps + 1).tolist():
        gain = (share * own + (1 - share) * others).min().item()
        sweep.append({"self_interest": round(share, 6), "least_gain": gain})
    folder = arguments.output or Path(NAME) / task.name.lower()
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(sweep).to_csv(folder / f"{NAME}.csv", index=False, float_format="%.4f")
    text = write_sections(_sections(task.name.lower(), how, measured, sweep), folder, NAME)
    add_setting(folder / "setting.json", f"benchmarl-reciprocator {NAME}")
    sys.stdout.write(f"\n{text}\nEverything is in {folder}/\n")


def _of_a_matrix_game(task: SocialDilemmaClass) -> tuple[Tensor, Tensor, Tensor]:
    cooperative = task.options.cooperates_with()
    if cooperative is None:
        raise bad_option("task", task.name.lower(), "one with an action that cooperates (task.cooperative_action)")
    return effects_of_cooperation(task.options.payoff_table().double(), cooperative)


def _of_scripted_play(task: SocialDilemmaClass, episodes: int, seed: int) -> tuple[Tensor, Tensor]:
    """The effects of cooperating on oneself and on the others, ``[1 + RESAMPLES, N]``: measured, and resampled."""
    n_agents = task.options.make_env(num_envs=1, device="cpu", seed=seed).n_agents
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    means: dict[bool, list[Tensor]] = {True: [], False: []}
    for cooperators in range(n_agents + 1):
        got = _returns(task, cooperators, n_agents, episodes, seed + cooperators).double()
        # By episode, first as they are
        drawn = torch.randint(episodes, (RESAMPLES, episodes), generator=generator)
        drawn = torch.cat([torch.arange(episodes).unsqueeze(0), drawn])
        for kind, seats in ((True, slice(cooperators)), (False, slice(cooperators, None))):
            of_kind = got[:, seats]
            known = of_kind.mean(-1) if of_kind.shape[1] else torch.zeros(episodes, dtype=torch.double)
            means[kind].append(known[drawn].mean(-1))
    return effects_in_populations(torch.stack(means[True], -1), torch.stack(means[False], -1))


def _returns(task: SocialDilemmaClass, cooperators: int, n_agents: int, episodes: int, seed: int) -> Tensor:
    """Returns ``[E, N]`` of a population whose first agents cooperate."""
    env = task.options.make_env(num_envs=episodes, device="cpu", seed=seed)
    cooperates = [seat < cooperators for seat in range(n_agents)]
    players = task.players()
    kinds = {kind: next((players[name] for name in names if name in players), None) for kind, names in KINDS.items()}
    if None in kinds.values():
        must_be = "a matrix game with an action that cooperates, or a game with scripted cooperators and defectors"
        raise bad_option("task", task.name.lower(), must_be)
    makers: dict[bool, Any] = kinds
    return returns(*play(env, [ScriptedAgent(makers[one]()) for one in cooperates]))


def _with_interval(own: Tensor, others: Tensor) -> Measured:
    levels = torch.tensor([self_interest_level(*effects) for effects in zip(own, others)], dtype=torch.double)
    low, high = levels[1:].nanquantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return Measured(levels[0].item(), low, high, digits=3)


def _sections(task: str, how: str, measured: dict[str, Measured], sweep: list[dict[str, float]]) -> list[Section]:
    found: list[list[Cell]] = [[name, one] for name, one in measured.items()]
    levels = Table(["self-interest level", "of the reward that is kept"], found)
    note = (
        f"The largest share of its own reward that an agent can keep, sharing the rest among the others, so that "
        f"cooperating pays no less than defecting ({how}). 1: no dilemma; -: none does."
    )
    rows: list[list[Cell]] = [[f"{row['self_interest']:.2f}", Measured(row["least_gain"], digits=3)] for row in sweep]
    by_share = Table(["share that is kept", "what cooperating gains, in the worst case"], rows)
    return [Section(f"Self-interest level: {task}", [Paragraph(note), levels, by_share])]
