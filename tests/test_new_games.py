"""The table of what was learned in the new games, beside scripted play."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

from benchmarl_reciprocator import SocialDilemmaTask

EXAMPLE = Path(__file__).parent.parent / "examples" / "new_games.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("new_games", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_returns_stand_between_those_of_scripts(example: ModuleType, tmp_path: Path) -> None:
    ends = pd.DataFrame(
        {
            "task": ["fishery", "fishery", "fishery", "cournot"],
            "population": ["IPPO", "IPPO", "prosocial", "IPPO"],
            "seed": [0, 1, 0, 0],
            "frames": 100,
            "return": [2.0, 4.0, 5.0, 1.0],
            "cooperation": [0.0, 0.5, 1.0, 0.25],
        }
    )
    scripted = pd.DataFrame({"all_cooperate": [5.0, 3.0], "all_defect": [1.0, 2.0]}, index=["fishery", "cournot"])
    table = example.summary(ends, scripted)
    assert table["population"].tolist() == ["IPPO", "prosocial", "IPPO"] and table["seeds"].tolist() == [2, 1, 1]
    # (3 - 1) / (5 - 1), (5 - 1) / (5 - 1), and (1 - 2) / (3 - 2): less than all defectors
    assert table["normalised"].tolist() == pytest.approx([0.5, 1.0, -1.0])
    assert "| fishery | IPPO | 2 | 3.00 [2.00, 4.00] | 0.25 | 5.00 | 1.00 | 0.50 |" in example.in_markdown(table)
    example.draw(table, tmp_path / "new_games.png")
    assert (tmp_path / "new_games.png").stat().st_size > 0


def test_scripts_play_the_tasks_own_game(example: ModuleType) -> None:
    task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
    task.config["max_steps"] = 4
    found = example.scripted_returns(task, episodes=2, seed=0)
    assert found == {"all_cooperate": pytest.approx(4 * -1.0), "all_defect": pytest.approx(4 * -2.0)}
