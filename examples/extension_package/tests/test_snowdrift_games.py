"""What benchmarl-reciprocator expects of tasks, algorithms and players: ``pytest tests``."""

from benchmarl.environments import task_config_registry

from benchmarl_reciprocator.testing import check_algorithm, check_player, check_task


def test_snowdrift() -> None:
    check_task("snowdrift")


def test_cautious_reciprocator() -> None:
    check_algorithm("cautious_reciprocator", task="snowdrift")


def test_tit_for_two_tats() -> None:
    for name in ("snowdrift", "prisoners_dilemma"):
        check_player("tit_for_two_tats", task_config_registry[f"social_dilemmas/{name}"].get_from_yaml())
