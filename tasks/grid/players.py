"""Scripted players of Cleanup and Harvest that know the full state: cooperators and defectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.cleanup import CleanupEnv
from benchmarl_reciprocator.tasks.grid.harvest import HarvestEnv
from benchmarl_reciprocator.tasks.grid.rules import ACTIONS
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv
from benchmarl_reciprocator.tasks.options import check_option, one_of

STRATEGIES = ("cooperate", "defect")
FAR = 1e4


class GridPlayers:
    """Scripted play of all agents of an environment, as a policy for ``env.rollout``.

    An agent that looks for apples takes a shortest path to the nearest. In Cleanup, cooperators clean while more of the
    river than ``tolerance`` has waste, from the nearest cell where their beam reaches some, and otherwise look for
    apples; defectors always look for apples. In Harvest, cooperators take no apple with fewer than ``spare`` others
    near it; defectors take any. They pick at random among equally good actions, and zap nobody.

    Args:
        env (GridWorldEnv): Cleanup or Harvest.
        strategies (sequence of str): one of :data:`STRATEGIES` for each of the ``N`` seats.
        tolerance (float): share of the river with waste that cooperators leave.
        spare (int): how many apples must be near one that a cooperator takes.
        seed (int): seed of their random choices.

    Raises:
        ValueError: if a strategy is unknown, or the game is another.
    """

    def __init__(
        self,
        env: GridWorldEnv,
        strategies: Sequence[str],
        tolerance: float = 0.1,
        spare: int = 2,
        seed: int = 0,
    ) -> None:
        for strategy in strategies:
            check_option("strategy", strategy, strategy in STRATEGIES, one_of(STRATEGIES))
        game = type(env).__name__
        check_option("env", game, isinstance(env, (CleanupEnv, HarvestEnv)), "a CleanupEnv or a HarvestEnv")
        self.env = env
        self.tolerance = tolerance
        self.spare = spare
        self._cooperates = torch.tensor([strategy == "cooperate" for strategy in strategies], device=env.device)
        self._generator = torch.Generator().manual_seed(seed)
        # A pose is a cell and an orientation: [A, 4 n], without beams.
        self._next = next_poses(env)
        self._steps = pose_distances(self._next)

    def __call__(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Write every group's actions."""
        actions = self.choose()
        first = 0
        for group, agents in self.env.group_map.items():
            tensordict.set((group, "action"), actions[:, first : first + len(agents)])
            first += len(agents)
        return tensordict

    def choose(self) -> Tensor:
        """Actions ``[B, N]`` in the state that the environment is in."""
        env = self.env
        apples = env.things[:, : env.grid.wall] == env.things_named["apple"]
        targets = apples.unsqueeze(1).expand(-1, env.n_agents, -1)
        if isinstance(env, HarvestEnv):
            lying = apples[:, env.orchard].float()
            spared = torch.zeros_like(apples)
            spared[:, env.orchard] = apples[:, env.orchard] & (lying @ env.near < self.spare)
            shunned = spared.unsqueeze(1) & self._cooperates.unsqueeze(-1)
            return self._go(_any_way(targets & ~shunned), shunned)
        waste = env.things == env.things_named["waste"]
        dirty = waste[:, env.river].float().mean(-1) > self.tolerance
        cleans = dirty.unsqueeze(-1) & self._cooperates
        # Poses from which a beam reaches waste if nobody is in its way.
        rays = env.rays("clean")[: env.grid.wall].flatten(2)
        in_reach = waste[:, rays].any(-1).flatten(1)
        poses = torch.where(cleans.unsqueeze(-1), in_reach.unsqueeze(1), _any_way(targets))
        going = self._go(poses, torch.zeros_like(targets))
        ready = cleans & in_reach.gather(1, self._pose()) & (env.out == 0)
        return torch.where(ready, env.actions["clean"], going)

    def _pose(self) -> Tensor:
        """Poses of agents, ``[B, N]``; any for those that are out."""
        return (self.env.cells * 4 + self.env.facing).clamp(max=self._next.shape[1] - 1)

    def _go(self, targets: Tensor, shunned: Tensor) -> Tensor:
        """First actions of shortest paths to the nearest of the poses ``targets`` ``[B, N, 4 n]``, never onto the cells
        ``shunned`` ``[B, N, n]``, and around agents that are in the way.
        """
        env = self.env
        after = self._next[:, self._pose()].movedim(0, -1)
        steps = self._steps[after].masked_fill(~targets.unsqueeze(-2), FAR).amin(-1)
        cells = after // 4
        moves = cells != env.cells.unsqueeze(-1)
        taken = (cells.unsqueeze(-1) == env.cells[:, None, None]).any(-1) & moves
        bad = shunned.gather(-1, cells) & moves
        chance = torch.rand(steps.shape, generator=self._generator).to(steps.device) / 4
        return (steps + 1.5 * taken + 2 * FAR * bad + chance).argmin(-1)


def next_poses(env: GridWorldEnv) -> Tensor:
    """The pose after each action that is not a beam, on an empty map: ``[A, 4 n]``, four times the cell plus the
    orientation.
    """
    n_moves = len(ACTIONS[env.rules.actions])
    landing, facing = env.move_tables()
    return (landing * 4 + facing.unsqueeze(-1))[:n_moves, :, : env.grid.wall].transpose(1, 2).flatten(1)


def pose_distances(after: Tensor) -> Tensor:
    """Number of actions on the shortest path between poses, ``[P, P]``; :data:`FAR` where there is none.

    Args:
        after (Tensor): the pose after each action, ``[A, P]``.
    """
    steps = torch.full((after.shape[1], after.shape[1]), FAR, device=after.device).fill_diagonal_(0.0)
    while True:
        nearer = torch.minimum(steps, steps[after].amin(0) + 1).clamp(max=FAR)
        if torch.equal(nearer, steps):
            return steps
        steps = nearer


def _any_way(cells: Tensor) -> Tensor:
    """Poses on ``cells`` ``[*B, n]``, in any orientation: ``[*B, 4 n]``."""
    return cells.repeat_interleave(4, -1)
