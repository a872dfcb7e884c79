"""A scripted player that puts up with one defection: tit for two tats (Axelrod 1984, The Evolution of Cooperation)."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameOptions
from benchmarl_reciprocator.tasks.matrix.players import MatrixGame
from benchmarl_reciprocator.tasks.players import Player


class TitForTwoTats(Player):
    """Cooperates, unless the other defected twice in a row. Remembers whether it did in the step before the last.

    Args:
        game (MatrixGame): of two players.
    """

    memory_size = 1

    def __init__(self, game: MatrixGame) -> None:
        self.game = game

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        cooperated, first = self.game.read(observation)
        betrayed = (~first & ~cooperated[..., 1]).to(memory.dtype)
        return self.game.act(1 - betrayed * memory[..., 0]), betrayed.unsqueeze(-1)


def tit_for_two_tats(options: Any) -> Player | None:
    """The player for a task with these options, ``None`` where it cannot play it."""
    if not isinstance(options, MatrixGameOptions) or options.cooperates_with() is None:
        return None
    payoffs = options.payoff_table()
    if payoffs.shape != (2, 2, 2):
        return None
    return TitForTwoTats(MatrixGame(payoffs, options.cooperates_with(), options.observation))
