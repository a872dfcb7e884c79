"""In-the-matrix: agents collect resources of several classes, and play a matrix game with what they have collected."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from benchmarl_reciprocator.tasks.grid.matrix_world.rules import (
    CLASS_COLOURS,
    MatrixWorldRules,
    check_matrix_world_rules,
    payoff_tables,
)
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv
from benchmarl_reciprocator.tasks.options import check_option

BEAM = "interact"
DRAWN = "0"
MARKS = {"frozen": "#FFFFFF", "ready": "#C0C0C0"}
FLOOR_COLOUR = "#D8D2C2"
INFO = ("interactions", "cooperates", "share_1", "collected")


class InTheMatrixEnv(GridWorldEnv):
    """A matrix game as a grid world, after Vezhnevets et al. 2020 (OPRE, arXiv 1906.01470) and Melting Pot.

    Agents pick up resources of ``K`` classes. One that has picked up any is ready. When the beam of a ready agent meets
    another that is ready, the two interact: with inventories in shares ``p`` and ``q`` and payoffs ``A``, they get
    ``p A q`` and ``q A p``. Both are then frozen, lose their inventories, leave, and come back on start cells.

    In a step, once all have moved, they collect; beams act; resources grow; and interactions come to their end. Whoever
    several beams meet, or whose beam meets several, interacts with one of them, drawn at random.

    Everybody sees who is frozen and who is ready. An agent's numbers are its inventory, over 10, or while it is frozen
    the shares of its partner's inventory; and whether its beam can be fired.

    Args:
        n_agents (int): number of agents ``N``, 2 to 10.
        rules (MatrixWorldRules): the variant.
        rows (sequence of str): the map: 1, 2, ... resources of a class, 0 of one that is drawn in every episode.

    The other keyword arguments are those of :class:`GridWorldEnv`.

    Raises:
        ValueError: if an option is invalid, naming its key, what it must be and what it is.
    """

    rules: MatrixWorldRules

    def __init__(self, n_agents: int, rules: MatrixWorldRules, rows: list[str], **kwargs: Any) -> None:
        check_matrix_world_rules(rules)
        lower, higher = payoff_tables(rules.payoffs)
        n_classes = len(lower)
        self.classes = tuple(f"class_{number}" for number in range(1, n_classes + 1))
        symbols = [str(number) for number in range(1, n_classes + 1)]
        super().__init__(
            n_agents,
            rules,
            rows,
            things=dict(zip(self.classes, CLASS_COLOURS)),
            start={DRAWN: self.classes[0], **dict(zip(symbols, self.classes))},
            floors=dict.fromkeys([DRAWN, *symbols], FLOOR_COLOUR),
            beams={BEAM: rules.interaction_beam(self.classes[0])},
            info=INFO,
            marks=MARKS,
            n_numbers=n_classes + 1,
            numbers_everywhere=False,
            **kwargs,
        )
        self.drawn, self.fields = self.grid.cells(DRAWN), self.grid.cells("".join([DRAWN, *symbols]))
        for symbol in symbols:
            size = sum(part.stop - part.start for part in (self.drawn, self.grid.cells(symbol)))
            check_option(f"the number of cells {symbol!r} or {DRAWN!r} in task.map", size, size >= 1, "at least 1")
        device = self.device
        self.payoffs = torch.stack([lower, higher]).to(device)
        self._first_class = self.things_named[self.classes[0]]
        self._numbers_of_classes = self._first_class + torch.arange(n_classes, dtype=torch.int32, device=device)
        # What belongs on each cell with a resource, and for how long nothing grows there: [B, cells].
        self.supply = self.things[:, self.fields].clone()
        self._waits = torch.zeros_like(self.supply)
        # Hits on every cell, [B, n + 2].
        self._hits = torch.zeros_like(self.things)
        # Of agents: what they carry, and what they know of it, or of their partner's shares while they are frozen,
        # [B, N, K]; whether they are in an interaction, and what they are still to be paid, [B, N].
        self.inventories = torch.full((*self.cells.shape, n_classes), float(rules.initial_inventory), device=device)
        self._told = torch.ones(*self.cells.shape, n_classes + 1, device=device)
        self._known = self._told[..., :-1]
        self._known[:] = self.inventories / 10
        self.busy = torch.zeros_like(self.cells, dtype=torch.bool)
        self._owed = torch.zeros(self.cells.shape, device=device)
        self._over = torch.zeros(*self.batch_size, 1, dtype=torch.bool, device=device)

    def lay_out(self, rows: Tensor) -> None:
        self.draw_kinds(rows, self.drawn, self.classes)
        self.supply[rows] = self.things[rows, self.fields]
        self._waits[rows] = self._hits[rows] = 0
        self.inventories[rows] = self.rules.initial_inventory
        self._known[rows] = self.rules.initial_inventory / 10
        self._told[rows, :, -1] = 1
        self._owed[rows] = 0
        self.busy[rows] = self._over[rows] = False

    def numbers(self) -> Tensor:
        return self._told

    def in_the_way(self) -> Tensor:
        if self.rules.resource_hits == 0:
            return self.things
        # To a beam all resources are as one, and the hit that destroys one does not stop it.
        firm = (self._hits - (self.rules.resource_hits - 1)).lt_(0)
        return firm.mul_(self.things.clamp(max=self._first_class))

    @property
    def interchangeable_seats(self) -> bool:
        """True for a game that is the same from both seats."""
        return torch.equal(self.payoffs[0], self.payoffs[1])

    def ends(self) -> Tensor:
        return super().ends() | self._over

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        before = self.things[:, self.fields].clone() if self.rules.regrowth else None
        found = self._collect()
        row, shooter, places = self.shots(BEAM)
        if self.rules.resource_hits:
            self._hit_resources(places)
        rewards, met, cooperates, share_1 = self._interact(row, shooter, places)
        if before is not None:
            self._grow(before)
        if self.rules.restore:
            empty = (self.cells == self.grid.nowhere).all(-1, keepdim=True)
            if empty.any():
                self.restore(empty, self.fields, self.supply)
        rewards = self._finish(met > 0, rewards)
        self._told[..., -1] = self.wait(BEAM) == 0
        return rewards, {
            "interactions": met,
            "cooperates": cooperates,
            "share_1": share_1,
            "collected": found,
        }

    def _is_resource(self, things: Tensor) -> Tensor:
        return things >= self._first_class

    def _collect(self) -> Tensor:
        """Let agents take what lies on their cells: who does, ``[B, N]``."""
        under = self.things.gather(1, self.cells)
        found = self._is_resource(under)
        self.things.scatter_(1, self.cells, under.masked_fill(found, 0))
        taken = (under.unsqueeze(-1) == self._numbers_of_classes).float()
        self.inventories.add_(taken)
        # Whoever is frozen collects nothing.
        self._known.add_(taken, alpha=0.1)
        self.marks["ready"].logical_or_(found)
        return found

    def _hit_resources(self, places: Tensor) -> None:
        """Count hits on the cells that beams reach, and remove what has had its last."""
        lying = self.things.take(places)
        resource = self._is_resource(lying)
        self._hits.put_(places, resource.int(), accumulate=True)
        hits = self._hits.take(places)
        gone = resource & (hits >= self.rules.resource_hits)
        self.things.put_(places, lying.masked_fill_(gone, 0))
        self._hits.put_(places, hits.masked_fill_(gone, 0))

    def _interact(self, row: Tensor, shooter: Tensor, places: Tensor) -> Tensor:
        """Let agents interact that meet by these :meth:`shots`: what they get, who does, who has most of class 1, and
        which share, ``[4, B, N]``.
        """
        outcome = self._owed.new_zeros(4, *self._owed.shape)
        able = self.marks["ready"] & ~self.busy
        seats = self._appearance.seats(self._standing.take(places))
        # Whom each shot meets, [S, N].
        meets = able.new_zeros(len(row), self.n_agents + 1).scatter_(1, seats, True)[:, :-1]
        meets = meets & able[row] & able[row, shooter].unsqueeze(-1)
        shot, target = meets.nonzero(as_tuple=True)
        if len(shot) == 0:
            return outcome
        rows, place = row[shot].unique_consecutive(return_inverse=True)
        hits = able.new_zeros(len(rows), self.n_agents, self.n_agents)
        hits[place, shooter[shot], target] = True
        partner = match(hits, self.random(*hits.shape))
        # Of both agents of each pair, [P] or [P, K].
        pair, agent = (partner < self.n_agents).nonzero(as_tuple=True)
        row, other = rows[pair], partner[pair, agent]
        shares = self.inventories[row, agent]
        shares = shares / shares.sum(-1, keepdim=True).clamp_(min=1)
        of_other = self.inventories[row, other]
        of_other = of_other / of_other.sum(-1, keepdim=True).clamp_(min=1)
        by_table = (shares @ self.payoffs * of_other).sum(-1)
        reward = torch.where(agent < other, by_table[0], by_table[1])
        cooperates = (shares[:, :1] > shares[:, 1:]).all(-1)
        outcome[:, row, agent] = torch.stack([reward, torch.ones_like(reward), cooperates, shares[:, 0]])
        self._known[row, agent] = of_other
        return outcome

    def _grow(self, before: Tensor) -> None:
        """Let resources grow, by what lay on their cells before this step."""
        self._waits.sub_(1).clamp_(min=0)
        gone = (before > 0) & (self.things[:, self.fields] == 0)
        self._waits.masked_fill_(gone, self.rules.regrowth_delay + 1)
        grows = (self._waits == 0) & (self.random(*before.shape) < self.rules.regrowth)
        self.restore(grows, self.fields, self.supply)

    def _finish(self, met: Tensor, earned: Tensor) -> Tensor:
        """Freeze those who meet, and let those go who are no longer frozen: what all are paid, ``[B, N]``."""
        self.busy.logical_or_(met)
        self.frozen.masked_fill_(met, self.rules.freeze)
        done = self.busy & (self.frozen == 0)
        if self.rules.one_shot:
            self._over = done.any(-1, keepdim=True)
        if not self.rules.pay_at_once:
            self._owed.add_(earned)
            earned = self._owed * done
            self._owed.masked_fill_(done, 0)
        if done.any():
            self.leave(done, self.rules.respawn)
            self.busy.masked_fill_(done, False)
            self.marks["ready"].masked_fill_(done, False)
            self.inventories.masked_fill_(done.unsqueeze(-1), self.rules.initial_inventory)
            self._known.masked_fill_(done.unsqueeze(-1), self.rules.initial_inventory / 10)
        return earned


def match(hits: Tensor, chance: Tensor) -> Tensor:
    """Pair agents off, each with one partner at most.

    Args:
        hits (Tensor): whom each agent may interact with by its own beam, boolean ``[B, N, N]``.
        chance (Tensor): random numbers ``[B, N, N]``: of several hits, those with larger ones come first.

    Returns:
        Tensor: each agent's partner, ``N`` for none: ``[B, N]``.
    """
    n_agents = hits.shape[-1]
    weight = (chance + 1) * hits
    weight = torch.maximum(weight, weight.transpose(1, 2))
    seats = torch.arange(n_agents, device=hits.device)
    partner = seats.new_full(hits.shape[:2], n_agents)
    left = True
    while left:
        best, whom = weight.max(-1)
        # Pairs that come first for both of them
        mutual = (whom.gather(1, whom) == seats).logical_and_(best)
        partner = torch.where(mutual, whom, partner)
        weight.masked_fill_(mutual.unsqueeze(-1) | mutual.unsqueeze(-2), 0)
        left = bool(weight.any())
    return partner
