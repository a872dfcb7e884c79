"""What somebody who knows the map of a grid world makes of what an agent sees: where it is, and what lies where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.map import window_cells
from benchmarl_reciprocator.tasks.grid.movement import move_tables
from benchmarl_reciprocator.tasks.grid.rules import ACTIONS
from benchmarl_reciprocator.tasks.grid.world import WALL_COLOUR, GridWorldEnv
from benchmarl_reciprocator.tasks.palette import COLOURS, rgb

FAR = 1e4
# An agent in the way costs more than a step, so that one goes around where that is no detour.
IN_THE_WAY = 1.5
# What speaks for a pose that can be reached from the last one: less than any one cell that is seen.
CONTINUITY = 0.5


@dataclass(frozen=True)
class Sight:
    """What is seen by ``R`` agents, on the ``n`` walkable cells of the map.

    Args:
        pose (Tensor): where they are: four times the cell plus the orientation, ``[R]``.
        in_view (Tensor): boolean ``[R, n]``.
        things (dict): where each kind of thing and each beam is seen, boolean ``[R, n]``, by name.
        others (Tensor): where other agents are seen, boolean ``[R, n]``.
    """

    pose: Tensor
    in_view: Tensor
    things: dict[str, Tensor]
    others: Tensor


class KnownMap:
    """A map, what agents see of it from every pose, and the ways between its cells.

    A pose is told by what is seen of what never changes: walls, and cells where only some things can lie. Where several
    poses look alike, by the pose of a step before.

    Args:
        env (GridWorldEnv): whose map it is.
        things (mapping): colour of each kind of thing, by name, as the environment has it.
        only_on (sequence of tuple): cells on which alone some kinds of things can lie, whether one of them always does,
            and the kinds.
    """

    def __init__(
        self, env: GridWorldEnv, things: Mapping[str, str], only_on: Sequence[tuple[slice, bool, Sequence[str]]] = ()
    ) -> None:
        rules, grid = env.rules, env.grid
        self.n_cells, self.n_agents, self.view = grid.wall, env.n_agents, rules.view
        self.actions: Mapping[str, int] = dict(env.actions)
        self._observation = env.observation
        beams = {name: beam.colour for name, beam in env.beams.items()}
        # In the order of an image's channels
        self._beams = list(beams)
        self._colours = {"wall": WALL_COLOUR, **things, **beams}
        self._turns = rules.actions != "compass"
        behind = rules.view // 2 if rules.view_behind is None else rules.view_behind
        self._own = (rules.view - 1 - behind) * rules.view + rules.view // 2
        windows = window_cells(grid, rules.view, behind)[: self.n_cells]
        if not self._turns:
            windows = windows[:, :1].expand(-1, 4, -1)
        n_moves = len(ACTIONS[rules.actions])
        landing, facing = (table[:n_moves] for table in env.move_tables())
        landing = landing[..., : self.n_cells].transpose(1, 2)
        facing = facing.unsqueeze(1).expand_as(landing)
        here = torch.arange(self.n_cells).view(-1, 1).expand_as(landing)
        steps, _ = move_tables(grid, "compass", 5)
        self._only_on = only_on
        windows = windows.flatten(0, 1).cpu()
        weights, bias = self._evidence(windows)
        after = (landing * 4 + facing).flatten(1).cpu()
        self._tables = {
            "windows": windows,
            "weights": weights,
            "bias": bias,
            # Poses after every action, [A, 4 n], and those of agents whose way was blocked as well.
            "after": after,
            "next": torch.cat([after, (here * 4 + facing.cpu()).flatten(1)]).T.contiguous(),
            "distances": distances(steps[:, 0, : self.n_cells]),
        }

    def table(self, name: str, like: Tensor) -> Tensor:
        """One of its tables, on the device of a tensor."""
        if self._tables[name].device != like.device:
            self._tables = {key: value.to(like.device) for key, value in self._tables.items()}
        return self._tables[name]

    def look(self, observation: Tensor, last: Tensor) -> Sight:
        """What agents see.

        Args:
            observation (Tensor): ``[R, *O]``.
            last (Tensor): their poses a step before plus 1, 0 for those that are not known: ``[R]``.
        """
        seen, further = self._read(observation)
        evidence = [seen["wall"], *(self._lies(seen, kinds) for _, _, kinds in self._only_on), further]
        scores = torch.cat(evidence, -1).float() @ self.table("weights", observation) + self._tables["bias"]
        known = (last > 0).unsqueeze(-1)
        reached = self.table("next", observation)[(last.long() - 1).clamp(min=0)]
        bonus = torch.zeros_like(scores).scatter(-1, reached, (CONTINUITY * known.float()).expand(reached.shape))
        pose = (scores + bonus).argmax(-1)
        cells = self._tables["windows"][pose]

        def on_map(shown: Tensor) -> Tensor:
            flags = torch.zeros(len(cells), self.n_cells + 2, dtype=torch.bool, device=cells.device)
            return flags.scatter(-1, cells, shown)[:, : self.n_cells]

        things = {name: on_map(shown) for name, shown in seen.items() if name not in ("wall", "others")}
        return Sight(pose, on_map(torch.ones_like(cells, dtype=torch.bool)), things, on_map(seen["others"]))

    def ways(self, sight: Sight, goals: Tensor, shunned: Tensor | None = None) -> Tensor:
        """What every move costs on the way to the nearest of some cells, in steps that remain: ``[R, A]``.

        Args:
            sight (Sight): what is seen: other agents are in the way.
            goals (Tensor): boolean ``[R, n]``.
            shunned (Tensor, optional): cells that are never entered, boolean ``[R, n]``.
        """
        cells = self.after(sight.pose) // 4
        remaining = self.table("distances", goals)[cells].masked_fill(~goals.unsqueeze(-2), FAR).amin(-1)
        moves = cells != (sight.pose // 4).unsqueeze(-1)
        costs = remaining + IN_THE_WAY * (sight.others.gather(-1, cells) & moves)
        return costs if shunned is None else costs + 2 * FAR * (shunned.gather(-1, cells) & moves)

    def after(self, pose: Tensor) -> Tensor:
        """Poses after every move that is not blocked, ``[R, A]``."""
        return self.table("after", pose)[:, pose].T

    def _evidence(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """How much everything that is seen speaks for every pose: ``[what is seen, 4 n]``, and a number for each pose,
        so that their sum falls by 1 with every cell that is not as it would look from there.
        """
        there = torch.zeros(1 + len(self._only_on), self.n_cells + 2)
        there[0, self.n_cells] = 1
        for part, (cells, _, _) in zip(there[1:], self._only_on):
            part[cells] = 1
        always = torch.tensor([1.0, *(float(always) for _, always, _ in self._only_on)]).view(-1, 1, 1)
        # [evidence, 4 n, V]
        expected = there[:, windows]
        weights = torch.where(always > 0, 2 * expected - 1, expected - 1).movedim(1, -1).flatten(0, 1)
        bias = -(expected * always).sum((0, 2))
        if self._observation == "rgb":
            # Of what is hidden nothing is expected.
            return torch.cat([weights, (expected * always).sum(0).T]), bias
        if self._turns:
            return weights, bias
        looks = torch.eye(4).repeat(1, self.n_cells)
        return torch.cat([weights, looks]), bias

    def _read(self, observation: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """What is in every cell of the windows, boolean ``[R, V]`` by name; and what else speaks for poses, ``[R, K]``:
        the own orientation where it shows, or in colours which cells are hidden by agents and beams.
        """
        rows, n_cells = len(observation), self.view**2
        if self._observation == "rgb":
            pixels = observation[..., :3].reshape(rows, n_cells, 3)

            def shown(colour: str) -> Tensor:
                return (pixels - rgb(colour).to(pixels)).abs().amax(-1) < 1e-3

            seen = {name: shown(colour) for name, colour in self._colours.items()}
            own, *others = (shown(colour) for colour in COLOURS[: self.n_agents])
            seen["others"] = torch.stack(others).any(0)
            return seen, torch.stack([own, seen["others"], *(seen[beam] for beam in self._beams)]).any(0)
        first = len(self._colours)
        n_channels = first + self.n_agents + 4
        if self._observation == "flat":
            observation = observation[:, : n_cells * n_channels]
        channels = observation.reshape(rows, n_cells, -1)
        seen = {name: channels[..., index] > 0 for index, name in enumerate(self._colours)}
        seen["others"] = channels[..., first + 1 : first + self.n_agents].any(-1)
        facing = channels[:, self._own, first + self.n_agents : n_channels]
        return seen, facing[:, :0] if self._turns else facing

    @staticmethod
    def _lies(seen: Mapping[str, Tensor], kinds: Sequence[str]) -> Tensor:
        return torch.stack([seen[kind] for kind in kinds]).any(0)


def distances(after: Tensor) -> Tensor:
    """Number of steps on the shortest way between cells, ``[P, P]``; :data:`FAR` where there is none.

    Args:
        after (Tensor): the cell after each step, ``[A, P]``.
    """
    steps = torch.full((after.shape[1], after.shape[1]), FAR).fill_diagonal_(0.0)
    while True:
        nearer = torch.minimum(steps, steps[after].amin(0) + 1).clamp(max=FAR)
        if torch.equal(nearer, steps):
            return steps
        steps = nearer
