"""Scripted players of matrix games with two actions, one of which cooperates.

With more than two players a strategy depends on how many of the others cooperated; each docstring says how.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.options import PROBABILITY, check_option
from benchmarl_reciprocator.tasks.players import Player


@dataclass(frozen=True)
class MatrixGame:
    """What a player knows of its game, as in :class:`~benchmarl_reciprocator.tasks.matrix.matrix_game.MatrixGameEnv`.

    Args:
        payoffs (Tensor): ``[2, ..., 2, N]``.
        cooperative_action (int): 0 or 1.
        observation (str): ``"joint"`` or ``"per_agent"``.
    """

    payoffs: Tensor
    cooperative_action: int = 0
    observation: str = "joint"

    @property
    def n_agents(self) -> int:
        return self.payoffs.shape[-1]

    def read(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each player cooperated in the last step ``[*B, N]``, own first, and whether it is the first step
        ``[*B]``, from observations ``[*B, O]``.
        """
        code, first = observation[..., :-1], observation[..., -1].bool()
        if self.observation == "joint":
            powers = torch.arange(self.n_agents - 1, -1, -1, device=code.device)
            actions = (code.argmax(-1, keepdim=True) >> powers) & 1
        else:
            actions = code.unflatten(-1, (self.n_agents, 2)).argmax(-1)
        return actions == self.cooperative_action, first

    def act(self, p_cooperate: Tensor) -> Tensor:
        """Probabilities of both actions ``[*B, 2]`` from that of cooperating ``[*B]``."""
        both = torch.stack([p_cooperate, 1 - p_cooperate], -1)
        return both if self.cooperative_action == 0 else both.flip(-1)

    def rewards(self, player: str) -> tuple[float, float, float, float]:
        """Rewards of the row player for CC, CD, DC and DD: ``R, S, T, P``, for a ``player`` defined in terms of them.

        Raises:
            ValueError: unless the game is symmetric and has two players.
        """
        symmetric = self.n_agents == 2 and torch.equal(self.payoffs[..., 0], self.payoffs[..., 1].T)
        check_option(f"the game of {player}", self.payoffs.tolist(), symmetric, "a symmetric game of 2 players")
        table = self.payoffs[..., 0] if self.cooperative_action == 0 else self.payoffs[..., 0].flip(0, 1)
        return tuple(table.flatten().tolist())


class MemoryOne(Player):
    """Cooperates with a probability that depends only on the last step: its own action and how many others cooperated.

    For two players these are the memory-one strategies of Nowak and Sigmund 1993; for more, those of Hilbe et al. 2014
    (PNAS 111, 16425).

    Args:
        game (MatrixGame): the game.
        first (float): probability of cooperating in the first step.
        after_cooperating (sequence of float): ``N`` probabilities, by the number 0 to ``N - 1`` of others who
            cooperated, after it cooperated itself.
        after_defecting (sequence of float): the same after it defected.
    """

    def __init__(
        self, game: MatrixGame, first: float, after_cooperating: Sequence[float], after_defecting: Sequence[float]
    ) -> None:
        self.game = game
        self.first = first
        self.after = torch.tensor([[*after_defecting], [*after_cooperating]], dtype=torch.float32)

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        cooperated, first = self.game.read(observation)
        after = self.after.to(observation.device)[cooperated[..., 0].long(), cooperated[..., 1:].sum(-1)]
        return self.game.act(torch.where(first, self.first, after)), memory


class RandomMemoryOne(Player):
    """See :func:`random_memory_one`. Remembers its probabilities of cooperating: in the first step, and after each of
    the :class:`MemoryOne` situations.

    Args:
        game (MatrixGame): the game.
    """

    def __init__(self, game: MatrixGame) -> None:
        self.game = game
        self.memory_size = 1 + 2 * game.n_agents

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        cooperated, first = self.game.read(observation)
        memory = torch.where(first.unsqueeze(-1), torch.rand_like(memory), memory)
        situation = 1 + cooperated[..., 0] * self.game.n_agents + cooperated[..., 1:].sum(-1)
        situation = torch.where(first, 0, situation)
        return self.game.act(memory.gather(-1, situation.unsqueeze(-1)).squeeze(-1)), memory


class Grim(Player):
    """See :func:`grim`. Remembers whether another has defected.

    Args:
        game (MatrixGame): the game.
    """

    memory_size = 1

    def __init__(self, game: MatrixGame) -> None:
        self.game = game

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        cooperated, first = self.game.read(observation)
        betrayed = ~first & ~cooperated[..., 1:].all(-1)
        memory = torch.maximum(memory, betrayed.unsqueeze(-1).to(memory.dtype))
        return self.game.act(1 - memory[..., 0]), memory


def all_c(game: MatrixGame) -> Player:
    """Always cooperates."""
    return _regardless(game, 1.0)


def all_d(game: MatrixGame) -> Player:
    """Always defects."""
    return _regardless(game, 0.0)


def random(game: MatrixGame, p: float = 0.5) -> Player:
    """Cooperates with probability ``p``, whatever happened."""
    check_option("p", p, 0 <= p <= 1, PROBABILITY)
    return _regardless(game, p)


def tit_for_tat(game: MatrixGame) -> Player:
    """Cooperates first, then does what the other did (Rapoport's, in Axelrod and Hamilton 1981, Science 211, 1390).

    With ``N`` players it cooperates if all others did: of the thresholds of Boyd and Richerson 1988 (J. Theor. Biol.
    132, 337) the one with which mutual cooperation is stable, since a lower one lets somebody defect for free.
    """
    return _tit_for_tat(game, first=1.0, forgives=0.0)


def suspicious_tit_for_tat(game: MatrixGame) -> Player:
    """:func:`tit_for_tat` that defects first (Boyd and Lorberbaum 1987, Nature 327, 58)."""
    return _tit_for_tat(game, first=0.0, forgives=0.0)


def generous_tit_for_tat(game: MatrixGame) -> Player:
    """:func:`tit_for_tat` that forgives with probability ``min(1 - (T - R) / (R - S), (R - P) / (T - P))``, the largest
    at which defecting does not pay (Nowak and Sigmund 1992, Nature 355, 250).

    Raises:
        ValueError: unless the game has two players and ``T > R > max(P, S)``, where this is a probability.
    """
    name = "generous_tit_for_tat"
    r, s, t, p = game.rewards(name)
    game_has = {"R": r, "S": s, "T": t, "P": p}
    check_option(f"the game of {name}", game_has, t > r > max(p, s), "one with T > R > max(P, S)")
    forgives = min(1 - (t - r) / (r - s), (r - p) / (t - p))
    return _tit_for_tat(game, first=1.0, forgives=max(forgives, 0.0))


def grim(game: MatrixGame) -> Player:
    """Cooperates until another defects, and never again in the episode (Friedman 1971, Rev. Econ. Stud. 38, 1).

    With ``N`` players, until any other defects.
    """
    return Grim(game)


def win_stay_lose_shift(game: MatrixGame) -> Player:
    """Pavlov: cooperates first and whenever both did the same, so that it repeats what earned ``R`` or ``T`` and
    changes after ``S`` or ``P`` (Nowak and Sigmund 1993, Nature 364, 56).

    With ``N`` players it cooperates after all or none did: All-or-None of Pinheiro et al. 2014 (PLoS Comput. Biol. 10,
    e1003945).
    """
    others = game.n_agents - 1
    return MemoryOne(game, 1.0, [0.0] * others + [1.0], [1.0] + [0.0] * others)


def extortion(game: MatrixGame, chi: float = 3.0) -> Player:
    """Zero-determinant extortion: in the long run its surplus over ``P`` is ``chi`` times the other's, whatever the
    other does (Press and Dyson 2012, PNAS 109, 10409). Cooperates first.

    The scale of its probabilities is half of the largest feasible one, as in their example ``(11/13, 1/2, 7/26, 0)``.
    The relation holds without a trembling hand (``task.action_noise``).

    Args:
        game (MatrixGame): the game.
        chi (float): the extortion factor, above 1.

    Raises:
        ValueError: unless the game has two players and its rewards allow such a strategy.
    """
    r, s, t, p = game.rewards("extortion")
    check_option("chi", chi, chi > 1, "a number > 1")
    # How far each outcome moves the probability, in units of the scale: down from 1, or up from 0.
    after_cc, after_cd, after_dc = (chi - 1) * (r - p), chi * (t - p) - (s - p), (t - p) - chi * (s - p)
    check_option(
        "the game of extortion",
        {"R": r, "S": s, "T": t, "P": p, "chi": chi},
        min(after_cc, after_cd, after_dc) >= 0 and max(after_cc, after_cd, after_dc) > 0,
        "one with R >= P, chi (T - P) >= S - P and T - P >= chi (S - P)",
    )
    scale = 0.5 / max(after_cc, after_cd, after_dc)
    return MemoryOne(game, 1.0, [1 - scale * after_cd, 1 - scale * after_cc], [0.0, scale * after_dc])


def random_memory_one(game: MatrixGame) -> Player:
    """A memory-one strategy drawn anew in every episode: each of its probabilities of cooperating is uniform in
    ``[0, 1]`` (Weis et al. 2026, arXiv 2602.16301).
    """
    return RandomMemoryOne(game)


PLAYERS: dict[str, Callable[[MatrixGame], Player]] = {
    make.__name__: make
    for make in (
        all_c,
        all_d,
        random,
        tit_for_tat,
        suspicious_tit_for_tat,
        generous_tit_for_tat,
        grim,
        win_stay_lose_shift,
        extortion,
        random_memory_one,
    )
}


def _regardless(game: MatrixGame, p: float) -> Player:
    return MemoryOne(game, p, [p] * game.n_agents, [p] * game.n_agents)


def _tit_for_tat(game: MatrixGame, first: float, forgives: float) -> Player:
    after = [forgives] * (game.n_agents - 1) + [1.0]
    return MemoryOne(game, first, after, after)
