"""The core of the grid worlds against situations worked out by hand, and its views against a slow reference."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchrl.envs.utils import check_env_specs, step_mdp

from benchmarl_reciprocator.tasks.grid.appearance import OBSERVATIONS
from benchmarl_reciprocator.tasks.grid.firing import Firing
from benchmarl_reciprocator.tasks.grid.map import ray_cells, read_map, shipped_maps, window_cells
from benchmarl_reciprocator.tasks.grid.movement import resolve_moves
from benchmarl_reciprocator.tasks.grid.rules import ACTIONS, Beam, GridRules
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv
from benchmarl_reciprocator.tasks.groups import joint_entry

PROPERTY = settings(deadline=None, derandomize=True, max_examples=20)
NORTH, EAST, SOUTH, WEST = range(4)
RULES = GridRules(
    map="none",
    max_steps=20,
    view=5,
    view_behind=1,
    actions="turn",
    zap_length=3,
    zap_width=3,
    zap_cooldown=0,
    zap_timeout=4,
    zap_penalty=2.0,
    zap_cost=0.5,
)
ROOM = ["PPPPP", "PPPPP", "PPPPP", "PPPPP", "PPPPP"]


class Field(GridWorldEnv):
    """Gems that are worth one each, and a beam that turns them into stones."""

    def __init__(self, rows: list[str], n_agents: int = 2, cooldown: int = 0, **options: Any) -> None:
        rules = {key: options.pop(key) for key in vars(RULES) if key in options}
        options = {"num_envs": 1, "seed": 0, **options}
        super().__init__(
            n_agents,
            replace(RULES, **rules),
            rows,
            things={"gem": "#00FF00", "stone": "#0000FF"},
            start={"G": "gem", "g": None},
            beams={"hit": Beam(2, 1, cooldown, "#FF0000", "gem")},
            info=("gems",),
            **options,
        )

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        gems = self.take("gem")
        self.change(self.reached("hit"), "gem", into="stone")
        return gems.float(), {"gems": gems}


def put(env: Field, places: list[tuple[int, int]], facing: list[int] | int = NORTH) -> Field:
    """Agents of every environment on given rows and columns."""
    cells = torch.tensor([env.grid.layout[place].item() for place in places])
    facing = torch.as_tensor(facing).expand(len(places))
    env.place(cells.expand(*env.batch_size, -1), facing.expand(*env.batch_size, -1))
    return env


def act(env: Field, *names: str) -> tuple[list[float], dict[str, list[float]]]:
    """Rewards and info of the first environment after a joint action."""
    actions = torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1)
    rewards, info = env.transition(actions)
    return rewards[0].tolist(), {name: value[0, :, 0].tolist() for name, value in info.items()}


def where(env: Field, b: int = 0) -> list[tuple[int, int] | None]:
    """Row and column of the agents of an environment, ``None`` for one that is out."""
    return [tuple(env.grid.places[cell].tolist()) if cell < env.grid.wall else None for cell in env.cells[b].tolist()]


def thing_at(env: Field, row: int, column: int) -> str:
    number = env.things[0, env.grid.layout[row, column]].item()
    return next(name for name, value in env.things_named.items() if value == number)


def resolved(cells: list[int], landing: list[int], priority: list[float]) -> list[int]:
    occupant = [cells.index(goal) if goal in cells else agent for agent, goal in enumerate(landing)]
    return resolve_moves(*(torch.tensor([x]) for x in (cells, landing, priority, occupant)))[0].tolist()


# Movement


def test_of_two_that_enter_a_cell_the_one_drawn_gets_it() -> None:
    assert resolved([0, 2], [1, 1], [0.9, 0.1]) == [1, 2]
    assert resolved([0, 2], [1, 1], [0.1, 0.9]) == [0, 1]


def test_who_stays_keeps_its_cell_whatever_the_draw() -> None:
    assert resolved([0, 1], [1, 1], [0.9, 0.1]) == [0, 1]


def test_two_do_not_swap() -> None:
    assert resolved([0, 1], [1, 0], [0.9, 0.1]) == [0, 1]


def test_a_third_does_not_enter_a_cell_whose_agent_wants_to_swap() -> None:
    assert resolved([0, 1, 2], [1, 0, 1], [0.1, 0.5, 0.9]) == [0, 1, 2]


def test_a_chain_moves_together_unless_its_head_is_blocked() -> None:
    assert resolved([0, 1, 2, 3], [1, 2, 3, 4], [0.1, 0.9, 0.5, 0.2]) == [1, 2, 3, 4]
    assert resolved([0, 1, 2, 3], [1, 2, 3, 3], [0.1, 0.9, 0.5, 0.2]) == [0, 1, 2, 3]
    # The head loses the cell 4 to another, and with it everybody behind.
    assert resolved([0, 1, 2, 3, 5], [1, 2, 3, 4, 4], [0.1, 0.9, 0.5, 0.2, 0.3]) == [0, 1, 2, 3, 4]


def test_a_ring_of_three_or_more_turns() -> None:
    assert resolved([0, 1, 2], [1, 2, 0], [0.1, 0.9, 0.5]) == [1, 2, 0]
    assert resolved([0, 1, 2, 3], [1, 2, 3, 0], [0.1, 0.9, 0.5, 0.2]) == [1, 2, 3, 0]
    # A fourth that wants in is drawn against one of the ring, and stops it if it wins.
    assert resolved([0, 1, 2, 9], [1, 2, 0, 1], [0.1, 0.9, 0.5, 0.0]) == [1, 2, 0, 9]
    assert resolved([0, 1, 2, 9], [1, 2, 0, 1], [0.1, 0.9, 0.5, 0.3]) == [0, 1, 2, 9]


@PROPERTY
@given(data=st.data(), n_agents=st.integers(2, 10))
def test_moves_keep_agents_apart(data: st.DataObject, n_agents: int) -> None:
    cells = data.draw(st.lists(st.integers(0, 11), min_size=n_agents, max_size=n_agents, unique=True))
    landing = [data.draw(st.sampled_from([cell, cell, cell + 1, cell - 1, cell + 4])) for cell in cells]
    priority = data.draw(st.permutations([i / 10 for i in range(n_agents)]))
    after = resolved(cells, landing, priority)
    assert len(set(after)) == n_agents
    assert all(new in (old, wanted) for new, old, wanted in zip(after, cells, landing))
    # Nobody is held back from a cell that is free in the end, but by a swap.
    for agent, wanted in enumerate(landing):
        if after[agent] != wanted:
            assert wanted in after


def test_contested_cell_goes_to_each_as_often() -> None:
    env = put(Field(ROOM, n_agents=3, num_envs=3000), [(2, 1), (2, 3), (3, 2)], [EAST, WEST, NORTH])
    act(env, "forward", "forward", "forward")
    middle = env.grid.layout[2, 2]
    won = (env.cells == middle).float().mean(0)
    assert won.sum() == 1
    assert (won - 1 / 3).abs().max() < 4 * (2 / 9 / 3000) ** 0.5


@pytest.mark.parametrize("facing", range(4))
def test_moves_are_relative_to_where_the_agent_looks(facing: int) -> None:
    ahead = [(-1, 0), (0, 1), (1, 0), (0, -1)]
    for turn, name in enumerate(("forward", "right", "backward", "left")):
        env = put(Field(ROOM), [(2, 2), (0, 0)], facing)
        act(env, name, "stay")
        row, column = ahead[(facing + turn) % 4]
        assert where(env)[0] == (2 + row, 2 + column)
        assert env.facing[0, 0] == facing
    for name, turn in (("turn_left", -1), ("turn_right", 1)):
        env = put(Field(ROOM), [(2, 2), (0, 0)], facing)
        act(env, name, "stay")
        assert where(env)[0] == (2, 2) and env.facing[0, 0] == (facing + turn) % 4


def test_compass_moves_turn_the_agent_even_against_a_wall() -> None:
    env = put(Field(["PP", "@P"], actions="compass", view=3), [(0, 0), (1, 1)], EAST)
    act(env, "south", "west")
    assert where(env) == [(0, 0), (1, 1)]
    assert env.facing[0].tolist() == [SOUTH, WEST]
    act(env, "east", "stay")
    assert where(env)[0] == (0, 1)


def test_moves_in_fixed_directions_leave_the_agent_looking_where_it_looked() -> None:
    env = put(Field(["PP", "@P"], actions="fixed", view=3), [(0, 0), (1, 1)], EAST)
    act(env, "east", "west")
    assert where(env) == [(0, 1), (1, 1)] and env.facing[0].tolist() == [EAST, EAST]
    act(env, "turn_left", "turn_right")
    assert where(env) == [(0, 1), (1, 1)] and env.facing[0].tolist() == [NORTH, SOUTH]
    # Its view turns: the other is behind one that looks north.
    assert env.observations()[0, 0, 2, 1].tolist() == env.observations()[0, 1, 2, 1].tolist()


# Beams


def test_a_beam_is_three_rays_from_the_row_ahead() -> None:
    grid = read_map(ROOM, "", 1)
    cells = ray_cells(grid, Beam(2, 3, 0, "#FF0000"))[grid.layout[2, 2], EAST]
    reached = [grid.places[cell].tolist() for cell in cells.flatten().tolist()]
    assert reached == [[1, 3], [1, 4], [2, 3], [2, 4], [3, 3], [3, 4]]


@pytest.mark.parametrize(
    ("shape", "length", "rays"),
    [
        # By columns from the left: rows, seen from row 4.
        ("block", 3, [[], [3, 2, 1], [3, 2, 1], [3, 2, 1], []]),
        # As in Melting Pot and Sequential Social Dilemma Games: side rays begin beside the agent.
        ("beside", 3, [[], [4, 3, 2], [3, 2, 1], [4, 3, 2], []]),
        # As in SocialJax: two cells ahead, and one on either side of the first.
        ("arrow", 2, [[], [3], [3, 2], [3], []]),
    ],
)
def test_shapes_of_beams(shape: str, length: int, rays: list[list[int]]) -> None:
    beam = Beam(length, 3, 0, "#FF0000", shape=shape)
    cells = ray_cells(read_map(ROOM, "", 1), beam)
    grid = read_map(ROOM, "", 1)
    reached = [grid.places[cell].tolist() for cell in cells[grid.layout[4, 2], NORTH].flatten() if cell < grid.wall]
    assert reached == [[row, column] for column, rows in enumerate(rays) for row in rows]
    assert beam.ray_lengths() == [len(rows) for rows in rays[1:4]]


def test_the_wider_the_shorter() -> None:
    assert Beam(3, 5, 0, "#FF0000", shape="beside").ray_lengths() == [2, 3, 3, 3, 2]
    assert Beam(2, 5, 0, "#FF0000", shape="arrow").ray_lengths() == [0, 1, 2, 1, 0]


def test_side_rays_that_begin_beside_the_agent_hit_who_stands_there() -> None:
    # The second stands beside the first, the third behind it.
    places = [(3, 2), (3, 1), (4, 2)]
    for shape, hit in (("block", 0), ("beside", 1), ("arrow", 0)):
        env = put(Field(ROOM, n_agents=3, beam_shape=shape), places)
        assert act(env, "zap", "stay", "stay")[1]["zapped"] == [0, hit, 0]


def test_walls_end_each_ray_on_its_own() -> None:
    grid = read_map(["PPP", "P@P", "PPP", "PPP"], "", 1)
    cells = ray_cells(grid, Beam(3, 3, 0, "#FF0000"))[grid.layout[3, 1], NORTH]
    reached = [[grid.places[cell].tolist() for cell in ray if cell < grid.wall] for ray in cells.tolist()]
    assert reached == [[[2, 0], [1, 0], [0, 0]], [[2, 1]], [[2, 2], [1, 2], [0, 2]]]


def test_zapping_hits_the_first_agent_of_each_ray_alone() -> None:
    places = [(4, 2), (3, 2), (2, 2), (2, 1), (1, 4)]
    env = put(Field(ROOM, n_agents=5), places)
    rewards, info = act(env, "zap", "stay", "stay", "stay", "stay")
    # Behind the second stands the third; the fourth is on a side ray; the fifth out of reach.
    assert info["zapped"] == [0, 1, 0, 1, 0]
    assert info["zaps"] == [1, 0, 0, 0, 0]
    assert rewards == [-0.5, -2, 0, -2, 0]
    assert where(env) == [(4, 2), None, (2, 2), None, (1, 4)]


def test_beams_that_pass_through_agents_hit_all_in_their_way() -> None:
    places = [(4, 2), (3, 2), (2, 2), (2, 1), (1, 4)]
    env = put(Field(ROOM, n_agents=5, zap_through_agents=True), places)
    assert act(env, "zap", "stay", "stay", "stay", "stay")[1]["zapped"] == [0, 1, 1, 1, 0]
    env = put(Field(["PPP", "@@@", "PPP"], zap_width=1, view=3, zap_through_agents=True), [(2, 1), (0, 1)])
    assert act(env, "zap", "stay")[1]["zapped"] == [0, 0]


def test_every_beam_that_hits_costs() -> None:
    env = put(Field(ROOM, n_agents=3, zap_width=1, zap_timeout=0), [(4, 2), (2, 2), (2, 0)], [NORTH, NORTH, EAST])
    rewards, info = act(env, "zap", "stay", "zap")
    # Each shot costs 0.5, each hit 2.
    assert rewards == [-0.5, -4, -0.5] and info["zapped"] == [0, 1, 0]


def test_who_starts_again_is_elsewhere_at_once_and_loses_no_action() -> None:
    env = put(Field(["P @", "  @", "  P"], zap_timeout=0, zap_restart=True, num_envs=50, view=3), [(2, 0), (1, 0)])
    _, info = act(env, "zap", "stay")
    assert info["zapped"] == [0, 1] and info["out"] == [0, 0]
    assert {where(env, b)[1] for b in range(50)} == {(0, 0), (2, 2)}
    assert set(env.facing[:, 1].tolist()) == {0, 1, 2, 3}
    assert act(env, "stay", "zap")[1]["zaps"] == [0, 1]


def test_zapping_stops_at_a_wall() -> None:
    env = put(Field(["PPP", "@@@", "PPP"], zap_width=1, view=3), [(2, 1), (0, 1)])
    assert act(env, "zap", "stay")[1]["zapped"] == [0, 0]


def test_agents_move_before_they_are_hit() -> None:
    env = put(Field(ROOM, zap_width=1), [(4, 2), (2, 2)])
    assert act(env, "zap", "right")[1]["zapped"] == [0, 0]
    env = put(Field(ROOM, zap_width=1), [(4, 2), (2, 1)])
    assert act(env, "zap", "right")[1]["zapped"] == [0, 1]


def test_who_is_zapped_is_out_for_the_time_and_comes_back_on_a_free_start_cell() -> None:
    env = put(Field(["PP@", "  @", "  P"], zap_timeout=3, num_envs=50, view=3), [(2, 0), (1, 0)])
    _, info = act(env, "zap", "stay")
    assert info["out"] == [0, 0]
    for step in range(3):
        assert where(env)[1] is None
        assert env.observations()[:, 1].abs().sum() == 0
        # What one that is out does is nothing: it can neither be zapped nor zap.
        _, info = act(env, "stay", "zap")
        assert info["out"] == [0, 1] and info["zapped"] == [0, 0] and info["zaps"] == [0, 0], step
    starts = {(0, 0), (0, 1), (2, 2)}
    assert {where(env, b)[1] for b in range(50)} == starts
    assert set(env.facing[:, 1].tolist()) == {0, 1, 2, 3}
    assert act(env, "stay", "stay")[1]["out"] == [0, 0]


def test_several_that_come_back_at_once_do_not_meet() -> None:
    env = Field(["PPPP", "    "], n_agents=4, zap_timeout=1, zap_width=1, num_envs=200, view=3)
    put(env, [(1, 0), (1, 1), (1, 2), (0, 0)], [EAST, WEST, NORTH, SOUTH])
    act(env, "zap", "zap", "stay", "stay")
    assert where(env)[:2] == [None, None] and where(env)[3] == (0, 0)
    act(env, "stay", "stay", "stay", "stay")
    assert all(None not in where(env, b) and len(set(where(env, b))) == 4 for b in range(200))


def test_without_a_time_out_who_is_hit_stays_and_pays() -> None:
    env = put(Field(ROOM, zap_timeout=0), [(4, 2), (2, 2)])
    rewards, _ = act(env, "zap", "zap")
    assert rewards == [-0.5, -2.5]
    assert where(env) == [(4, 2), (2, 2)]


def test_both_of_two_that_zap_each_other_are_hit() -> None:
    env = put(Field(ROOM), [(4, 2), (2, 2)], [NORTH, SOUTH])
    assert act(env, "zap", "zap")[1]["zapped"] == [1, 1]


def test_without_zapping_there_is_no_such_action() -> None:
    env = Field(ROOM, zap_length=0)
    assert list(env.actions) == [*ACTIONS["turn"], "hit"]
    assert set(act(env, "hit", "hit")[1]) == {"gems", "zaps", "zapped", "out"}


def test_a_beam_cools_down() -> None:
    env = put(Field(ROOM, zap_cooldown=2, zap_timeout=0), [(4, 2), (2, 2)])
    assert [act(env, "zap", "stay")[1]["zaps"][0] for _ in range(7)] == [1, 0, 0, 1, 0, 0, 1]
    # The other beam has a cooldown of its own.
    env = put(Field(["GGP", "ggP", "PPP"], zap_cooldown=2, view=3), [(2, 0), (2, 2)])
    act(env, "zap", "stay")
    act(env, "hit", "stay")
    assert thing_at(env, 0, 0) == "stone"


def test_a_beam_does_not_cool_down_during_a_time_out() -> None:
    env = put(Field(ROOM, zap_cooldown=2, zap_timeout=3, zap_width=1), [(4, 2), (2, 2)], [NORTH, SOUTH])
    assert act(env, "zap", "zap")[1]["zaps"] == [1, 1]
    for _ in range(3):
        act(env, "stay", "stay")
    assert (env.cells < env.grid.wall).all()
    assert [act(env, "zap", "zap")[1]["zaps"] for _ in range(3)] == [[0, 0], [0, 0], [1, 1]]


def test_a_games_beam_ends_at_the_thing_it_names_and_at_agents() -> None:
    env = put(Field(["G@P", "G@P", "P@P"], view=3), [(2, 0), (2, 2)])
    act(env, "hit", "stay")
    assert (thing_at(env, 1, 0), thing_at(env, 0, 0)) == ("stone", "gem")
    act(env, "hit", "stay")
    # Stones let it pass.
    assert thing_at(env, 0, 0) == "stone"
    env = put(Field(["GPP", "gPP", "PPP"], view=3), [(2, 0), (1, 0)])
    act(env, "hit", "stay")
    assert thing_at(env, 0, 0) == "gem"


# Things


def test_things_are_taken_by_who_arrives() -> None:
    env = put(Field(["PGP"], view=3), [(0, 0), (0, 2)], [EAST, WEST])
    rewards, info = act(env, "forward", "stay")
    assert rewards == info["gems"] == [1, 0]
    assert thing_at(env, 0, 1) == "nothing"
    assert act(env, "stay", "stay")[0] == [0, 0]


def test_what_does_not_exist_is_not_changed() -> None:
    env = put(Field(["P@P", "PGP"], view=3), [(0, 0), (1, 0)], [EAST, EAST])
    act(env, "hit", "stay")
    assert env.change(env.reached("hit"), "nothing", into="stone").sum() == 0
    put(env, [(0, 0), (0, 2)], [SOUTH, WEST])
    act(env, "hit", "hit")
    changed = env.change(env.reached("hit"), "nothing", into="stone")
    assert changed.tolist() == [[1, 0]] and thing_at(env, 1, 0) == "stone"


def test_what_several_reach_is_changed_once_by_each_of_them_in_turn() -> None:
    env = Field(["GGPPP"], n_agents=3, num_envs=2, view=3)
    counts = torch.zeros(2, 3)
    for step in range(3):
        env.reset()
        # In the second environment the episode is a step older.
        env._steps = torch.tensor([step, step + 1])
        cell = env.grid.layout[0, :2]
        nowhere = torch.full_like(cell, env.grid.nowhere)
        reach = torch.stack([cell, cell.flip(0), torch.stack([cell[0], nowhere[0]])]).expand(2, -1, -1)
        changed = env.change(reach, "gem", into="stone")
        assert changed.sum(-1).tolist() == [2, 2]
        assert thing_at(env, 0, 0) == thing_at(env, 0, 1) == "stone"
        counts += changed
    # The first and the second have both cells when it is their turn; the third has the one that it reaches.
    assert counts.tolist() == [[2 + 0 + 1, 0 + 2 + 0, 0 + 0 + 1]] * 2


def test_growth_follows_its_chance_and_spares_agents() -> None:
    env = put(Field(["PPgggg"], num_envs=5000, view=3), [(0, 0), (0, 2)])
    cells = env.grid.cells("g")
    env.grow(cells, "gem", torch.tensor([1.0, 0.0, 0.25, 1.0]))
    grown = (env.things[:, cells] == env.things_named["gem"]).float().mean(0)
    assert grown.tolist()[:2] == [0, 0] and grown[3] == 1
    assert abs(grown[2] - 0.25) < 4 * (0.25 * 0.75 / 5000) ** 0.5


def test_one_at_most_is_spawned_anywhere_alike() -> None:
    env = Field(["PPGGGG"], num_envs=4000, view=3)
    env.reset()
    cells = env.grid.cells("G")
    env.spawn_one(cells, "stone", 0.6, over="gem")
    spawned = (env.things[:, cells] == env.things_named["stone"]).float()
    assert spawned.sum(1).max() == 1
    assert (spawned.mean(0) - 0.15).abs().max() < 4 * (0.15 * 0.85 / 4000) ** 0.5
    for _ in range(3):
        env.spawn_one(cells, "stone", 1.0, over="gem")
    env.spawn_one(cells, "stone", 1.0, over="gem")
    assert (env.things[:, cells] == env.things_named["stone"]).all()


# Views


def reference_view(env: Field, b: int, seat: int) -> np.ndarray:
    """What a seat sees as an image, from an image of the whole world that is turned and cut."""
    n_things, n_beams, n_agents = len(env.things_named), len(env.beams), env.n_agents
    height, width = env.grid.shape
    world = np.zeros((height, width, n_things - 1 + n_beams + n_agents + 4), dtype=np.float32)
    turned = env.facing[b, seat].item() if env.rules.actions != "compass" else NORTH
    for row in range(height):
        for column in range(width):
            cell = env.grid.layout[row, column].item()
            if thing := env.things[b, cell].item():
                world[row, column, thing - 1] = 1
            if beam := env.beam_over[b, cell].item():
                world[row, column, n_things - 2 + beam] = 1
            for other in range(n_agents):
                if cell < env.grid.wall and env.cells[b, other].item() == cell:
                    world[row, column, n_things - 1 + n_beams + (other - seat) % n_agents] = 1
                    facing = (env.facing[b, other].item() - turned) % 4
                    world[row, column, n_things - 1 + n_beams + n_agents + facing] = 1
    view, behind = env.rules.view, env.rules.view_behind
    own = env.cells[b, seat].item()
    if own >= env.grid.wall:
        return np.zeros((view, view, world.shape[-1]), dtype=np.float32)
    row, column = env.grid.places[own].tolist()
    padded = np.zeros((height + 2 * view, width + 2 * view, world.shape[-1]), dtype=np.float32)
    padded[..., 0] = 1
    padded[view:-view, view:-view] = world
    # A square around the agent, turned so that it looks up, then the window out of it.
    around = padded[row : row + 2 * view + 1, column : column + 2 * view + 1]
    around = np.rot90(around, turned)
    top, left = view - (view - 1 - behind), view - view // 2
    return around[top : top + view, left : left + view]


@PROPERTY
@given(
    n_agents=st.integers(2, 6),
    view=st.integers(1, 9),
    data=st.data(),
    actions=st.sampled_from(sorted(ACTIONS)),
    seed=st.integers(0, 1000),
)
def test_views_are_those_of_the_slow_reference(
    n_agents: int, view: int, data: st.DataObject, actions: str, seed: int
) -> None:
    behind = data.draw(st.integers(0, view - 1))
    rows = ["@PPGG", "PP@GP", "PPPgP", "@PPPP", "PPPP@"]
    env = Field(rows, n_agents, num_envs=2, view=view, view_behind=behind, actions=actions, seed=seed)
    env.reset()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(4):
        env.transition(torch.randint(env.n_actions[0], (2, n_agents), generator=generator))
        seen = env.observations().numpy()
        for b in range(2):
            for seat in range(n_agents):
                np.testing.assert_array_equal(seen[b, seat], reference_view(env, b, seat))


def test_window_turns_with_the_agent() -> None:
    grid = read_map(["PPP", "PPP", "PPP"], "", 1)
    middle, number = grid.layout[1, 1], grid.layout
    by_facing = window_cells(grid, 3, 1)[middle].view(4, 3, 3)
    assert by_facing[NORTH].tolist() == number.tolist()
    assert by_facing[EAST].tolist() == [[number[r, c].item() for r in range(3)] for c in (2, 1, 0)]
    assert by_facing[SOUTH].tolist() == number.flip(0, 1).tolist()


def test_every_form_shows_the_same() -> None:
    envs = {form: Field(ROOM, observation=form, num_envs=3) for form in OBSERVATIONS}
    seen = {}
    for form, env in envs.items():
        check_env_specs(env)
        env.set_seed(3)
        env.reset()
        seen[form] = (env.observations(), env.state())
    for image, flat in zip(seen["image"], seen["flat"]):
        assert torch.equal(image.flatten(-3), flat)
    assert seen["rgb"][0].shape[-3:] == (5, 5, 3) and seen["rgb"][0].max() <= 1
    # Own colour first: the same for everybody.
    assert torch.equal(seen["rgb"][0][:, 0, 3, 2], seen["rgb"][0][:, 1, 3, 2])
    assert seen["image"][1].shape[1:3] == (5, 5)


def test_state_from_any_seat() -> None:
    env = Field(ROOM, n_agents=3, num_envs=4)
    env.reset()
    assert env.interchangeable_seats
    seen = [env.state(seat) for seat in range(3)]
    assert torch.equal(seen[0], env.state())
    # Channels of agents come before the four of where they look: the own first, then the others' in order.
    agents = slice(seen[0].shape[-1] - 4 - 3, seen[0].shape[-1] - 4)
    others = [channel for channel in range(seen[0].shape[-1]) if channel not in range(agents.start, agents.stop)]
    for seat, state in enumerate(seen):
        assert torch.equal(state[..., agents], seen[0][..., agents].roll(-seat, -1))
        assert torch.equal(state[..., others], seen[0][..., others])
        own = state[..., agents.start].flatten(1).argmax(-1)
        assert torch.equal(env.grid.layout.flatten()[own], env.cells[:, seat])


@pytest.mark.parametrize("actions", ACTIONS)
def test_pictures_show_agents_things_and_beams(actions: str) -> None:
    env = put(Field(["PPP", "GPP", "@PP"], actions=actions, view=3), [(2, 1), (0, 1)])
    before = env.render()
    assert before.shape == (72, 72, 3) and before.dtype == np.uint8
    act(env, "zap", "stay")
    after = env.render()
    assert not np.array_equal(before, after)
    # The wall looks as before, but for its blurred edge.
    assert np.array_equal(before[50:70, 2:22], after[50:70, 2:22])
    with pytest.raises(ValueError, match=r"mode must be rgb_array, but is 'human'"):
        env.render("human")


# Environments


@pytest.mark.parametrize("actions", ACTIONS)
@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
def test_specs(actions: str, grouping: str) -> None:
    check_env_specs(Field(ROOM, num_envs=3, n_agents=3, actions=actions, grouping=grouping, cooldown=1))


def test_the_same_seed_plays_the_same() -> None:
    def play(seed: int) -> Tensor:
        torch.manual_seed(0)
        env = Field(ROOM, n_agents=4, num_envs=5, seed=seed)
        return env.rollout(15)["state"]

    assert torch.equal(play(1), play(1))
    assert not torch.equal(play(1), play(2))


def test_only_environments_in_the_mask_are_reset() -> None:
    env = Field(["PPPP", "GGGG", "PPPP"], n_agents=3, num_envs=4)
    now = env.reset()
    for _ in range(6):
        now = step_mdp(env.step(env.rand_action(now)))
    before = {name: getattr(env, name).clone() for name in ("things", "cells", "facing", "out", "_seen")}
    mask = torch.tensor([True, False, False, True])
    env.reset(now.clone().set("_reset", mask.unsqueeze(-1)))
    for name, value in before.items():
        assert torch.equal(getattr(env, name)[~mask], value[~mask]), name
    assert (env.out[mask] == 0).all() and (env.cells[mask] < env.grid.wall).all()
    assert (env.things[mask] == env.first_things).all()


@PROPERTY
@given(
    n_agents=st.integers(2, 10),
    actions=st.sampled_from(sorted(ACTIONS)),
    timeout=st.integers(0, 3),
    seed=st.integers(0, 100),
)
def test_what_always_holds(n_agents: int, actions: str, timeout: int, seed: int) -> None:
    rows = ["@PPP@", "PPPPG", "PPGGP", "PP@PP"]
    env = Field(rows, n_agents, num_envs=4, actions=actions, zap_timeout=timeout, seed=seed, zap_penalty=0, zap_cost=0)
    torch.manual_seed(seed)
    played = env.rollout(12)
    gems = joint_entry(played, "next", "info", "gems")
    assert torch.equal(joint_entry(played, "next", "reward"), gems)
    assert (gems.sum((1, 2)) <= 3).all()
    out, zapped = (joint_entry(played, "next", "info", name) for name in ("out", "zapped"))
    assert not (out * zapped).any() and (timeout > 0 or not out.any())
    for cells in env.cells.tolist():
        inside = [cell for cell in cells if cell < env.grid.wall]
        assert len(set(inside)) == len(inside)
    assert ((env.cells == env.grid.nowhere) == (env.out > 0)).all()
    seen = env.observations()
    assert seen.dtype == torch.float32 and set(seen.unique().tolist()) <= {0.0, 1.0}


# Bad input


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (["PPx", "PP "], {}, r"row 1, column 3 of task.map must be '@', 'G', 'g', 'P' or ' ', but is 'x'"),
        (["PP ", "PP"], {}, r"row 2 of task.map must be 3 cells long, as row 1 is, but is 2 cells long"),
        (["P @"], {}, r"the number of start cells 'P' in task.map must be at least 2 \(task.n_agents\), but is 1"),
        ("PPP", {}, r"task.map must be a list of strings, one for each row, but is 'PPP'"),
        ([], {}, r"task.map must be a list of strings, one for each row, but is \[\]"),
        ([["P"]], {}, r"task.map must be a list of strings, one for each row, but is \[\['P'\]\]"),
        (ROOM, {"view": 10}, r"task.view must be at most 9, which shows the whole map, but is 10"),
        (ROOM, {"num_envs": 10**9}, r"task.view must be so small that .* \(1000000000 environments take .*, but is 5"),
        (ROOM, {"view": 0}, r"task.view must be an integer >= 1, but is 0"),
        (ROOM, {"view": 2.5}, r"task.view must be an integer >= 1, but is 2.5"),
        (ROOM, {"view_behind": 5}, r"task.view_behind must be an integer from 0 to 4 \(task.view - 1\), but is 5"),
        (ROOM, {"actions": "fly"}, r"task.actions must be turn, compass, fixed or steer, but is 'fly'"),
        (ROOM, {"beam_shape": "cone"}, r"task.beam_shape must be block, beside or arrow, but is 'cone'"),
        (
            ROOM,
            {"zap_restart": True},
            r"task.zap_restart must be false with a time-out \(4, task.zap_timeout\), but is True",
        ),
        (ROOM, {"zap_width": 2}, r"task.zap_width must be an odd integer >= 1, but is 2"),
        (ROOM, {"zap_timeout": -1}, r"task.zap_timeout must be an integer >= 0, but is -1"),
        (ROOM, {"zap_penalty": -1.0}, r"task.zap_penalty must be a finite number >= 0, but is -1.0"),
        (ROOM, {"observation": "text"}, r"task.observation must be image, rgb or flat, but is 'text'"),
        (ROOM, {"n_agents": 11}, r"task.n_agents must be an integer from 2 to 10, but is 11"),
    ],
)
def test_bad_input_is_one_clear_error(rows: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Field(rows, **options)


def test_a_beam_that_an_unknown_thing_stops_is_one_clear_error() -> None:
    env = Field(ROOM)
    with pytest.raises(
        ValueError, match=r"stopped_by of the beam 'hit' must be None, nothing, wall or gem, but is 'glass'"
    ):
        Firing(
            {"hit": Beam(2, 1, 0, "#FF0000", "glass")},
            5,
            env.grid,
            {"nothing": 0, "wall": 1, "gem": 2},
            1,
            2,
            env.device,
        )


def test_shipped_maps_are_rows_without_their_comment() -> None:
    for game in ("cleanup", "harvest"):
        maps = shipped_maps(game)
        assert "small" in "".join(maps)
        for rows in maps.values():
            assert len({len(row) for row in rows}) == 1 and set(rows[0]) == {"@"} == set(rows[-1])
