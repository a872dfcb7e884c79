"""The self-interest level: exact in matrix games, by scripted play elsewhere."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from benchmarl_reciprocator import (
    SocialDilemmaTask,
    effects_in_populations,
    effects_of_cooperation,
    self_interest_level,
)
from benchmarl_reciprocator.commands import cli


def payoffs(name: str, **options) -> torch.Tensor:
    task = SocialDilemmaTask[name.upper()].get_from_yaml()
    task.config.update(options)
    return task.options.payoff_table().double()


@pytest.mark.parametrize(("variant", "level"), [("lola", 2 / 3), ("contribution", 0.665), ("leibo", 3 / 4)])
def test_the_published_dilemmas(variant: str, level: float) -> None:
    own, others, beside = effects_of_cooperation(payoffs("prisoners_dilemma", variant=variant))
    assert len(own) == 4 and beside.sum() == 2
    assert self_interest_level(own, others) == pytest.approx(level, abs=1e-6)
    assert self_interest_level(own[beside], others[beside]) == pytest.approx(level, abs=1e-6)


def test_public_goods_by_hand() -> None:
    # What is contributed pays each of three 2 / 3, and costs 1: others get 2 / 3 each, oneself -1 / 3.
    own, others, beside = effects_of_cooperation(payoffs("public_goods", n_agents=3, multiplier=2.0))
    assert len(own) == 3 * 4 and beside.sum() == 3
    assert self_interest_level(own, others) == pytest.approx(2 / 3, abs=1e-6)


@pytest.mark.parametrize(
    ("own", "others", "level"),
    [
        ([1.0, 0.0], [1.0, 0.0], 1.0),
        ([-1.0, -1.0], [2.0, 1.0], 0.5),
        # It takes at least 0.5 in one situation, at most 0.25 in the other.
        ([1.0, -3.0], [-1.0, 1.0], math.nan),
        ([1.0, -1.0], [-1.0, 3.0], 0.75),
        ([-1.0], [-1.0], math.nan),
    ],
)
def test_levels_by_hand(own: list, others: list, level: float) -> None:
    assert self_interest_level(torch.tensor(own), torch.tensor(others)) == pytest.approx(level, nan_ok=True)


def test_populations_of_a_matrix_game_tell_the_same_as_its_table() -> None:
    # Of three agents of the public goods game, by the number of cooperators
    table = payoffs("public_goods", n_agents=3, multiplier=2.0)
    cooperators = torch.tensor([math.nan, table[0, 1, 1, 0], table[0, 0, 1, 0], table[0, 0, 0, 0]])
    defectors = torch.tensor([table[1, 1, 1, 2], table[0, 1, 1, 2], table[0, 0, 1, 2], math.nan])
    own, others = effects_in_populations(cooperators, defectors)
    assert own.tolist() == pytest.approx([-1 / 3] * 3)
    assert others.tolist() == pytest.approx([2 / 3] * 3)


@pytest.mark.parametrize(("task", "least", "most"), [("prisoners_dilemma", 0.666, 0.667), ("coins", 0.4, 0.9)])
def test_the_command_tells_the_level_and_the_sweep(
    task: str, least: float, most: float, tmp_path: Path, capsys
) -> None:
    folder = str(tmp_path / task)
    assert cli.main(["self_interest_level", task, "--episodes", "50", "--steps", "4", "--output", folder]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| whatever others do")]
    assert least <= float(line.split("|")[2].split()[0]) <= most
    rows = list(csv.DictReader((tmp_path / task / "self_interest_level.csv").open()))
    assert [row["self_interest"] for row in rows] == ["0.0000", "0.2500", "0.5000", "0.7500", "1.0000"]
    assert float(rows[0]["least_gain"]) > 0 > float(rows[-1]["least_gain"])


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("matching_pennies", "task must be one with an action that cooperates (task.cooperative_action), but is "),
        ("matrix_meta_game", "task must be a matrix game with an action that cooperates, or a game with scripted "),
    ],
)
def test_a_task_without_cooperation_is_refused(task: str, message: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["self_interest_level", task])
    assert message in capsys.readouterr().err
