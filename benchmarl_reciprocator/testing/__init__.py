"""Checks for tasks, scripted players and algorithms of your own: what this package's own go through too.

Plain functions, for any test runner or none. Each raises ``AssertionError`` where something is amiss, and its text says
what to mend::

    from benchmarl_reciprocator.testing import check_algorithm, check_player, check_task


    def test_my_game() -> None:
        check_task("my_game")


    def test_my_algorithm() -> None:
        check_algorithm("my_algorithm")

They train for a few iterations, on the CPU, and take seconds to a minute each.
"""

from benchmarl_reciprocator.testing.algorithms import check_algorithm
from benchmarl_reciprocator.testing.players import check_player
from benchmarl_reciprocator.testing.tasks import check_task

__all__ = ["check_algorithm", "check_player", "check_task"]
