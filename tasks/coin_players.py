"""Scripted players of Coins, which say what a score is worth: they set its bounds."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.coin_game import MOVES, CoinRules, CoinsEnv, coin_metrics, displacement
from benchmarl_reciprocator.tasks.environment import check_option

STRATEGIES = ("cooperate", "greedy", "random")


class CoinPlayer:
    """A scripted player that acts on what an agent of :class:`CoinsEnv` observes.

    It goes for a coin by a shortest way, and picks at random among equally good actions. A coin that it does not see it
    looks for at random.

    Args:
        strategy (str): ``"cooperate"`` goes for the own coin alone and keeps off others' where that costs no step;
            ``"greedy"`` goes for the nearest coin, whoever owns it; ``"random"`` moves at random.
        n_agents (int): number of agents.
        rules (CoinRules): the variant.
        view (int, optional): as in :class:`CoinsEnv`.
        observation (str): as in :class:`CoinsEnv`.
        seed (int): of its random choices.

    Raises:
        ValueError: on an unknown strategy.
    """

    def __init__(
        self,
        strategy: str,
        n_agents: int,
        rules: CoinRules,
        view: int | None = None,
        observation: str = "flat",
        seed: int = 0,
    ) -> None:
        check_option("strategy", strategy, strategy in STRATEGIES, " | ".join(STRATEGIES))
        self.strategy = strategy
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
        self._generator = torch.Generator().manual_seed(seed)

    @classmethod
    def of(cls, env: CoinsEnv, strategy: str, seed: int = 0) -> CoinPlayer:
        """A player for the agents of ``env``."""
        return cls(strategy, env.n_agents, env.rules, env.view, env.observation, seed)

    def __call__(self, observation: Tensor) -> Tensor:
        """Actions ``[*B]`` for observations ``[*B, *O]``."""
        if self.observation == "image":
            observation = observation.movedim(-1, -3).flatten(-3)
        seen = observation.unflatten(-1, (2 * self.n_agents, -1))
        own = seen[..., 0, :].argmax(-1)
        coins = seen[..., self.n_agents :, :]
        on_board = coins.sum(-1) > 0
        way = self._way.to(seen.device)[own.unsqueeze(-1), coins.argmax(-1)]
        half, size = self.rules.grid_size // 2, self.rules.grid_size
        moves = torch.tensor(MOVES[: self.rules.n_actions], device=seen.device)
        # Steps that remain to every coin after every action: [*B, A, N].
        after = ((way.unsqueeze(-3) - moves.unsqueeze(-2) + half) % size - half).abs().sum(-1)
        after = torch.where(on_board.unsqueeze(-2), after, 2 * size).float()
        # Below one step: equally good actions are picked from at random.
        chance = torch.rand(after.shape[:-1], generator=self._generator).to(seen.device) / 4
        if self.strategy == "random":
            return chance.argmin(-1)
        if self.strategy == "greedy":
            return (after.min(-1).values + chance).argmin(-1)
        takes_anothers = (after[..., 1:] == 0).any(-1)
        return (after[..., 0] + takes_anothers / 2 + chance).argmin(-1)


def play(env: CoinsEnv, strategies: Sequence[str], seed: int = 0) -> TensorDictBase:
    """One episode of scripted play in every environment of ``env``.

    Args:
        env (CoinsEnv): ``B`` environments.
        strategies (sequence of str): of every seat, ``N`` of :data:`STRATEGIES`.
        seed (int): of the players' random choices.

    Returns:
        TensorDictBase: ``[B, T]`` with ``"reward"`` ``[B, T, N]`` and ``"coins_taken"`` ``[B, T, N, N]``, see
        :func:`~benchmarl_reciprocator.tasks.coin_game.coin_metrics`.
    """
    players = [CoinPlayer.of(env, strategy, seed + seat) for seat, strategy in enumerate(strategies)]
    env.start(torch.ones(env.batch_size, dtype=torch.bool, device=env.device))
    rewards, taken = [], []
    for _ in range(env.max_steps):
        observation = env.observations()
        actions = torch.stack([player(observation[:, seat]) for seat, player in enumerate(players)], -1)
        reward, info = env.transition(actions)
        rewards.append(reward)
        taken.append(info["coins_taken"])
    return TensorDict(
        {"reward": torch.stack(rewards, 1), "coins_taken": torch.stack(taken, 1)}, [*env.batch_size, env.max_steps]
    )


def scripted_bounds(
    n_agents: int,
    rules: CoinRules,
    penalty: float | None = None,
    continuation_probability: float = 1.0,
    episodes: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """What scripted play comes to in a variant: the marks beside which a learner's score is read.

    Args:
        n_agents (int): number of agents.
        rules (CoinRules): the variant.
        penalty (float, optional): as in :class:`CoinsEnv`.
        continuation_probability (float): chance that an episode goes on after a step.
        episodes (int): how many are played.
        seed (int): of environments and players.

    Returns:
        dict[str, float]: mean return of an agent in an episode and own-coin share, when all cooperate and when all are
        greedy.
    """
    env = CoinsEnv(n_agents, rules, penalty=penalty, num_envs=episodes, seed=seed)
    # How likely an episode is to reach each step.
    reached = continuation_probability ** torch.arange(float(rules.max_steps))
    bounds = {}
    for strategy in ("cooperate", "greedy"):
        played = play(env, [strategy] * n_agents, seed)
        taken = played.get("coins_taken")
        share = coin_metrics(taken, torch.ones(taken.shape[:2], dtype=torch.bool))["own_coin_share"]
        bounds[f"all_{strategy}_return"] = (played.get("reward").mean((0, 2)) * reached).sum().item()
        bounds[f"all_{strategy}_own_coin_share"] = share.nanmean().item()
    return bounds
