"""What games may add to the core of the grid worlds: frozen agents, marks, numbers, starts by seat, chance ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator.tasks.grid.appearance import OBSERVATIONS
from benchmarl_reciprocator.tasks.grid.rules import Beam, GridRules
from benchmarl_reciprocator.tasks.grid.world import GridWorldEnv

NORTH, EAST, SOUTH, WEST = range(4)
RULES = GridRules(max_steps=20, view=5, actions="turn")
ROOM = ["PPPPP", "PPPPP", "PPPPP", "PPPPP", "PPPPP"]


class Camp(GridWorldEnv):
    """Agents that freeze whom their beam meets, carry gems, and may drop them all."""

    def __init__(self, rows: list[str] = ROOM, n_agents: int = 2, **options: Any) -> None:
        rules = replace(RULES, **{key: options.pop(key) for key in vars(RULES) if key in options})
        super().__init__(
            n_agents,
            rules,
            rows,
            things={"gem": "#00FF00", "stone": "#0000FF"},
            start={"G": "gem", "S": "stone", "Q": None},
            beams={"freeze": Beam(2, 1, 1, "#FF0000", ("gem", "stone"))},
            further_actions=("drop",),
            marks={"frozen": "#FFFFFF", "rich": "#00FF00"},
            n_numbers=2,
            own_starts={"Q": (0, 1)},
            **{"num_envs": 1, "seed": 0, **options},
        )
        self.carried = torch.zeros(*self.batch_size, n_agents)

    def lay_out(self, rows: Tensor) -> None:
        self.carried[rows] = 0

    def numbers(self) -> Tensor:
        return torch.stack([self.carried, self.wait("freeze").float()], -1)

    def resolve(self, actions: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        self.carried = (self.carried + self.take("gem")).masked_fill(actions == self.actions["drop"], 0)
        self.marks["rich"] = self.carried > 1
        hit = self.seats_at(self.reached("freeze")).flatten(2)
        self.freeze((hit.unsqueeze(-1) == self._seats).any(2).any(1), 2)
        return self.carried, {}


def put(env: Camp, places: list[tuple[int, int]], facing: list[int] | int = NORTH) -> Camp:
    cells = torch.tensor([env.grid.layout[place].item() for place in places])
    facing = torch.as_tensor(facing).expand(len(places))
    env.place(cells.expand(*env.batch_size, -1), facing.expand(*env.batch_size, -1))
    return env


def act(env: Camp, *names: str) -> list[float]:
    return env.transition(torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1))[0][
        0
    ].tolist()


def where(env: Camp, b: int = 0) -> list[tuple[int, int] | None]:
    return [tuple(env.grid.places[cell].tolist()) if cell < env.grid.wall else None for cell in env.cells[b].tolist()]


def test_the_frozen_stay_and_lose_their_next_actions() -> None:
    env = put(Camp(), [(4, 2), (2, 2)])
    act(env, "freeze", "left")
    # It moved out of the way first.
    assert env.frozen.tolist() == [[0, 0]]
    put(env, [(4, 2), (2, 2)])
    act(env, "stay", "stay")
    act(env, "freeze", "stay")
    for _ in range(2):
        assert env.marks["frozen"].tolist() == [[False, True]]
        act(env, "stay", "left")
        assert where(env)[1] == (2, 2)
    assert env.marks["frozen"].tolist() == [[False, False]]
    act(env, "stay", "left")
    assert where(env)[1] == (2, 1)


def test_the_beam_of_the_frozen_does_not_cool_down() -> None:
    env = put(Camp(), [(4, 2), (2, 2)], [NORTH, SOUTH])
    act(env, "freeze", "freeze")
    waits = []
    for _ in range(4):
        waits.append(env.wait("freeze").tolist())
        act(env, "stay", "freeze")
    # Both froze each other for two steps; then the second's beam cools down, and fires again.
    assert waits == [[[1, 1]], [[1, 1]], [[1, 1]], [[0, 0]]]
    assert env.fired("freeze").tolist() == [[False, True]]


def test_the_frozen_block_others() -> None:
    env = put(Camp(), [(3, 2), (2, 2)])
    env.freeze(torch.tensor([[False, True]]), 5)
    act(env, "forward", "forward")
    assert where(env) == [(3, 2), (2, 2)]


@pytest.mark.parametrize("kind", ["G", "S"])
def test_a_beam_may_end_at_several_kinds_of_things(kind: str) -> None:
    env = put(Camp(["PPP", f"P{kind}P", "PPP"], view=3), [(2, 1), (0, 1)])
    act(env, "freeze", "stay")
    assert env.frozen.sum() == 0
    env.things[0, env.grid.layout[1, 1]] = 0
    act(env, "stay", "stay")
    act(env, "freeze", "stay")
    assert env.frozen.tolist() == [[0, 2]]


def test_actions_beyond_beams_are_the_games_own() -> None:
    env = put(Camp(["PGP"], view=3), [(0, 0), (0, 2)], EAST)
    assert list(env.actions)[-2:] == ["freeze", "drop"]
    assert act(env, "forward", "stay") == [1, 0]
    assert act(env, "drop", "drop") == [0, 0] and where(env) == [(0, 1), (0, 2)]


def test_marks_are_seen_by_all_and_numbers_by_oneself() -> None:
    env = put(Camp(["PGGP", "PPPP"], view=5), [(0, 0), (0, 3)], [EAST, WEST])
    before = env.observations()
    act(env, "forward", "stay")
    env.carried = torch.tensor([[3.0, 0.0]])
    env.freeze(torch.tensor([[False, True]]), 3)
    act(env, "stay", "stay")
    after = env.observations()
    channels = after.shape[-1]
    frozen, rich = channels - 4, channels - 3
    # The first stands two behind the second's front, seen from there; its own cell is in the middle.
    assert after[0, 0, 2, 2, rich] == 1 == after[0, 1, 0, 2, rich] and before[..., rich].sum() == 0
    assert after[0, 1, 2, 2, frozen] == 1 == after[0, 0, 0, 2, frozen]
    assert (after[0, 0, ..., -2] == 3).all() and (after[0, 1, ..., -2] == 0).all()
    state = env.state()
    assert state.shape[-1] == channels
    assert state[0, ..., -2].nonzero().tolist() == [[0, 1]] and state[0, 0, 1, -2] == 3
    assert torch.equal(env.state(1)[..., -2:], state[..., -2:])


def test_every_form_shows_marks_and_numbers() -> None:
    seen = {}
    for form in OBSERVATIONS:
        env = Camp(observation=form, num_envs=3, n_agents=3, view=3)
        check_env_specs(env)
        env.set_seed(3)
        env.reset()
        env.carried += 2
        act(env, "stay", "stay", "freeze")
        seen[form] = (env.observations(), env.state())
    image, flat, colours = (seen[form][0] for form in ("image", "flat", "rgb"))
    assert torch.equal(image[..., :-2].flatten(-3), flat[..., :-2]) and torch.equal(
        image[..., 0, 0, -2:], flat[..., -2:]
    )
    assert colours.shape[-1] == 5 and torch.equal(colours[..., -2:], image[..., -2:])
    assert seen["flat"][1][:, -6:].tolist() == [[2, 0, 2, 0, 2, 1]] * 3
    # Halfway between its own colour and the mark's.
    assert torch.equal(
        colours[:, 0, 1, 1, :3], (torch.tensor([0, 0x72, 0xB2]) / 255 + torch.tensor([0, 1, 0])).expand(3, -1) / 2
    )


def test_seats_start_and_come_back_on_cells_of_their_own() -> None:
    env = Camp(["QPPP", "   Q", "    "], n_agents=3, num_envs=60, view=3, zap_length=1, zap_timeout=1)
    assert not env.interchangeable_seats and Camp().interchangeable_seats
    env.reset()
    own, common = {(0, 0), (1, 3)}, {(0, 1), (0, 2), (0, 3)}
    starts = [{where(env, b)[seat] for b in range(60)} for seat in range(3)]
    assert starts == [own, own, common]
    put(env, [(2, 1), (2, 2), (2, 0)], [WEST, WEST, EAST])
    act(env, "zap", "zap", "zap")
    assert where(env) == [None, (2, 2), None]
    act(env, "stay", "stay", "stay")
    assert {where(env, b)[0] for b in range(60)} == own and {where(env, b)[2] for b in range(60)} == common


def test_who_finds_all_its_start_cells_taken_waits() -> None:
    env = Camp(["QQPPPP", "      "], n_agents=4, view=3, zap_length=1, zap_timeout=1)
    put(env, [(1, 4), (0, 1), (1, 5), (0, 0)], [EAST, NORTH, WEST, SOUTH])
    act(env, "stay", "stay", "zap", "stay")
    for _ in range(3):
        assert where(env)[0] is None
        act(env, "stay", "stay", "stay", "stay")
    act(env, "stay", "stay", "stay", "forward")
    assert where(env)[0] == (0, 0) or where(env)[0] is None
    act(env, "stay", "stay", "stay", "stay")
    assert where(env)[0] == (0, 0)


def test_kinds_are_drawn_in_the_environments_named() -> None:
    env = Camp(["PPGGGG"], num_envs=2000, view=3)
    env.reset()
    cells, rows = env.grid.cells("G"), torch.arange(1000)
    env.draw_kinds(rows, cells, ("gem", "stone"))
    stones = env.things[:, cells] == env.things_named["stone"]
    assert not stones[1000:].any()
    assert abs(stones[:1000].float().mean() - 0.5) < 4 * (0.25 / 4000) ** 0.5


def test_everything_is_put_back_at_once_but_under_agents() -> None:
    env = put(Camp(["PPGSG"], num_envs=2, view=3), [(0, 0), (0, 2)])
    cells = env.grid.cells("GS")
    full = env.first_things[cells].expand(2, -1)
    env.things[:, cells] = 0
    env.restore(torch.tensor([[True], [False]]), cells, full)
    stone = env.things_named["stone"]
    assert env.things[:, cells].tolist() == [[0, 2, stone], [0, 0, 0]]


def test_episodes_end_by_chance_at_the_steps_of_the_rules() -> None:
    env = Camp(num_envs=400, min_steps=4, end_interval=3, end_chance=0.5, max_steps=9)
    now, ended = env.reset(), []
    for _ in range(9):
        now = env.step(env.rand_action(now))["next"]
        ended.append((now["terminated"].float().mean().item(), now["truncated"].all().item()))
    shares = [share for share, _ in ended]
    assert [step for step, share in enumerate(shares, 1) if share > 0] == [4, 7]
    assert abs(shares[3] - 0.5) < 0.1 and [cut for _, cut in ended] == [False] * 8 + [True]


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (["QPPP"], {}, r"start cells 'Q' in task.map must be 0 or at least 2 \(seats 0, 1 start there\), but is 1"),
        (ROOM, {"min_steps": -1}, r"task.min_steps must be an integer >= 0, but is -1"),
        (ROOM, {"end_interval": 0}, r"task.end_interval must be an integer >= 1, but is 0"),
        (ROOM, {"end_chance": 1.5}, r"task.end_chance must be a probability from 0 to 1, but is 1.5"),
    ],
)
def test_bad_input_is_one_clear_error(rows: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Camp(rows, view=3, **options)
