"""Coop mining: cases worked out by hand, scripts, variants and bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch import Tensor

from benchmarl_reciprocator import SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.tasks.grid.growth import rare_events
from benchmarl_reciprocator.tasks.grid.mining.coop_mining import CoopMiningEnv
from benchmarl_reciprocator.tasks.players import Player, play

EAST, WEST = 1, 3


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.COOP_MINING.get_from_yaml()
    task.config.update(n_agents=2)
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 1, seed: int = 0, **changes: Any) -> CoopMiningEnv:
    still = {"iron_probability": 0.0, "gold_probability": 0.0}
    env = make_task(**{**still, **changes}).options.make_env(num_envs=num_envs, device="cpu", seed=seed)
    env.reset()
    return env


def put(env: CoopMiningEnv, ores: dict[tuple[int, int], str], *poses: tuple[int, int, int]) -> CoopMiningEnv:
    """Ores by row and column, and agents by row, column and orientation."""
    things = env.things.clone()
    for place, ore in ores.items():
        things[:, env.grid.layout[place]] = env.things_named[ore]
    cells = torch.tensor([env.grid.layout[row, column].item() for row, column, _ in poses])
    facing = torch.tensor([pose[2] for pose in poses])
    env.place(cells.expand(*env.batch_size, -1), facing.expand(*env.batch_size, -1), things)
    return env


def act(env: CoopMiningEnv, *names: str) -> list[float]:
    """Rewards of the first environment for one step."""
    actions = torch.tensor([env.actions[name] for name in names]).expand(*env.batch_size, -1)
    return env.advance(actions)[0][0].tolist()


def at(env: CoopMiningEnv, *place: int) -> str:
    names = {number: name for name, number in env.things_named.items()}
    return names[env.things[0, env.grid.layout[place]].item()]


def test_a_beam_passes_agents_and_takes_iron() -> None:
    env = put(make_env(), {(1, 5): "iron"}, (1, 2, EAST), (1, 4, EAST))
    assert act(env, "mine", "stay") == [1, 0]
    assert at(env, 1, 5) == "nothing"


def test_gold_pays_two_who_hit_it_within_the_window() -> None:
    env = put(make_env(), {(1, 5): "gold"}, (1, 2, EAST), (1, 8, WEST))
    assert act(env, "mine", "stay") == [0, 0] and at(env, 1, 5) == "hit_gold"
    assert act(env, "stay", "stay") == [0, 0]
    assert act(env, "stay", "mine") == [8, 8] and at(env, 1, 5) == "nothing"


def test_a_hit_after_the_window_is_the_first_of_a_new_one() -> None:
    env = put(make_env(mine_cooldown=0), {(1, 5): "gold"}, (1, 2, EAST), (1, 8, WEST))
    for names in (("mine", "stay"), ("stay", "stay"), ("stay", "stay")):
        act(env, *names)
        assert at(env, 1, 5) == "hit_gold"
    assert act(env, "stay", "mine") == [0, 0] and at(env, 1, 5) == "hit_gold"
    assert act(env, "mine", "stay") == [8, 8]


def test_gold_that_nobody_else_hits_is_whole_again() -> None:
    env = put(make_env(), {(1, 5): "gold"}, (1, 2, EAST), (1, 8, WEST))
    act(env, "mine", "stay")
    shown = []
    for _ in range(3):
        act(env, "stay", "stay")
        shown.append(at(env, 1, 5))
    assert shown == ["hit_gold", "hit_gold", "gold"]


def test_one_alone_renews_the_window_and_is_never_paid() -> None:
    env = put(make_env(), {(1, 5): "gold"}, (1, 2, EAST), (1, 8, WEST))
    cooling = []
    for _ in range(8):
        assert act(env, "mine", "stay") == [0, 0] and at(env, 1, 5) == "hit_gold"
        cooling.append(env.marks["cooling"][0].tolist())
    # A shot in every third step: the actions between do nothing.
    assert cooling == [[step % 3 != 2, False] for step in range(8)]


def test_of_three_who_hit_gold_together_two_are_paid_and_it_is_gone() -> None:
    env = put(make_env(400, n_agents=3), {(1, 5): "gold"}, (1, 2, EAST), (1, 3, EAST), (1, 8, WEST))
    rewards = env.advance(torch.full((400, 3), env.actions["mine"]))[0]
    assert (rewards.sum(-1) == 16).all() and set(rewards.unique().tolist()) == {0, 8}
    # Which two is drawn.
    assert ((rewards > 0).float().mean(0) - 2 / 3).abs().max() < 0.1
    assert (env.things[:, env.grid.layout[1, 5]] == 0).all()


def test_who_was_first_is_paid_beside_one_of_two_who_come_later() -> None:
    env = put(make_env(400, n_agents=3), {(1, 5): "gold"}, (1, 2, EAST), (1, 3, EAST), (1, 8, WEST))
    mine, stay = env.actions["mine"], env.actions["stay"]
    env.advance(torch.tensor([[mine, stay, stay]]).expand(400, -1))
    rewards = env.advance(torch.tensor([[stay, mine, mine]]).expand(400, -1))[0]
    assert (rewards[:, 0] == 8).all() and (rewards[:, 1:].sum(-1) == 8).all()
    assert 0.4 < (rewards[:, 1] > 0).float().mean() < 0.6


def test_of_two_who_hit_iron_together_one_is_paid() -> None:
    env = put(make_env(400), {(1, 5): "iron"}, (1, 2, EAST), (1, 8, WEST))
    rewards = env.advance(torch.full((400, 2), env.actions["mine"]))[0]
    assert (rewards.sum(-1) == 1).all() and 0.4 < rewards[:, 0].mean() < 0.6


def test_a_beam_ends_at_the_first_ore_and_agents_walk_over_it() -> None:
    env = put(make_env(), {(1, 4): "iron", (1, 5): "gold"}, (1, 2, EAST), (1, 8, WEST))
    assert act(env, "mine", "mine") == [1, 0] and at(env, 1, 5) == "hit_gold"
    env = put(make_env(), {(1, 3): "iron"}, (1, 2, EAST), (1, 8, WEST))
    assert act(env, "east", "stay") == [0, 0] and at(env, 1, 3) == "iron"


def test_a_new_episode_forgets_who_has_hit_what() -> None:
    env = put(make_env(), {(1, 5): "gold"}, (1, 2, EAST), (1, 8, WEST))
    act(env, "mine", "stay")
    env.reset()
    put(env, {(1, 5): "gold"}, (1, 2, EAST), (1, 8, WEST))
    assert act(env, "stay", "mine") == [0, 0]


def test_ore_grows_on_free_ground_at_its_chances() -> None:
    env = make_env(2000, iron_probability=0.02, gold_probability=0.01)
    env.advance(torch.zeros(2000, 2, dtype=torch.long))
    ground = env.things[:, env.ground]
    for ore, chance in (("iron", 0.02), ("gold", 0.01)):
        found = (ground == env.things_named[ore]).float().mean().item()
        assert found == pytest.approx(chance, abs=5 * (chance / ground.numel()) ** 0.5)
    assert not (env.things[:, : env.grid.wall].gather(1, env.cells) != 0).any()


@pytest.mark.parametrize("chance", [1e-4, 0.003, 0.5, 1.0])
def test_rare_events_are_independent_trials(chance: float) -> None:
    generator = torch.Generator().manual_seed(0)
    counts = torch.zeros(100)
    for _ in range(200):
        found = rare_events(1000, chance, generator, torch.device("cpu"))
        found = found[found < 1000]
        assert len(found.unique()) == len(found)
        counts += torch.bincount(found // 10, minlength=100)
    total = 200 * 1000 * chance
    assert counts.sum().item() == pytest.approx(total, abs=5 * (total * (1 - chance)) ** 0.5)
    if chance == 0.5:
        # As often early as late.
        assert counts.std().item() < 3 * (total / 100 * (1 - chance)) ** 0.5


def players(task: SocialDilemmaClass, *names: str) -> list[Player]:
    return [task.players()[name]() for name in names]


def test_scripts_mine_what_they_are_for() -> None:
    task = make_task(max_steps=60)
    env = task.options.make_env(num_envs=8, device="cpu", seed=0)
    ores = {}
    for pair in (("cooperate", "cooperate"), ("defect", "defect"), ("defect", "tit_for_tat")):
        played = play(env, players(task, *pair))
        ores[pair] = {ore: played[ore].sum((0, 1)).flatten().tolist() for ore in ("iron", "gold", "gold_hits")}
    assert min(ores["cooperate", "cooperate"]["gold"]) > 0
    assert ores["defect", "defect"]["gold_hits"] == [0, 0] and min(ores["defect", "defect"]["iron"]) > 0
    # It tries, and then does as the other does.
    mixed = ores["defect", "tit_for_tat"]
    assert mixed["gold"] == [0, 0] and 0 < mixed["gold_hits"][1] <= 8 * 5 and mixed["iron"][1] > 0


def test_tit_for_tat_cooperates_again_once_it_sees_another_hit_gold() -> None:
    task = make_task(iron_probability=0.0, gold_probability=0.0)
    (player,) = players(task, "tit_for_tat")
    env = put(make_env(), {(1, 5): "gold"}, (1, 3, EAST), (1, 7, WEST))
    given_up = torch.tensor([[5.0, 0.0]])
    chances, memory = player(env.observations()[:, 0], given_up)
    assert chances[0, env.actions["mine"]] == 0 and memory[0, 0] == 5
    act(env, "stay", "mine")
    chances, memory = player(env.observations()[:, 0], memory)
    assert chances[0, env.actions["mine"]] == 1 and memory.tolist() == [[1, 3]]


def test_measures() -> None:
    task = make_task()
    info = {
        "iron": [[1.0, 0.0]],
        "gold": [[1.0, 1.0]],
        "gold_hits": [[2.0, 2.0]],
        "zaps": [[0.0, 0.0]],
        "out": [[0, 0]],
    }
    metrics = task.options.metrics(episode(info), torch.ones(1, 1, dtype=torch.bool))
    assert metrics["gold_share"].item() == pytest.approx(16 / 17)
    assert metrics["agent_0_gold_share"].item() == pytest.approx(8 / 9)
    assert metrics["gold_hit_success"].item() == 0.5


def episode(info: dict[str, list]) -> TensorDict:
    """One step of one episode with this in its info, by name ``[1, N]``."""
    agents = {name: torch.tensor(values, dtype=torch.float).view(1, 1, -1, 1) for name, values in info.items()}
    group = TensorDict({"info": TensorDict(agents, [1, 1, 2])}, [1, 1])
    return TensorDict({"agents": TensorDict({}, [1, 1]), "next": TensorDict({"agents": group}, [1, 1])}, [1, 1])


@pytest.mark.parametrize("variant", ["melting_pot", "socialjax"])
def test_published_variants(variant: str) -> None:
    task = make_task(variant=variant, n_agents=6)
    env = task.options.make_env(num_envs=2, device="cpu", seed=0)
    played = env.rollout(5)
    assert played["agent_0", "observation"].shape == (2, 5, 1, 11, 11, 1 + 3 + 1 + 6 + 4 + 1)
    assert (env.ground.stop, env.max_steps) == (538, {"melting_pot": 5000, "socialjax": 1000}[variant])
    assert env.interchangeable_seats


def test_a_picture() -> None:
    env = put(make_env(), {(1, 5): "hit_gold"}, (1, 2, EAST), (1, 8, WEST))
    assert env.render().shape == (9 * 24, 13 * 24, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iron_probability": 2.0}, r"task.iron_probability must be a probability from 0 to 1, but is 2.0"),
        ({"gold_window": 0}, r"task.gold_window must be an integer >= 1, but is 0"),
        ({"gold_reward": -1.0}, r"task.gold_reward must be a finite number >= 0, but is -1.0"),
        ({"map": ["PPP"], "view": 3}, r"the number of ore cells 'O' in task.map must be at least 1, but is 0"),
        ({"iron_probability": 0.7, "gold_probability": 0.7}, r"task.gold_probability must be at most 0.3"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_task(**changes).options.make_env(num_envs=1, device="cpu", seed=0)


def test_players_that_see_refuse_what_they_cannot_see() -> None:
    for changes, message in (
        ({"observation": "rgb"}, r"task.observation must be image or flat with a player that sees \(not random\), but"),
        ({"variant": "socialjax"}, r"task.actions must be turn or compass with a player that sees .*, but is 'fixed'"),
    ):
        task = make_task(**changes)
        with pytest.raises(ValueError, match=message):
            task.players()["cooperate"]()
        env = task.options.make_env(num_envs=1, device="cpu", seed=0)
        chances: Tensor = task.players()["random"]()(env.reset()["agent_0", "observation"], torch.zeros(1, 0))[0]
        assert chances.sum().item() == pytest.approx(1)


def test_scripted_play_counts_the_steps_of_every_episode() -> None:
    task = make_task(max_steps=4, n_agents=3)
    env = task.options.make_env(num_envs=2, device="cpu", seed=0)
    for _ in range(2):
        play(env, players(task, "random", "random", "random"))
        # After four steps the circle of seats begins at seat 4 % 3.
        assert env.order().tolist() == 2 * [[2, 0, 1]]
