"""In-the-matrix against meetings worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask, play
from benchmarl_reciprocator.tasks.grid.matrix_world.game import InTheMatrixEnv, match
from benchmarl_reciprocator.tasks.grid.matrix_world.in_the_matrix import MAPS
from benchmarl_reciprocator.tasks.grid.matrix_world.rules import VARIANTS

NORTH, EAST, SOUTH, WEST = range(4)
# Melting Pot's beam, with everything else as in the small variant.
HAND: dict[str, Any] = {"actions": "turn", "view": 5, "view_behind": 1}
ROCK = "rock_paper_scissors"


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.IN_THE_MATRIX.get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, seed: int = 0, **changes: Any) -> InTheMatrixEnv:
    env = make_task(**{**HAND, **changes}).options.make_env(num_envs=num_envs, device="cpu", seed=seed)
    env.reset()
    return env


def put(env: InTheMatrixEnv, *agents: tuple[int, int, int, list[int]]) -> InTheMatrixEnv:
    """Agents by row, column, orientation, and what they have collected."""
    cells = torch.tensor([env.grid.layout[row, column].item() for row, column, _, _ in agents])
    facing = torch.tensor([facing for _, _, facing, _ in agents])
    env.place(cells.expand(*env.batch_size, -1), facing.expand(*env.batch_size, -1))
    collected = torch.tensor([collected for *_, collected in agents])
    env.inventories += collected
    env.marks["ready"] |= collected.sum(-1) > 0
    return env


def act(env: InTheMatrixEnv, *names: str) -> list[float]:
    env._steps += 1
    rewards, _ = env.transition(torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1))
    return [round(reward, 3) for reward in rewards[0].tolist()]


def meeting(first: list[int], second: list[int], zapper: int = 0, **changes: Any) -> tuple[InTheMatrixEnv, list[float]]:
    """Two on the floor of the map, three apart, of whom one fires at the other."""
    env = put(make_env(**changes), (1, 4, EAST, first), (1, 6, WEST, second))
    return env, act(env, *(("interact", "stay") if zapper == 0 else ("stay", "interact")))


@pytest.mark.parametrize(
    ("payoffs", "first", "second", "initial", "expected"),
    [
        ("prisoners_dilemma", [3, 0], [0, 3], 1, [0.84, 3.84]),
        ("prisoners_dilemma", [3, 0], [0, 3], 0, [0, 5]),
        ("prisoners_dilemma", [1, 0], [1, 0], 1, [2.556, 2.556]),
        ("prisoners_dilemma", [1, 0], [0, 1], 1, [1.444, 3.111]),
        ("prisoners_dilemma", [0, 1], [0, 1], 1, [1.889, 1.889]),
        ("chicken", [2, 1], [0, 3], 1, [1.72, 2.92]),
        ("chicken", [2, 1], [0, 3], 0, [1.333, 3.333]),
        ("stag_hunt", [2, 1], [0, 3], 1, [1.28, 2.08]),
        ("stag_hunt", [2, 1], [0, 3], 0, [0.667, 2]),
        (ROCK, [2, 1, 0], [0, 3, 0], 1, [-1.667, 1.667]),
        # The table of matrix_game: the one in the lower seat gets the first of each pair.
        ([[[3, 2], [0, 7]], [[5, 1], [1, 4]]], [3, 0], [0, 3], 0, [0, 7]),
    ],
)
@pytest.mark.parametrize("zapper", [0, 1])
def test_hand_worked_meetings(
    payoffs: Any, first: list[int], second: list[int], initial: int, expected: list[float], zapper: int
) -> None:
    env, rewards = meeting(first, second, zapper, payoffs=payoffs, initial_inventory=initial)
    assert rewards == expected
    assert env.busy.all() and env.frozen.tolist() == [[5, 5]]


def test_who_has_collected_nothing_is_not_met() -> None:
    env, rewards = meeting([3, 0], [0, 0], initial_inventory=1)
    assert rewards == [0, 0] and not env.busy.any() and env.frozen.sum() == 0
    # Cooldown 2: it may fire again three steps later.
    fired = []
    for _ in range(3):
        act(env, "interact", "stay")
        fired.append(env.fired("interact")[0, 0].item())
    assert fired == [False, False, True]


def test_the_time_line_of_melting_pot() -> None:
    env = put(make_env(variant="melting_pot_repeated", view=5), (1, 4, EAST, [3, 0]), (1, 6, WEST, [0, 3]))
    taken = env.fields.start
    env.things[0, taken] = 0
    rewards, alive, back, resources = [], [], None, []
    for step in range(26):
        row = act(env, "interact" if step == 0 else "stay", "forward" if back is not None else "stay")
        rewards.append(sum(row))
        inside = bool((env.cells < env.grid.wall).all())
        alive.append(inside)
        if step > 0 and inside and not alive[step - 1]:
            back = step
        resources.append(bool((env.things[0, env.fields] > 0).all()))
    # Hit at t = 0, paid and gone at t + 17, back at t + 18 + 5; all resources return at t + 18.
    assert [step for step, paid in enumerate(rewards) if paid] == [17] and rewards[17] == pytest.approx(4.68)
    assert alive.index(False) == 17 and back == 23
    assert env.inventories[0].min() >= 1 and not env.marks["frozen"].any()
    assert resources[18] and all(resources[18:23])


def test_both_are_frozen_seen_to_be_and_start_anew() -> None:
    env, _ = meeting([2, 0], [0, 2])
    seen = env.observations()
    shares = seen[0, :, 3, 2, -3:-1].tolist()
    assert shares == [[0, 1], [1, 0]] and env.marks["frozen"].all() and env.marks["ready"].all()
    for _ in range(4):
        act(env, "forward", "forward")
        assert env.cells[0].tolist() == [env.grid.layout[1, 4], env.grid.layout[1, 6]]
    act(env, "stay", "stay")
    assert (env.cells == env.grid.nowhere).all() and env.inventories.sum() == 0 and not env.marks["ready"].any()
    act(env, "stay", "stay")
    starts = set(range(env.grid.cells("P").start, env.grid.cells("P").stop))
    assert set(env.cells[0].tolist()) <= starts
    # The beam that was fired has not cooled down meanwhile.
    assert env.observations()[0, :, 3, 2, -3:].tolist() == [[0, 0, 0], [0, 0, 1]]


def test_resources_are_collected_and_all_return_after_a_meeting() -> None:
    env = put(make_env(), (2, 1, EAST, [0, 0]), (1, 6, WEST, [0, 0]))
    act(env, "forward", "stay")
    assert act(env, "stay", "stay") == [0, 0]
    assert env.inventories.tolist() == [[[1, 0], [0, 0]]]
    act(env, "forward", "stay")
    assert env.inventories.tolist() == [[[2, 0], [0, 0]]] and env.marks["ready"].tolist() == [[True, False]]
    assert (env.things[0, env.fields] == 0).sum() == 2
    put(env, (1, 4, EAST, [0, 0]), (1, 6, WEST, [0, 1]))
    assert act(env, "interact", "stay") == [0, 5]
    for _ in range(6):
        act(env, "stay", "stay")
    assert torch.equal(env.things[:, env.fields], env.supply)


def test_resources_grow_back_after_their_delay() -> None:
    env = put(make_env(regrowth=1.0, regrowth_delay=3), (2, 1, EAST, [0, 0]), (1, 6, WEST, [0, 0]))
    cell = env.grid.layout[2, 2]
    act(env, "forward", "stay")
    act(env, "backward", "stay")
    lies = []
    for _ in range(3):
        lies.append(env.things[0, cell].item() > 0)
        act(env, "stay", "stay")
    # Taken at t: three full steps of waiting, then it may return with the fourth.
    assert lies == [False, False, False] and env.things[0, cell] > 0


def test_drawn_cells_change_from_episode_to_episode_and_the_others_do_not() -> None:
    env = make_env(num_envs=300)
    drawn = (env.things[:, env.drawn] == env.things_named["class_1"]).float()
    assert abs(drawn.mean() - 0.5) < 4 * (0.25 / drawn.numel()) ** 0.5
    fixed = slice(env.drawn.stop, env.fields.stop)
    assert torch.equal(env.things[:, fixed], env.first_things[fixed].expand(300, -1))
    assert not torch.equal(env.things[0, env.drawn], env.things[1:6, env.drawn].float().mean(0))


def test_a_resource_stops_two_beams_and_the_third_passes() -> None:
    env = make_env(map=["P1P", "P 2"], interact_width=1, interact_cooldown=0)
    put(env, (0, 0, EAST, [1, 0]), (0, 2, WEST, [0, 1]))
    assert act(env, "interact", "stay") == [0, 0] == act(env, "interact", "stay")
    assert act(env, "interact", "stay") == [0, 5]
    assert env.things[0, env.fields].tolist() == [0, 3]
    env = make_env(map=["P1P", "P 2"], interact_width=1, resource_hits=0)
    put(env, (0, 0, EAST, [1, 0]), (0, 2, WEST, [0, 1]))
    assert act(env, "interact", "stay") == [0, 5] and env.things[0, env.fields].tolist() == [2, 3]


def test_of_several_meetings_each_agent_has_one() -> None:
    hits = torch.zeros(3000, 4, 4, dtype=torch.bool)
    # Agent 0 may meet 1, 2 or 3; and 2 may meet 3.
    hits[:, 0, 1:] = hits[:, 2, 3] = True
    partner = match(hits, torch.rand(3000, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(
        partner.clamp(max=3).gather(1, partner.clamp(max=3))[partner < 4], torch.arange(4).expand(3000, -1)[partner < 4]
    )
    assert (partner[:, 0] < 4).all()
    with_one = partner[:, 0] == 1
    # Then the other two meet as well.
    assert (partner[with_one, 2] == 3).all() and (partner[~with_one, 2] != 3).all()
    assert 0.2 < with_one.float().mean() < 0.6


def test_the_frozen_are_not_met() -> None:
    env = make_env(n_agents=3, map="arena", interact_width=1)
    put(env, (5, 8, EAST, [1, 0]), (5, 10, WEST, [0, 1]), (6, 10, NORTH, [1, 0]))
    assert act(env, "interact", "stay", "stay") == [0, 5, 0]
    assert act(env, "stay", "stay", "interact") == [0, 0, 0]
    assert env.busy.tolist() == [[True, True, False]]


def test_one_shot_ends_with_the_first_meeting() -> None:
    env = make_env(num_envs=2, variant="melting_pot_one_shot", freeze=1, view=5)
    now = env.reset()
    put(env, (1, 4, EAST, [3, 0]), (1, 6, WEST, [0, 3]))
    ended = []
    for name in ("interact", "stay"):
        for seat in range(2):
            now[f"agent_{seat}", "action"] = torch.full((2, 1), env.actions[name])
        ended.append(env.step(now)["next", "terminated"].all().item())
    assert ended == [False, True]


def test_measures_of_a_played_out_episode() -> None:
    task = make_task(**HAND, max_steps=3, initial_inventory=1)
    env = task.options.make_env(num_envs=1, device="cpu", seed=0)
    now = env.reset()
    put(env, (1, 4, EAST, [3, 0]), (1, 6, WEST, [0, 3]))
    plan = iter([("interact", "stay"), ("stay", "stay"), ("stay", "stay")])

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        for seat, name in enumerate(next(plan)):
            tensordict[f"agent_{seat}", "action"] = torch.tensor([[env.actions[name]]])
        return tensordict

    metrics = task.evaluation_metrics([env.rollout(3, policy, auto_reset=False, tensordict=now)[0]])
    assert metrics["interactions"].item() == 2 and metrics["cooperation"].item() == 0.5
    assert metrics["agent_0_cooperation"].item() == 1 and metrics["agent_1_cooperation"].item() == 0
    assert metrics["share_1"].item() == 0.5 and metrics["agent_0_share_1"].item() == pytest.approx(0.8)
    assert task.cooperation.metric in metrics


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_plays(variant: str) -> None:
    n_agents = 8 if "arena" in variant else 2
    env = make_task(variant=variant, n_agents=n_agents, observation="flat").options.make_env(3, "cpu", 0)
    check_env_specs(env)
    assert env.interchangeable_seats and env.render().ndim == 3


def test_maps_for_three_classes_are_taken_for_three() -> None:
    for name in ("repeated", "arena", "melting_pot_repeated"):
        options = make_task(payoffs=ROCK, map=name).options
        assert options.rules()[1] == MAPS.get(f"{name}_3", MAPS[name])
    env = make_env(payoffs=ROCK)
    assert env.things_named.keys() >= {"class_1", "class_2", "class_3"}


def test_seats_of_a_game_that_tells_them_apart_are_not_interchangeable() -> None:
    assert not make_env(payoffs=[[[3, 2], [0, 0]], [[0, 0], [2, 3]]]).interchangeable_seats


@pytest.mark.parametrize(("variant", "observation"), [("repeated", "flat"), ("storm", "image")])
def test_scripts_play_what_they_are_named_for(variant: str, observation: str) -> None:
    task = make_task(variant=variant, observation=observation, max_steps=80)
    players = task.players()

    def played(*names: str) -> dict[str, Tensor]:
        env = task.options.make_env(num_envs=12, device="cpu", seed=1)
        return dict(play(env, [players[name]() for name in names], seed=1).items())

    both, tempted = played("cooperate", "cooperate"), played("cooperate", "defect")
    returns = tempted["reward"].sum(1).mean(0)
    assert both["cooperates"].sum() >= 0.9 * both["interactions"].sum() > 12
    assert returns[1] > both["reward"].sum(1).mean() > returns[0]
    if observation == "flat":
        answer = played("tit_for_tat", "defect")
        share = answer["cooperates"].sum((0, 1))[0] / answer["interactions"].sum((0, 1))[0]
        # Only the first meetings find it cooperating.
        assert 0 < share < 0.7 and answer["reward"].sum(1).mean(0)[1] < returns[1]


def test_scripts_that_cannot_see_are_not_offered() -> None:
    assert make_task(observation="rgb").players() == {} == make_task(actions="fixed").players()
    assert "class_3" in make_task(payoffs=ROCK).players()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"payoffs": "hawks"}, r"task.payoffs must be prisoners_dilemma, .* or a table, but is 'hawks'"),
        ({"payoffs": [[3, 0], [5]]}, r"row 2 of task.payoffs must be 2 entries long, since a payoff table is square"),
        ({"payoffs": [[3, 0, 1], [5, 1, 1]]}, r"row 1 of task.payoffs must be 2 entries long"),
        ({"payoffs": [[3, 0], [5, "x"]]}, r"task.payoffs must be a table of finite numbers, or of pairs"),
        ({"payoffs": [[1]]}, r"task.payoffs must be a square table of 2 to 5 rows, but is \[\[1\]\]"),
        ({"map": ["P3P"]}, r"row 1, column 2 of task.map must be '@', '0', '1', '2', 'P' or ' ', but is '3'"),
        ({"map": ["P1P"], "view": 3}, r"the number of cells '2' or '0' in task.map must be at least 1, but is 0"),
        ({"map": "unknown"}, r"task.map must be arena, .*, but is 'unknown'"),
        ({"respawn": 0}, r"task.respawn must be an integer >= 1, but is 0"),
        ({"regrowth": 2}, r"task.regrowth must be a probability from 0 to 1, but is 2"),
        ({"zap_length": 1}, r"task.zap_length must be 0: .*, but is 1"),
        ({"variant": "x"}, r"task.variant must be repeated, .* or storm, but is 'x'"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_env(**changes)
