"""Scripted players of Coins on large boards that see what an agent sees."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.rules import ACTIONS
from benchmarl_reciprocator.tasks.grid.sight import Random, Scene, SeeingPlayer, Sight
from benchmarl_reciprocator.tasks.players import Player

OWN = "own_coin"
# Rows ahead and columns to the right of a move, by action: stay, ahead or north, right or east, and so on.
MOVES = ((0, 0), (1, 0), (0, 1), (-1, 0), (0, -1))
# Quarters to the right of a turn.
TURNS = {"turn_left": -1, "turn_right": 1}
# Multiples of the golden ratio are spread evenly between whole numbers.
GOLDEN_RATIO = (5**0.5 - 1) / 2


def coins_in_sight(n_agents: int) -> tuple[str, ...]:
    """Kinds of coins as an agent sees them: its own first, then those of the seats after it."""
    return (OWN, *(f"coin_of_{seat}_after" for seat in range(1, n_agents)))


class CoinBoardPlayer(SeeingPlayer):
    """What players of Coins on large boards have in common.

    Args:
        scene (Scene): what agents see and do.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.others = scene.things[1:]

    def own_alone(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a cooperator, see :class:`Cooperate`."""
        return self.go(sight, self.on(sight.where(OWN)), shunned=sight.where(*self.others))

    def all_coins(self, sight: Sight) -> Tensor:
        """Probabilities ``[R, A]`` of a greedy player, see :class:`Greedy`."""
        return self.go(sight, self.on(sight.where(OWN, *self.others)))


class Cooperate(CoinBoardPlayer):
    """Goes to the nearest of its own coins that it sees, and around all others."""

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.own_alone(sight), memory


class Greedy(CoinBoardPlayer):
    """Goes to the nearest coin that it sees, whoever owns it."""

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.all_coins(sight), memory


class TitForTat(CoinBoardPlayer):
    """Cooperates, and is greedy for as long as others owe it coins: own ones that it saw them take, less others' that
    it took itself.

    It sees another take its coin if it saw the coin and now sees the other on that cell. So it has to know how it moved
    itself: among its actions it chooses by an even sequence of its own in place of chance, and as it goes nowhere but
    where the way is free, it takes for granted that it gets there. If another has got there first, it is mistaken for
    one step.

    Memory: steps played, its last move, what it is owed, and where its own coins were, ``n`` zeros and ones.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self.memory_size = 3 + self.n_cells
        self._before = self._cells_before()

    def act(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        steps, move, owed = memory[:, :3].unbind(-1)
        # What was outside the window was not seen.
        were_own = torch.nn.functional.pad(memory[:, 3:], (0, 1))
        before = self._before.to(move.device)[move.long()]
        owed = owed + (were_own.gather(1, before) * sight.others).sum(-1)
        chances = torch.where((owed > 0).unsqueeze(-1), self.all_coins(sight), self.own_alone(sight))
        action = self._choose(chances, steps)
        # Beams leave it where it is.
        move = action.where(action < len(ACTIONS[self.scene.rules.actions]), 0)
        landing = self._landing.to(move.device)[move, self.own * 4 + sight.heading].unsqueeze(-1)
        takes = sight.where(*self.others).gather(1, landing).squeeze(-1)
        then = torch.stack([steps + 1, move.to(owed.dtype), owed - takes.to(owed.dtype)], -1)
        probabilities = torch.nn.functional.one_hot(action, len(self.actions)).to(chances.dtype)
        return probabilities, torch.cat([then, sight.where(OWN).to(then.dtype)], -1)

    def _choose(self, chances: Tensor, steps: Tensor) -> Tensor:
        """An action ``[R]`` for each of the probabilities ``[R, A]``, by the number of steps played, ``[R]``."""
        level = ((steps.double() + 1) * GOLDEN_RATIO % 1).unsqueeze(-1)
        passed = chances.double().cumsum(-1) <= level * chances.double().sum(-1, keepdim=True)
        return passed.sum(-1).clamp(max=chances.shape[-1] - 1)

    def _cells_before(self) -> Tensor:
        """Where in its last window each cell of its window was, by its last move: ``[moves, n]``; ``n`` for outside."""
        view = self.scene.rules.view
        cell = torch.arange(self.n_cells)
        ahead, right = self.own // view - cell // view, cell % view - self.own % view
        tables = []
        for number, name in enumerate(ACTIONS[self.scene.rules.actions]):
            forward, aside = MOVES[number] if number < len(MOVES) else (0, 0)
            quarter = TURNS.get(name, 0)
            # After a quarter to the right, what is ahead was at the right, and what is at the right was behind.
            was_ahead, was_right = (-quarter * right, quarter * ahead) if quarter else (ahead, right)
            row, column = self.own // view - was_ahead - forward, self.own % view + was_right + aside
            inside = (row >= 0) & (row < view) & (column >= 0) & (column < view)
            tables.append(torch.where(inside, row * view + column, self.n_cells))
        return torch.stack(tables)


PLAYERS: dict[str, Callable[[Scene], Player]] = {
    "cooperate": Cooperate,
    "greedy": Greedy,
    "random": Random,
    "tit_for_tat": TitForTat,
}
