"""Learning runs of a minute or two each, apart from the other tests: pytest -m learning."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarl_reciprocator import load_experiment
from benchmarl_reciprocator.evaluation.result_files import final_rows, read_evaluations

pytestmark = pytest.mark.learning


def end_of_run(tmp_path: Path, *overrides: str, preset: str = "prisoners_dilemma") -> pd.Series:
    experiment = load_experiment(
        [f"+preset={preset}", f"experiment.save_folder={tmp_path}", "experiment.loggers=[]", *overrides]
    )
    experiment.run()
    return final_rows(read_evaluations(Path(experiment.logger.json_writer.path)), by=["seed"]).iloc[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_two_reciprocators_cooperate(seed: int, tmp_path: Path) -> None:
    end = end_of_run(tmp_path, "algorithm=reciprocator", "experiment.max_n_iters=100", f"seed={seed}")
    assert min(end["agent_0_p_cooperate"], end["agent_1_p_cooperate"]) >= 0.95


def test_a_reciprocator_draws_ippo_into_lasting_cooperation(tmp_path: Path) -> None:
    end = end_of_run(tmp_path, "algorithm=mixed", "experiment.max_n_iters=200")
    assert min(end["agent_0_p_cooperate"], end["agent_1_p_cooperate"]) >= 0.9
    assert abs(end["agent_0_return"] - end["agent_1_return"]) / 32 < 0.2


def test_two_ippo_defect(tmp_path: Path) -> None:
    end = end_of_run(tmp_path, "algorithm=ippo", "experiment.max_n_iters=80")
    assert max(end["agent_0_p_cooperate"], end["agent_1_p_cooperate"]) <= 0.1


def test_without_the_reciprocal_reward_reciprocators_defect(tmp_path: Path) -> None:
    end = end_of_run(tmp_path, "algorithm=reciprocator", "algorithm.reward_weight_end=0", "experiment.max_n_iters=80")
    assert max(end["agent_0_p_cooperate"], end["agent_1_p_cooperate"]) <= 0.1


def test_two_reciprocators_leave_each_other_their_coins(tmp_path: Path) -> None:
    end = end_of_run(tmp_path, "algorithm=reciprocator", "experiment.max_n_iters=120", preset="coins")
    assert min(end["agent_0_own_coin_share"], end["agent_1_own_coin_share"]) >= 0.77
    assert min(end["agent_0_return"], end["agent_1_return"]) >= 12
