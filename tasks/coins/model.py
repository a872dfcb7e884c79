"""Ground truth for Coins: its rewards, its boards and, for two agents, the exact values of policies.

:class:`CoinsModel` is all of it for one task. The rest are pure functions on boards, which are the cells of the agents
``[*B, N]`` and of their coins ``[*B, N]``, row times ``G`` plus column on a torus of side ``G``, and ``G^2`` for a coin
that is not on the board.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.coins.game import (
    MOVES,
    CoinRules,
    CoinsEnv,
    landing_cells,
    payoff_table,
    rewards_penalised_once,
)
from benchmarl_reciprocator.tasks.options import bad_option, check_option

if TYPE_CHECKING:
    from benchmarl_reciprocator.tasks.coins.coins import TaskConfig


class CoinsModel:
    """The known model of a Coins task, a :class:`~benchmarl_reciprocator.tasks.known_model.KnownModel`. A situation is
    a board ``[*B, 2 N]``: the cells of agents, and then of coins.

    Args:
        options (TaskConfig): the task's.
    """

    def __init__(self, options: TaskConfig) -> None:
        self.options, self.rules = options, options.rules()
        self.n_agents, self.n_actions = options.n_agents, self.rules.n_actions
        self.continuation_probability = options.continuation_probability
        self.penalty = -self.n_agents / (self.n_agents - 1) if options.penalty is None else options.penalty
        self.n_situations = self.rules.grid_size**8
        # Tables of more boards than these would not be filled in seconds.
        self.has_tables = self.n_agents == 2 and self.rules.coins == "per_agent" and self.rules.grid_size <= 3

    def situation(self, state: Tensor) -> Tensor:
        size, image = self.rules.grid_size, self.options.observation == "image"
        board = decode_boards(state, self.n_agents, size, view=self.options.cells_in_view(), image=image)
        return torch.cat(board, dim=-1)

    def rewards(self, situation: Tensor, action: Tensor) -> Tensor:
        return coin_rewards(*self._board(situation), action, self.rules, self.penalty)

    def number(self, situation: Tensor) -> Tensor:
        return board_index(*self._board(situation), self.rules.grid_size)

    def turned(self, situation: Tensor, by: int) -> Tensor:
        return torch.cat([part.roll(-by, -1) for part in self._board(situation)], dim=-1)

    def observations(self) -> Tensor:
        boards = all_boards(self.rules.grid_size)
        env = self.options.make_env(num_envs=len(boards[0]), device="cpu", seed=0)
        place_boards(env, *boards)
        return env.observations()

    def values(self, policy: Tensor, gamma: float) -> Tensor:
        return coin_values(policy, self.rules, self.penalty, gamma)

    def future(self, values: Tensor, situation: Tensor, action: Tensor, gamma: float) -> Tensor:
        return coin_future(values, *self._board(situation), action, self.rules, gamma)

    def _board(self, situation: Tensor) -> tuple[Tensor, Tensor]:
        return situation[..., : self.n_agents], situation[..., self.n_agents :]


def coin_rewards(agents: Tensor, coins: Tensor, action: Tensor, rules: CoinRules, penalty: float) -> Tensor:
    """Rewards of a step, which are deterministic given the board and the joint action.

    Args:
        agents (Tensor): cells of the agents, integers ``[*B, N]``.
        coins (Tensor): cells of the coins by owner, integers ``[*B, N]``.
        action (Tensor): integers ``[*B, N]``. Batch dimensions are broadcast.
        rules (CoinRules): the variant.
        penalty (float): what an owner gets when another takes its coin.

    Returns:
        Tensor: ``[*B, N]``.
    """
    taken = landing_cells(agents, action, rules.grid_size).unsqueeze(-1) == coins.unsqueeze(-2)
    if rules.penalty_once:
        return rewards_penalised_once(taken, penalty)
    payoff = payoff_table(agents.shape[-1], penalty).to(agents.device)
    return taken.flatten(-2).to(payoff) @ payoff.flatten(0, 1)


def decode_boards(
    state: Tensor, n_agents: int, grid_size: int, *, view: int | None, image: bool = False
) -> tuple[Tensor, Tensor]:
    """Boards from the ``"state"`` of :class:`CoinsEnv`, which shows the whole board whatever the agents' view.

    Args:
        state (Tensor): ``[*B, S]``, or ``[*B, G, G, S]`` where observations are images.
        n_agents (int): number of agents ``N``.
        grid_size (int): side of the torus ``G``.

    Keyword Args:
        view (int, optional): as in :class:`CoinsEnv`. With a centred view the state gives all positions relative to
            the agents. All translations of a board are equivalent then: the one returned has agent 0 on cell 0.
        image (bool): whether observations are images.

    Returns:
        tuple[Tensor, Tensor]: cells of agents and of coins, integers ``[*B, N]`` each.
    """
    channels = state.flatten(-3, -2).transpose(-1, -2) if image else state.unflatten(-1, (-1, grid_size**2))
    # The first channels are those that agent 0 sees, in the order of seats.
    seen = channels[..., : 2 * n_agents, :]
    cells = torch.where(seen.any(-1), seen.argmax(-1), grid_size**2)
    if view is not None:
        middle = grid_size // 2
        row, column = (cells // grid_size - middle) % grid_size, (cells % grid_size - middle) % grid_size
        cells = torch.where(cells < grid_size**2, row * grid_size + column, cells)
    return cells[..., :n_agents], cells[..., n_agents:]


def all_boards(grid_size: int) -> tuple[Tensor, Tensor]:
    """Every board of two agents with a coin each: cells of agents and of coins, ``[G^8, 2]`` each, in the order of
    :func:`board_index`.
    """
    cells = torch.arange(grid_size**2)
    boards = torch.cartesian_prod(*[cells] * 4)
    return boards[:, :2], boards[:, 2:]


def board_index(agents: Tensor, coins: Tensor, grid_size: int) -> Tensor:
    """Index in :func:`all_boards` of boards of two agents ``[*B, 2]`` with coins ``[*B, 2]``: ``[*B]``."""
    weights = grid_size ** torch.tensor([6, 4, 2, 0], device=agents.device)
    return (torch.cat([agents, coins], dim=-1) * weights).sum(-1)


def place_boards(env: CoinsEnv, agents: Tensor, coins: Tensor) -> None:
    """Set the boards of ``env`` to agents and coins on these cells, ``[B, N]`` each."""
    env.place(agents, coins)


def coin_values(policy: Tensor, rules: CoinRules, penalty: float, gamma: float, tolerance: float = 1e-4) -> Tensor:
    """Exact values of all boards for two agents, by dynamic programming.

    The horizon is infinite, as for a learner that bootstraps where an episode is truncated.

    Args:
        policy (Tensor): probabilities of both agents' actions on :func:`all_boards`, ``[G^8, 2, A]``.
        rules (CoinRules): the variant, with a coin of each agent on the board.
        penalty (float): what an owner gets when another takes its coin.
        gamma (float): discount in ``[0, 1)``; times the probability that the episode continues, where it may terminate.
        tolerance (float): bound on the error, in units of reward.

    Returns:
        Tensor: expected discounted return of both agents from each board, ``[G^8, 2]``, double.

    Raises:
        ValueError: for a single coin, a policy of another shape or a ``gamma`` outside ``[0, 1)``.
    """
    n_cells = rules.grid_size**2
    if rules.coins != "per_agent":
        raise bad_option("task.coins", rules.coins, "per_agent where values are to be exact")
    if policy.shape != (n_cells**4, 2, rules.n_actions):
        shape = (n_cells**4, 2, rules.n_actions)
        raise bad_option("the shape of policy", tuple(policy.shape), f"[G^8, 2, A] = {shape}")
    check_option("gamma", gamma, 0 <= gamma < 1, "at least 0 and below 1")
    agents, coins = all_boards(rules.grid_size)
    agents, coins = agents.to(policy.device), coins.to(policy.device)
    actions = torch.arange(rules.n_actions, device=policy.device)
    lands = landing_cells(agents.unsqueeze(-1), actions, rules.grid_size)
    arrives = torch.zeros(*agents.shape, n_cells, dtype=torch.double, device=policy.device)
    arrives = arrives.scatter_add(-1, lands, policy.double())
    # By coins, by agents' cells before and after the move: [G^4, G^4, G^4].
    moves = (arrives[:, 0].unsqueeze(-1) * arrives[:, 1].unsqueeze(-2)).reshape(n_cells**2, n_cells**2, n_cells**2)
    moves = moves.transpose(0, 1).contiguous()
    stay = torch.full_like(agents, MOVES.index((0, 0)))
    # By the agents' cells after the move and the coins before it, as if the agents had stayed there.
    rewards = coin_rewards(agents, coins, stay, rules, penalty).double()

    values = torch.zeros_like(rewards)
    while True:
        after = (rewards + gamma * _after_respawn(values, rules.grid_size)).reshape(n_cells**2, n_cells**2, 2)
        updated = (moves @ after.transpose(0, 1)).transpose(0, 1).reshape(values.shape)
        low, high = torch.aminmax(updated - values, dim=0)
        values = updated
        # All further sweeps add between gamma / (1 - gamma) times the smallest and the largest change (MacQueen 1966,
        # "A modified dynamic programming method for Markovian decision problems"), which saves most of them.
        ahead = gamma / (1 - gamma)
        if ahead * (high - low).max() <= 2 * tolerance:
            return values + ahead * (low + high) / 2


def coin_future(
    values: Tensor, agents: Tensor, coins: Tensor, action: Tensor, rules: CoinRules, gamma: float
) -> Tensor:
    """Expected discounted value of the next board, over where coins reappear.

    Args:
        values (Tensor): of all boards, ``[G^8, 2]``, see :func:`coin_values`.
        agents (Tensor): cells of the agents, integers ``[*B, 2]``.
        coins (Tensor): cells of the coins, integers ``[*B, 2]``.
        action (Tensor): integers ``[*B, 2]``. Batch dimensions are broadcast.
        rules (CoinRules): the variant.
        gamma (float): discount, as for :func:`coin_values`.

    Returns:
        Tensor: ``[*B, 2]``, in units of reward.
    """
    arrived, coins = torch.broadcast_tensors(landing_cells(agents, action, rules.grid_size), coins)
    return gamma * _after_respawn(values, rules.grid_size)[board_index(arrived, coins, rules.grid_size)]


def _after_respawn(values: Tensor, grid_size: int) -> Tensor:
    """Mean value once the coins that were taken have reappeared, ``[G^8, 2]``, by the agents' cells after a move and
    the coins' before it.
    """
    cells = torch.arange(grid_size**2, device=values.device)
    here = cells.unsqueeze(-1) == cells
    # By the cells of agent 0, agent 1 and a coin.
    gone = (here.unsqueeze(1) | here.unsqueeze(0)).unsqueeze(-1)
    table = values.reshape(*[grid_size**2] * 4, 2)
    table = torch.where(gone.unsqueeze(-2), table.mean(2, keepdim=True), table)
    table = torch.where(gone.unsqueeze(-3), table.mean(3, keepdim=True), table)
    return table.reshape(values.shape)
