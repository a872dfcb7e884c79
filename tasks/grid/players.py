"""Scripted players of Cleanup and Harvest: cooperators, defectors, and who answers what it sees others do.

They see what an agent sees, and know the map and the rules, which it can learn: what their view shows tells them where
they are, see :class:`~benchmarl_reciprocator.tasks.grid.known_map.KnownMap`. What they do not see they go and look for.
They pick at random among equally good moves, and zap nobody.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad

from benchmarl_reciprocator.tasks.grid.known_map import KnownMap, Sight
from benchmarl_reciprocator.tasks.players import Player

if TYPE_CHECKING:
    from benchmarl_reciprocator.tasks.grid.cleanup import CleanupEnv
    from benchmarl_reciprocator.tasks.grid.harvest import HarvestEnv

# Share of the river with waste that cooperators leave, and how many apples must be near one that they take.
TOLERANCE, SPARE = 0.1, 2
# How much dirtier in a step they think a river gets that they do not see.
UNSEEN = 0.02
# What is left after a step of what tit-for-tat holds against others; shots that it cleans without an answer, and what
# it holds against them from which on it is greedy.
FADES_CLEANUP, UNANSWERED = 0.97, 2.0
FADES_HARVEST, HELD_AGAINST = 0.97, 0.5


class GridPlayer(Player):
    """A player that knows the map. Remembers its pose of the step before, and what is its own.

    Args:
        known (KnownMap): the map.
        n_actions (int): number of actions ``A``.
    """

    def __init__(self, known: KnownMap, n_actions: int) -> None:
        self.known = known
        self.n_actions = n_actions
        self.memory_size = 1 + self.own_memory()

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch = memory.shape[:-1]
        memory = memory.reshape(-1, self.memory_size)
        sight = self.known.look(observation.reshape(len(memory), *observation.shape[len(batch) :]), memory[:, 0])
        probabilities, own = self.decide(sight, memory)
        after = torch.cat([(sight.pose + 1).to(memory.dtype).unsqueeze(-1), own], -1)
        return probabilities.view(*batch, -1), after.view(*batch, -1)

    def own_memory(self) -> int:
        """How many values it remembers besides its pose."""
        return 0

    @abstractmethod
    def decide(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What it does: probabilities of actions ``[R, A]``, and what it remembers besides its pose ``[R, M - 1]``.

        Args:
            sight (Sight): what it sees.
            memory (Tensor): ``[R, M]``, its pose of the step before first.
        """

    def cheapest(self, costs: Tensor) -> Tensor:
        """Equal probabilities ``[R, A]`` for the moves that cost least, of ``[R, moves]``."""
        best = (costs <= costs.amin(-1, keepdim=True) + 1e-3).float()
        return pad(best / best.sum(-1, keepdim=True), (0, self.n_actions - best.shape[-1]))

    def to_apples(self, sight: Sight, apples: Tensor, orchard: slice, shunned: Tensor | None = None) -> Tensor:
        """Probabilities of actions on the way to the nearest of ``apples`` ``[R, n]``, or to where some may be."""
        places = torch.zeros_like(apples)
        places[:, orchard] = ~sight.in_view[:, orchard]
        goals = torch.where(apples.any(-1, keepdim=True), apples, places)
        return self.cheapest(self.known.ways(sight, goals, shunned))


class CleanupPlayer(GridPlayer):
    """Cleans when it is its turn, and otherwise takes the nearest apple.

    It is time to clean while more of the river than :data:`TOLERANCE` has waste, as it saw last. Remembers how clean
    that was.

    Args:
        known (KnownMap): the map.
        env (CleanupEnv): the game.
    """

    def __init__(self, known: KnownMap, env: CleanupEnv) -> None:
        super().__init__(known, len(env.actions))
        self.orchard, self.river = env.orchard, env.river
        rays = env.rays("clean")[: known.n_cells].flatten(2).flatten(0, 1).cpu()
        # Which cells the beam reaches from each pose, [4 n, n].
        self._reach = torch.zeros(len(rays), known.n_cells + 2).scatter_(-1, rays, 1.0)[:, : known.n_cells]
        self._clean = env.actions["clean"]

    def own_memory(self) -> int:
        return 1

    def willing(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Whether it would clean, boolean ``[R]``, and what it remembers for that, ``[R, M - 2]``."""
        return torch.ones(len(memory), dtype=torch.bool, device=memory.device), memory[:, 2:]

    def decide(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        river, waste = sight.in_view[:, self.river], sight.things["waste"]
        shown = river.sum(-1)
        share = waste[:, self.river].sum(-1) / shown.clamp(min=1)
        clean = torch.where(shown > 0, 1 - share, (memory[:, 1] - UNSEEN).clamp(min=0))
        willing, own = self.willing(sight, memory)
        cleans = willing & (clean < 1 - TOLERANCE)
        unseen = torch.zeros_like(waste)
        unseen[:, self.river] = ~river
        targets = torch.where(waste.any(-1, keepdim=True), waste, unseen)
        reach = self.reach(targets)
        # Poses from which a beam reaches waste if nobody is in its way.
        good = targets.float() @ reach.T > 0
        after = self.known.after(sight.pose)
        costs = self.known.ways(sight, good.unflatten(-1, (-1, 4)).any(-1))
        # Where it need only turn
        costs = torch.where(good.gather(-1, after) & (costs < 1), -1.0, costs)
        # To stay where it looks the wrong way is no way.
        costs[:, 0] += 0.1
        ready = cleans & waste.any(-1) & good.gather(-1, sight.pose.unsqueeze(-1)).squeeze(-1)
        fires = one_hot(torch.full_like(sight.pose, self._clean), self.n_actions).float()
        eats = self.to_apples(sight, sight.things["apple"], self.orchard)
        probabilities = torch.where(cleans.unsqueeze(-1), self.cheapest(costs), eats)
        probabilities = torch.where(ready.unsqueeze(-1), fires, probabilities)
        return probabilities, torch.cat([clean.unsqueeze(-1), self.remember(own, ready)], -1)

    def remember(self, own: Tensor, fires: Tensor) -> Tensor:
        """What it remembers of its own decision: whether it ``fires`` ``[R]``, beside ``own`` ``[R, M - 2]``."""
        return own

    def reach(self, like: Tensor) -> Tensor:
        """Which cells the cleaning beam reaches from each pose, ``[4 n, n]``, on the device of a tensor."""
        if self._reach.device != like.device:
            self._reach = self._reach.to(like.device)
        return self._reach


class CleanupDefector(CleanupPlayer):
    """Takes apples, and never cleans."""

    def willing(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        willing, own = super().willing(sight, memory)
        return torch.zeros_like(willing), own


class CleanupTitForTat(CleanupPlayer):
    """Cleans as long as it sees that others do: it holds every shot of its own against them, takes off one for every
    step in which it sees another's beam, and forgets with time (:data:`FADES_CLEANUP`). From :data:`UNANSWERED` shots
    on it takes apples instead, until it has forgotten or sees others clean.

    Remembers that balance, and whether it fired in the step before.
    """

    def own_memory(self) -> int:
        return 3

    def willing(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        balance, fired = memory[:, 2], memory[:, 3]
        # Where its own beam was
        own = self.reach(memory)[(memory[:, 0].long() - 1).clamp(min=0)] * fired.unsqueeze(-1) > 0
        answered = (sight.things["clean"] & ~own).any(-1)
        balance = (FADES_CLEANUP * balance + fired - answered.float()).clamp(min=-UNANSWERED)
        return balance < UNANSWERED, balance.unsqueeze(-1)

    def remember(self, own: Tensor, fires: Tensor) -> Tensor:
        return torch.cat([own, fires.to(own.dtype).unsqueeze(-1)], -1)


class HarvestPlayer(GridPlayer):
    """Takes the nearest apple, but none with fewer than :data:`SPARE` others near it, as far as it sees.

    Args:
        known (KnownMap): the map.
        env (HarvestEnv): the game.
    """

    def __init__(self, known: KnownMap, env: HarvestEnv) -> None:
        self.orchard = env.orchard
        self._near = env.near.cpu()
        super().__init__(known, len(env.actions))

    def spares(self, sight: Sight, scarce: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Whether it leaves scarce apples, boolean ``[R]``, and what it remembers for that, ``[R, M - 1]``.

        Args:
            sight (Sight): what it sees.
            scarce (Tensor): apples with too few others near them, boolean ``[R, orchard]``.
            memory (Tensor): ``[R, M]``.
        """
        return torch.ones(len(memory), dtype=torch.bool, device=memory.device), memory[:, 1:]

    def decide(self, sight: Sight, memory: Tensor) -> tuple[Tensor, Tensor]:
        apples = sight.things["apple"]
        lying = apples[:, self.orchard]
        if self._near.device != memory.device:
            self._near = self._near.to(memory.device)
        scarce = lying & (lying.float() @ self._near < SPARE)
        spares, own = self.spares(sight, scarce, memory)
        shunned = torch.zeros_like(apples)
        shunned[:, self.orchard] = scarce & spares.unsqueeze(-1)
        return self.to_apples(sight, apples & ~shunned, self.orchard, shunned), own


class HarvestDefector(HarvestPlayer):
    """Takes the nearest apple."""

    def spares(self, sight: Sight, scarce: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        spares, own = super().spares(sight, scarce, memory)
        return torch.zeros_like(spares), own


class HarvestTitForTat(HarvestPlayer):
    """Spares scarce apples as long as it sees that others do: whenever it sees another where one was that it would have
    left, it holds that against all, and forgets with time (:data:`FADES_HARVEST`). While it holds more than
    :data:`HELD_AGAINST` against them, it takes any.

    Remembers what it holds against them, and where scarce apples were.
    """

    def own_memory(self) -> int:
        return 1 + self.orchard.stop - self.orchard.start

    def spares(self, sight: Sight, scarce: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        held, were_scarce = memory[:, 1], memory[:, 2:] > 0
        taken = were_scarce & sight.others[:, self.orchard] & ~sight.things["apple"][:, self.orchard]
        held = FADES_HARVEST * held + taken.sum(-1)
        # Beyond its view there may have been more.
        surely = scarce & ((~sight.in_view[:, self.orchard]).float() @ self._near == 0)
        return held <= HELD_AGAINST, torch.cat([held.unsqueeze(-1), surely.to(memory.dtype)], -1)


class Random(Player):
    """Acts uniformly at random, beams included.

    Args:
        n_actions (int): number of actions ``A``.
        observation_dims (int): number of dimensions of an observation.
    """

    def __init__(self, n_actions: int, observation_dims: int) -> None:
        self.n_actions = n_actions
        self._dims = observation_dims

    def __call__(self, observation: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        batch = observation.shape[: observation.ndim - self._dims]
        return observation.new_full((*batch, self.n_actions), 1 / self.n_actions), memory


CLEANUP = {"cooperate": CleanupPlayer, "defect": CleanupDefector, "tit_for_tat": CleanupTitForTat}
HARVEST = {"cooperate": HarvestPlayer, "defect": HarvestDefector, "tit_for_tat": HarvestTitForTat}


def cleanup_players(make_env: Callable[[], CleanupEnv], things: dict[str, str]) -> dict[str, Callable[[], Player]]:
    """Makers of the players of Cleanup, by name.

    Args:
        make_env (callable): makes the game.
        things (dict): colours of things, by name.
    """

    @lru_cache
    def known() -> tuple[KnownMap, CleanupEnv]:
        env = make_env()
        river, orchard = (env.grid.cells("HRS"), True, ("waste", "water")), (env.orchard, False, ("apple",))
        return KnownMap(env, things, [river, orchard]), env

    return _makers(CLEANUP, known)


def harvest_players(make_env: Callable[[], HarvestEnv], things: dict[str, str]) -> dict[str, Callable[[], Player]]:
    """Makers of the players of Harvest, by name, see :func:`cleanup_players`."""

    @lru_cache
    def known() -> tuple[KnownMap, HarvestEnv]:
        env = make_env()
        return KnownMap(env, things, [(env.orchard, False, ("apple",))]), env

    return _makers(HARVEST, known)


def _makers(players: dict[str, Any], known: Callable[[], tuple[KnownMap, Any]]) -> dict[str, Callable[[], Player]]:
    def random() -> Player:
        _, env = known()
        return Random(len(env.actions), 1 if env.observation == "flat" else 3)

    return {**{name: partial(lambda make: make(*known()), make) for name, make in players.items()}, "random": random}
