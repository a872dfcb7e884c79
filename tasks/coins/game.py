"""Coins: agents on a torus collect coins; a coin taken by another costs its owner more than it pays the taker.

A step has the same order in every variant and its source: all move; whoever arrives on a coin takes it, several at once
too; rewards are paid; coins that were taken reappear, and the single coin passes to its next owner.

What is left that differs from the sources' code:

=========== ============================================================================================================
variant     here, and in the source
=========== ============================================================================================================
all         every agent sees itself and its own coin first; the Reciprocator's code mixes agents and coins up for all
            seats but the first, and M-FOS's wrapper for PPO shows everybody the same
mfos        an episode is one inner episode; in the source a trial has several, with one more call between two of them
            that starts the next and pays nothing
jaxmarl     an episode is one inner episode; in the source it has one step more, in which agents move and coins are
            counted, but whose reward is set to 0
loqa        with three agents, each that takes another's coin costs its owner -N / (N - 1), and the first owner is any;
            in the source's game for three all of them together cost -2, and the first owner is the first or second
=========== ============================================================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding

from benchmarl_reciprocator.tasks.coins.board import draw_board
from benchmarl_reciprocator.tasks.environment import SocialDilemmaEnv
from benchmarl_reciprocator.tasks.options import check_option, one_of

COINS = ("per_agent", "single")
OWNERS = ("alternating", "random")
OBSERVATIONS = ("flat", "image")
MAX_AGENTS = 10
# Row and column of a move, by action: right, left, down, up, stay.
MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 0))


@dataclass(frozen=True)
class CoinRules:
    """What makes a variant of the game; scores of different variants are not comparable.

    Args:
        coins (str): ``"per_agent"``, one coin of every agent always on the board; or ``"single"``, one coin whose
            owner changes, never placed on an agent.
        owner (str): how the single coin's next owner is chosen: ``"alternating"`` or ``"random"``.
        grid_size (int): side of the torus, in cells.
        n_actions (int): 4 moves, or 5 with "stay".
        max_steps (int): length of an episode, in steps.
        penalty_once (bool): whether an owner gets the penalty once for a coin, however many others take it, or once for
            each of them.
    """

    coins: str
    owner: str
    grid_size: int
    n_actions: int
    max_steps: int
    penalty_once: bool = False


VARIANTS = {
    # Zhou, Hong and Kao 2024 (arXiv 2406.01641), and github.com/johnlyzhou/reciprocator.
    "reciprocator": CoinRules("per_agent", "alternating", grid_size=3, n_actions=5, max_steps=32),
    # Lu et al. 2022 (M-FOS, arXiv 2205.01447), github.com/luchris429/model-free-opponent-shaping: an inner episode. Its
    # length is named 16, but the last of these calls only starts the next: 15 steps are played and paid.
    "mfos": CoinRules("per_agent", "alternating", grid_size=3, n_actions=4, max_steps=15),
    # Zhao et al. 2022 (POLA, arXiv 2210.10125), after Lerer and Peysakhovich 2018 (arXiv 1707.01068).
    "pola": CoinRules("single", "alternating", grid_size=3, n_actions=4, max_steps=50),
    # Aghajohari et al. 2024 (LOQA, arXiv 2405.01035), github.com/MiladInk/loqa: for two agents the game of POLA. Its
    # three_player_coin_game.py at 32f50c9 is this with n_agents 3, penalty -2 and penalty_once; there the first owner
    # is never the third agent.
    "loqa": CoinRules("single", "alternating", grid_size=3, n_actions=4, max_steps=50),
    # Rutherford et al. 2023 (JaxMARL, arXiv 2311.10090), coin_game: an inner episode. Its length is named 10, but the
    # reward of the last step is set to 0: 9 steps are paid.
    "jaxmarl": CoinRules("per_agent", "alternating", grid_size=3, n_actions=5, max_steps=9),
}


class CoinsEnv(SocialDilemmaEnv):
    """The Coin Game of Lerer and Peysakhovich 2018 (arXiv 1707.01068) and its variants, for 2 to 10 agents.

    Agents move simultaneously and take the coins on the cells where they arrive: +1 for every coin, and its owner gets
    ``penalty`` for each other agent that takes it (with ``penalty_once`` for the coin, if any other does). Several
    agents may share a cell, and then each takes the coin there.

    Every agent sees itself first and its own coin first among coins, then the others in the order of seats after it:
    channels ``[own position, others' positions, own coin, others' coins]``, each a one-hot over cells.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (CoinRules): the variant.
        penalty (float, optional): what an owner gets when another takes its coin, at most 0. Default:
            ``-N / (N - 1)``, with which greedy play earns zero on average.
        view (int, optional): ``None``: the whole board in fixed coordinates. ``k``: the ``k`` by ``k`` cells around the
            agent, itself in the middle, at most ``grid_size``; with ``k = grid_size`` that is the whole board.
        observation (str): ``"flat"``, ``[2 N k^2]``, or ``"image"``, ``[k, k, 2 N]``, channels last.

    The other keyword arguments are those of :class:`SocialDilemmaEnv`, whose ``max_steps`` comes from the rules.

    Raises:
        ValueError: if an option is invalid, naming its key, what it must be and what it is.
    """

    def __init__(
        self,
        n_agents: int,
        rules: CoinRules,
        *,
        penalty: float | None = None,
        view: int | None = None,
        observation: str = "flat",
        **kwargs: Any,
    ) -> None:
        check_rules(n_agents, rules)
        size, n_cells = rules.grid_size, rules.grid_size**2
        check_option(
            "task.penalty", penalty, penalty is None or -math.inf < penalty <= 0, "null or a finite number <= 0"
        )
        check_option(
            "task.view",
            view,
            view is None or 1 <= view <= size,
            f"null or an integer from 1 to {size} (task.grid_size)",
        )
        check_option("task.observation", observation, observation in OBSERVATIONS, one_of(OBSERVATIONS))
        self.rules = rules
        self.penalty = -n_agents / (n_agents - 1) if penalty is None else float(penalty)
        self.view = view
        self.observation = observation
        self._side = size if view is None else view
        channels = 2 * n_agents
        super().__init__(
            [rules.n_actions] * n_agents,
            observation_shape=self._shape(self._side, channels),
            state_shape=self._shape(size, channels if view is None else channels * n_agents),
            info={"coins_taken": n_agents},
            max_steps=rules.max_steps,
            **kwargs,
        )
        device = self.device
        cells = torch.arange(n_cells, device=device)
        actions = torch.arange(rules.n_actions, device=device)
        self._landing = landing_cells(cells.unsqueeze(-1), actions, size).flatten()
        seats = torch.arange(n_agents, device=device)
        own_first = (seats.unsqueeze(-1) + seats) % n_agents
        # Agents, then coins: what each seat sees, own first.
        self._order = torch.cat([own_first, own_first + n_agents], -1).flatten()
        self._seen_from = _one_hots(size, self._side, view is None).to(device)
        self._seen_whole = _one_hots(size, size, view is None).to(device)
        self._payoff = payoff_table(n_agents, self.penalty).flatten(0, 1).T.contiguous().to(device)
        # [N, B], since operations along the many environments are fast. A coin that is not on the board has the cell
        # n_cells.
        self._agents = torch.zeros(n_agents, *self.batch_size, dtype=torch.long, device=device)
        self._coins = torch.full_like(self._agents, n_cells)

    @property
    def agent_cells(self) -> Tensor:
        """Where the agents are: ``[B, N]``, row times ``grid_size`` plus column."""
        return self._agents.T

    @property
    def coin_cells(self) -> Tensor:
        """Where every agent's coin is: ``[B, N]``, ``grid_size**2`` for one that is not on the board."""
        return self._coins.T

    def place(self, agents: Tensor, coins: Tensor) -> None:
        """Move agents and coins to the given cells, ``[B, N]`` each."""
        self._agents = agents.T.contiguous().to(self._agents)
        self._coins = coins.T.contiguous().to(self._coins)

    def start(self, where: Tensor) -> None:
        self._agents = torch.where(where, self._random_cells(), self._agents)
        self._coins = torch.where(where, self._new_coins(None), self._coins)

    def transition(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self._agents = torch.take(self._landing, self._agents * self.rules.n_actions + actions.T)
        taken = self._agents.unsqueeze(1) == self._coins
        gone = taken.any(0)
        if self.rules.coins == "single":
            gone = gone.any(0)
        self._coins = torch.where(gone, self._new_coins(self._coins), self._coins)
        number = taken.float()
        if self.rules.penalty_once:
            rewards = rewards_penalised_once(taken.permute(2, 0, 1), self.penalty)
        else:
            rewards = (self._payoff @ number.flatten(0, 1)).T.contiguous()
        return rewards, {"coins_taken": number.permute(2, 0, 1)}

    def observations(self) -> Tensor:
        return self._see(self._seen_from)

    def state(self, first_seat: int = 0) -> Tensor:
        """The whole board: as the first agent sees it if ``view`` is ``None``, else centred on every agent in turn."""
        seen = self._see(self._seen_whole)
        if self.view is None:
            return seen[:, first_seat]
        if first_seat:
            seen = seen.roll(-first_seat, 1)
        return seen.movedim(1, -2).flatten(-2) if self.observation == "image" else seen.flatten(1)

    @property
    def interchangeable_seats(self) -> bool:
        return True

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """Picture of the first environment's board, ``[H, W, 3]`` bytes, see
        :func:`~benchmarl_reciprocator.tasks.coins.board.draw_board`.
        """
        check_option("mode", mode, mode == "rgb_array", "rgb_array")
        return draw_board(self._agents[:, 0].tolist(), self._coins[:, 0].tolist(), self.rules.grid_size)

    def _see(self, one_hots: Tensor) -> Tensor:
        """One-hots of everything as every agent sees it, ``[B, N, 2 N k^2]`` or ``[B, N, k, k, 2 N]``."""
        cells = torch.cat([self._agents, self._coins]).index_select(0, self._order)
        if self.view is not None:
            around = self._agents * (self.rules.grid_size**2 + 1)
            cells = (cells.unflatten(0, (self.n_agents, -1)) + around.unsqueeze(1)).flatten(0, 1)
        seen = embedding(cells.T, one_hots).unflatten(1, (self.n_agents, -1))
        if self.observation == "flat":
            return seen.flatten(2)
        side = math.isqrt(one_hots.shape[-1])
        return seen.transpose(2, 3).unflatten(2, (side, side)).contiguous()

    def _shape(self, side: int, channels: int) -> list[int]:
        return [side, side, channels] if self.observation == "image" else [channels * side**2]

    def _random_cells(self) -> Tensor:
        return torch.randint(self.rules.grid_size**2, self._agents.shape, generator=self._generator, device=self.device)

    def _new_coins(self, before: Tensor | None) -> Tensor:
        """Cells of newly placed coins ``[N, B]``, given those ``before`` (``None`` at the start of an episode)."""
        if self.rules.coins == "per_agent":
            return self._random_cells()
        n_cells = self.rules.grid_size**2
        if self.rules.owner == "alternating" and before is not None:
            owner = ((before != n_cells).int().argmax(0) + 1) % self.n_agents
        else:
            owner = (self.random(*self.batch_size) * self.n_agents).long()
        chance = self.random(n_cells, *self.batch_size).scatter(0, self._agents, -1.0)
        cell = chance.argmax(0, keepdim=True)
        return torch.full_like(self._coins, n_cells).scatter(0, owner.unsqueeze(0), cell)


def check_rules(n_agents: int, rules: CoinRules) -> None:
    """Raise a ``ValueError`` that names the key, what it must be and what it is, if a rule is invalid."""
    check_option("task.n_agents", n_agents, 2 <= n_agents <= MAX_AGENTS, f"an integer from 2 to {MAX_AGENTS}")
    check_option("task.coins", rules.coins, rules.coins in COINS, one_of(COINS))
    check_option("task.owner", rules.owner, rules.owner in OWNERS, one_of(OWNERS))
    check_option("task.n_actions", rules.n_actions, rules.n_actions in (4, 5), "4 (moves) or 5 (moves and stay)")
    check_option("task.grid_size", rules.grid_size, rules.grid_size >= 2, "an integer >= 2")
    check_option(
        "task.grid_size",
        rules.grid_size,
        rules.coins == "per_agent" or rules.grid_size**2 > n_agents,
        f"an integer whose square is above {n_agents} (task.n_agents), since no single coin is placed on an agent",
    )


def payoff_table(n_agents: int, penalty: float) -> Tensor:
    """Rewards of all agents by taker and owner of a coin: ``[N, N, N]``, taker, owner, whose reward."""
    own = torch.eye(n_agents)
    taker = own.unsqueeze(1).expand(n_agents, n_agents, n_agents)
    owner = penalty * own.expand(n_agents, n_agents, n_agents)
    return taker + owner * (1 - own).unsqueeze(-1)


def rewards_penalised_once(taken: Tensor, penalty: float) -> Tensor:
    """Rewards ``[*B, N]`` where an owner gets the penalty once for a coin, whatever the number of others that take it.

    Args:
        taken (Tensor): whether each agent takes the coin of each owner, boolean ``[*B, N, N]``.
        penalty (float): the penalty.
    """
    own = torch.eye(taken.shape[-1], dtype=torch.bool, device=taken.device)
    return taken.sum(-1) + penalty * (taken & ~own).any(-2)


def landing_cells(agents: Tensor, action: Tensor, grid_size: int) -> Tensor:
    """Cells ``[*B, N]`` where agents on the cells ``agents`` ``[*B, N]`` arrive with their ``action`` ``[*B, N]``.

    Batch dimensions are broadcast.
    """
    row_move, column_move = torch.tensor(MOVES, device=agents.device).unbind(-1)
    row = (agents // grid_size + row_move[action]) % grid_size
    column = (agents % grid_size + column_move[action]) % grid_size
    return row * grid_size + column


def displacement(size: int) -> Tensor:
    """Shortest path between cells of a torus: ``[G^2, G^2, 2]``, rows and columns from the first to the second."""
    cells = torch.arange(size**2)
    place = torch.stack([cells // size, cells % size], -1)
    return (place - place.unsqueeze(1) + size // 2) % size - size // 2


def window_table(size: int, side: int) -> Tensor:
    """Where a cell lies in the ``side`` by ``side`` window around another cell.

    Args:
        size (int): side of the torus ``G``.
        side (int): side of the window ``k``, at most ``G``.

    Returns:
        Tensor: ``[G^2, G^2 + 1]``, by the cell in the middle and the other; ``k^2`` for a cell outside the window and
        in the last column, which stands for what is not on the board.
    """
    place = displacement(size) + side // 2
    inside = ((place >= 0) & (place < side)).all(-1)
    index = torch.where(inside, place[..., 0] * side + place[..., 1], side**2)
    return torch.cat([index, torch.full((size**2, 1), side**2)], -1)


def _one_hots(size: int, side: int, fixed: bool) -> Tensor:
    """One-hots ``[*, k^2]`` of cells in fixed coordinates, by cell; or in the window around another cell, by
    ``(G^2 + 1)`` times the cell in the middle plus the other. All zeros for what is not seen.
    """
    one_hot = torch.eye(side**2 + 1, side**2)
    return one_hot if fixed else one_hot[window_table(size, side).flatten()]


def coin_metrics(taken: Tensor, valid: Tensor) -> dict[str, Tensor]:
    """Coins by taker and owner, and shares of own coins.

    Args:
        taken (Tensor): ``[E, T, N, N]``, 1 where the agent (third dimension) takes the coin of the owner (fourth), in
            ``E`` trajectories.
        valid (Tensor): boolean ``[E, T]``, whether the step belongs to the trajectory (or pads it).

    Returns:
        dict[str, Tensor]: each ``[E]``: ``own_coin_share`` and ``agent_<i>_own_coin_share``, own coins among all
        that the agents took (``nan`` where none was taken); ``agent_<i>_took_from_<j>``, coins of ``j`` that ``i``
        took in the trajectory.
    """
    counts = (taken * valid[..., None, None]).sum(1)
    own, every = counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1)
    metrics = {"own_coin_share": own.sum(-1) / every.sum(-1)}
    for agent in range(counts.shape[-1]):
        metrics[f"agent_{agent}_own_coin_share"] = own[:, agent] / every[:, agent]
        for owner in range(counts.shape[-1]):
            metrics[f"agent_{agent}_took_from_{owner}"] = counts[:, agent, owner]
    return metrics
