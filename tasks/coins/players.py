"""Scripted players of Coins, whose scores are the reference points for those of learners."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarl_reciprocator.tasks.coins.game import (
    MOVES,
    CoinRules,
    CoinsEnv,
    coin_metrics,
    displacement,
    landing_cells,
)
from benchmarl_reciprocator.tasks.options import check_option
from benchmarl_reciprocator.tasks.players import Player, play


class CoinPlayer(Player):
    """A scripted player that acts on what an agent of :class:`CoinsEnv` observes.

    It takes a shortest path to the nearest of the coins that are fair game to it, avoids the other coins where that
    costs no step, and picks at random among equally good actions. While it sees no such coin it moves at random.

    Args:
        n_agents (int): number of agents ``N``.
        rules (CoinRules): the variant.
        view (int, optional): as in :class:`CoinsEnv`.
        observation (str): as in :class:`CoinsEnv`.
    """

    def __init__(self, n_agents: int, rules: CoinRules, view: int | None = None, observation: str = "flat") -> None:
        self.n_agents = n_agents
        self.rules = rules
        self.observation = observation
        size = rules.grid_size
        side = size if view is None else view
        cells = torch.arange(side**2)
        if view is None:
            self._way = displacement(size)
        else:
            around = torch.stack([cells // side, cells % side], -1) - side // 2
            self._way = around.expand(side**2, -1, -1)

    def look(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Where everything is on the torus, relative to the player.

        Args:
            observation (Tensor): ``[*B, *O]``.

        Returns:
            tuple[Tensor, Tensor]: the displacement, in rows and columns, to all agents and then all coins
            ``[*B, 2 N, 2]``, own first, and whether it sees them ``[*B, 2 N]``.
        """
        if self.observation == "image":
            observation = observation.movedim(-1, -3).flatten(-3)
        shown = observation.unflatten(-1, (2 * self.n_agents, -1))
        cells = shown.argmax(-1)
        return self._way.to(shown.device)[cells[..., :1], cells], shown.sum(-1) > 0

    def best_actions(self, way: Tensor, seen: Tensor, fair: Tensor) -> Tensor:
        """The best actions, which are all equally good.

        Args:
            way (Tensor): ``[*B, 2 N, 2]``, see :meth:`look`.
            seen (Tensor): boolean ``[*B, 2 N]``.
            fair (Tensor): whose coins are fair game, own first: boolean ``[*B, N]``.

        Returns:
            Tensor: boolean ``[*B, A]``.
        """
        way, seen = way[..., self.n_agents :, :], seen[..., self.n_agents :]
        half, size = self.rules.grid_size // 2, self.rules.grid_size
        moves = torch.tensor(MOVES[: self.rules.n_actions], device=way.device)
        # Steps that remain to every coin after every action: [*B, A, N].
        after = ((way.unsqueeze(-3) - moves.unsqueeze(-2) + half) % size - half).abs().sum(-1)
        after = torch.where(seen.unsqueeze(-2), after, 2 * size)
        fair = fair.unsqueeze(-2)
        takes_another = ((after == 0) & ~fair).any(-1)
        cost = torch.where(fair, after, 2 * size).min(-1).values + takes_another / 2
        return cost == cost.min(-1, keepdim=True).values

    def hunt(self, observation: Tensor, fair: Tensor) -> Tensor:
        """Probabilities of actions ``[*B, A]`` where the coins of ``fair`` ``[N]`` are fair game."""
        best = self.best_actions(*self.look(observation), fair)
        return best / best.sum(-1, keepdim=True)


class Cooperate(CoinPlayer):
    """Goes only for its own coin."""

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        return self.hunt(observation, torch.arange(self.n_agents, device=observation.device) == 0), memory


class Greedy(CoinPlayer):
    """Goes for the nearest coin, whoever owns it."""

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        everybodys = torch.ones(self.n_agents, dtype=torch.bool, device=observation.device)
        return self.hunt(observation, everybodys), memory


class Random(CoinPlayer):
    """Moves at random."""

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        way, _ = self.look(observation)
        n_actions = self.rules.n_actions
        return way.new_full((*way.shape[:-2], n_actions), 1 / n_actions, dtype=observation.dtype), memory


class TitForTat(CoinPlayer):
    """Cooperates, and is greedy for as long as another agent owes it: then the debtor's coins are fair game too.

    An agent's debt is the number of the player's coins that it has taken in the episode, less the number of its coins
    that the player has taken. With two agents it plays as :class:`Greedy` while the other is in debt, else as
    :class:`Cooperate`; with more it goes for its own coins and those of debtors. The idea is that of Lerer and
    Peysakhovich 2018 (arXiv 1707.01068), whose players measure losses by a learned value.

    It infers who took whose coin from where everybody arrives, hence remembers where the coins were relative to itself
    and what it did: it takes equally good actions in turn instead of at random, so that it knows its own move. Memory:
    its last action, ``N`` cells of coins (0 for none), ``N - 1`` debts.

    Raises:
        ValueError: if its view does not cover the whole board.
    """

    def __init__(self, n_agents: int, rules: CoinRules, view: int | None = None, observation: str = "flat") -> None:
        check_option(
            "task.view",
            view,
            view in (None, rules.grid_size),
            f"null, centred or {rules.grid_size} with a player that counts who takes whose coin (tit_for_tat)",
        )
        super().__init__(n_agents, rules, view, observation)
        self.memory_size = 2 * n_agents

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        n, size, n_actions = self.n_agents, self.rules.grid_size, self.rules.n_actions
        last_action, coins, debts = memory.split([1, n, n - 1], -1)
        way, seen = self.look(observation)
        row, column = (way % size).unbind(-1)
        cells = row * size + column
        arrived = landing_cells(cells[..., :n], last_action.long(), size)
        # [*B, N, N]: taker, owner.
        taken = (arrived.unsqueeze(-1) + 1 == coins.unsqueeze(-2)).to(memory.dtype)
        debts = debts + taken[..., 1:, 0] - taken[..., 0, 1:]
        fair = torch.cat([torch.ones_like(debts[..., :1], dtype=torch.bool), debts > 0], -1)
        best = self.best_actions(way, seen, fair)
        turn = (torch.arange(n_actions, device=best.device) - last_action.long() - 1) % n_actions
        action = torch.where(best, turn, n_actions).argmin(-1)
        coins = torch.where(seen, cells + 1, 0)[..., n:]
        memory = torch.cat([action.unsqueeze(-1), coins, debts], -1)
        return one_hot(action, n_actions).to(observation.dtype), memory


PLAYERS: dict[str, Callable[..., Player]] = {
    "cooperate": Cooperate,
    "greedy": Greedy,
    "random": Random,
    "tit_for_tat": TitForTat,
}


def scripted_bounds(
    n_agents: int,
    rules: CoinRules,
    penalty: float | None = None,
    continuation_probability: float = 1.0,
    episodes: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """Returns and own-coin shares of scripted play in a variant: reference points for the scores of learners.

    Args:
        n_agents (int): number of agents.
        rules (CoinRules): the variant.
        penalty (float, optional): as in :class:`CoinsEnv`.
        continuation_probability (float): probability that an episode continues after a step.
        episodes (int): number of episodes played.
        seed (int): of environments and players.

    Returns:
        dict[str, float]: mean return of an agent in an episode and own-coin share, when all cooperate and when all are
        greedy.
    """
    env = CoinsEnv(n_agents, rules, penalty=penalty, num_envs=episodes, seed=seed)
    # Probability that an episode reaches each step.
    reached = continuation_probability ** torch.arange(float(rules.max_steps))
    bounds = {}
    for strategy in ("cooperate", "greedy"):
        played = play(env, [PLAYERS[strategy](n_agents, rules)] * n_agents, seed)
        taken = played.get("coins_taken")
        share = coin_metrics(taken, torch.ones(taken.shape[:2], dtype=torch.bool))["own_coin_share"]
        bounds[f"all_{strategy}_return"] = (played.get("reward").mean((0, 2)) * reached).sum().item()
        bounds[f"all_{strategy}_own_coin_share"] = share.nanmean().item()
    return bounds
