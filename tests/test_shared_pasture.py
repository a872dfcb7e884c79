"""The shared pasture against bites and growth worked out by hand, and through VMAS, TorchRL and BenchMARL."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vmas
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.utils import check_env_specs

from benchmarl_reciprocator import SharedPasture, SharedPastureEnv, SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.commands.animate import animate
from benchmarl_reciprocator.commands.crossplay import main as crossplay
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.pasture.players import direction
from benchmarl_reciprocator.tasks.pasture.scenario import PATCH_RING, PastureRules, graze, regrow, turned_ring

NUMBERS = st.floats(0, 1, width=32)


def make_task(**changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask.SHARED_PASTURE.get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def make_env(num_envs: int = 2, continuous_actions: bool = False, **changes: Any) -> SharedPastureEnv:
    return make_task(**changes).options.make_env(num_envs, "cpu", 0, continuous_actions)


def put(env: SharedPastureEnv, *places: tuple[float, float]) -> None:
    """Patches to the left and the right of the middle, and agents at rest where they are told to be."""
    env.scenario.patches[:] = torch.tensor([[-PATCH_RING, 0.0], [PATCH_RING, 0.0]])
    for agent, place in zip(env.agents, places):
        agent.set_pos(torch.tensor(place), None)
        agent.set_vel(torch.zeros(2), None)


def test_grazers_of_a_patch_share_what_they_leave_each_other() -> None:
    grass = torch.tensor([[1.0, 0.5, 0.0]])
    on = torch.tensor([[[True, False, False], [True, True, False], [False, False, True]]])
    # Two: 1 - 0.8^2 = 0.36, half each. One: 0.2 of 0.5. On the bare patch: nothing.
    expected = torch.tensor([[[0.18, 0, 0], [0.18, 0.1, 0], [0, 0, 0]]])
    torch.testing.assert_close(graze(grass, on, 0.2), expected)


def test_grass_grows_logistically_and_is_lost_below_the_threshold() -> None:
    grass = torch.tensor([1.0, 0.5, 0.2, 0.05, 0.04, 0.0])
    # 0.5 + 0.1 * 0.25, 0.2 + 0.1 * 0.16, 0.05 + 0.1 * 0.0475
    expected = torch.tensor([1.0, 0.525, 0.216, 0.05475, 0.0, 0.0])
    torch.testing.assert_close(regrow(grass, 0.1, 0.05), expected)
    torch.testing.assert_close(regrow(grass[4:], 0.1, 0.0), torch.tensor([0.04 + 0.1 * 0.04 * 0.96, 0.0]))


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.lists(NUMBERS, min_size=3, max_size=3), st.integers(0, 2**6 - 1), NUMBERS, NUMBERS)
def test_nobody_eats_what_is_not_there(grass: list[float], seats: int, appetite: float, growth: float) -> None:
    before = torch.tensor(grass)
    on = torch.tensor([bool(seats >> bit & 1) for bit in range(6)]).view(2, 3)
    bites = graze(before, on, appetite)
    assert (bites >= 0).all() and (bites.sum(0) <= before + 1e-6).all() and (bites[~on] == 0).all()
    after = regrow(before - bites.sum(0), growth, 0.05)
    assert ((after >= -1e-6) & (after <= 1 + 1e-6)).all()


def test_a_step_by_hand() -> None:
    env = make_env(num_envs=1, grouping="one_group")
    start = env.reset()
    put(env, (-PATCH_RING - 0.1, 0.0), (-PATCH_RING + 0.1, 0.0), (0.0, 0.5))
    stay = start.set(("agents", "action"), torch.zeros(1, 3, dtype=torch.long))
    first = env.step(stay)["next"]
    bite = (1 - 0.9**2) / 2
    assert first["agents", "reward"].flatten().tolist() == pytest.approx([10 * bite, 10 * bite, 0], abs=1e-5)
    left = 1 - 2 * bite
    left += 0.1 * left * (1 - left)
    assert env.scenario.grass[0].tolist() == pytest.approx([left, 1.0])
    assert first["agents", "info", "grass_left"].flatten().tolist() == pytest.approx([(left + 1) / 2] * 3)
    assert first["agents", "info", "spared"].flatten().tolist() == pytest.approx([10 * bite, 10 * bite, 0], abs=1e-5)
    # Off a patch at 0.4, and what is eaten there is not spared.
    env.scenario.grass[:] = 0.4
    second = env.step(stay)["next"]
    assert second["agents", "info", "eaten"].flatten().tolist() == pytest.approx([4 * bite, 4 * bite, 0], abs=1e-5)
    assert second["agents", "info", "spared"].abs().sum() == 0


def test_what_a_grazer_sees() -> None:
    env = make_env(num_envs=1)
    env.reset()
    put(env, (0.1, 0.2), (0.5, -0.5), (-0.5, 0.5))
    env.agents[2].set_vel(torch.tensor([0.3, 0.4]), None)
    env.scenario.grass[:] = torch.tensor([0.7, 0.2])
    seen = env.scenario.observation(env.agents[1])[0].tolist()
    own, patches, grass = [0.5, -0.5, 0, 0], [-1.1, 0.5, 0.1, 0.5], [0.7, 0.2]
    # Agent 2 comes after agent 1, then agent 0.
    assert seen == pytest.approx([*own, *patches, *grass, -1.0, 1.0, -0.4, 0.7, 0.3, 0.4, 0, 0])
    positions, velocities = [0.5, -0.5, -0.5, 0.5, 0.1, 0.2], [0, 0, 0.3, 0.4, 0, 0]
    ways = [*patches, -0.1, -0.5, 1.1, -0.5, -0.7, -0.2, 0.5, -0.2]
    assert env.state(1)[0].tolist() == pytest.approx([*positions, *velocities, *ways, *grass])


def test_grazers_push_each_other_and_stay_in_the_world() -> None:
    env = make_env(num_envs=1, continuous_actions=True, grouping="one_group")
    now = env.reset()
    put(env, (-0.3, 0.0), (0.3, 0.02), (0.0, 0.9))
    forces = torch.tensor([[[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]]])
    for _ in range(40):
        now = env.step_mdp(env.step(now.set(("agents", "action"), forces)))
    places = env.scenario.positions()[0]
    assert (places.abs() <= 1).all()
    assert (places[0] - places[1]).norm() >= 0.08


def test_rings_are_even_and_turned_at_random() -> None:
    ring = turned_ring(50, 4, 0.6, "cpu")
    torch.testing.assert_close(ring.norm(dim=-1), torch.full((50, 4), 0.6))
    torch.testing.assert_close((ring - ring.roll(1, 1)).norm(dim=-1), torch.full((50, 4), 0.6 * math.sqrt(2)))
    assert len(ring[:, 0].round(decimals=3).unique(dim=0)) == 50


@pytest.mark.parametrize("n_agents", [2, 10])
@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
@pytest.mark.parametrize("continuous", [True, False])
def test_specs(continuous: bool, grouping: str, n_agents: int) -> None:
    check_env_specs(make_env(3, continuous, grouping=grouping, n_agents=n_agents, max_steps=4))


def test_groupings_and_single_resets_make_no_difference() -> None:
    joint, apart = (make_env(4, grouping=grouping, max_steps=6) for grouping in ("one_group", "per_agent"))
    actions = torch.randint(9, (6, 4, 3), generator=torch.Generator().manual_seed(0))

    def play(env: SharedPastureEnv) -> TensorDictBase:
        env.set_seed(3)
        steps = iter(actions)

        def policy(tensordict: TensorDictBase) -> TensorDictBase:
            parts = next(steps).split([len(agents) for agents in env.group_map.values()], -1)
            for group, part in zip(env.group_map, parts):
                tensordict[group, "action"] = part
            return tensordict

        return env.rollout(6, policy)

    one, other = play(joint), play(apart)
    for path in (("next", "reward"), ("observation",), ("next", "info", "eaten")):
        torch.testing.assert_close(joint_entry(one, *path), joint_entry(other, *path))
    assert one["next", "truncated"][:, -1].all() and not one["next", "terminated"].any()
    before = joint.scenario.patches.clone(), joint.scenario.grass.clone()
    joint.reset(one[:, -1]["next"].clone().set("_reset", torch.tensor([[False], [True], [False], [False]])))
    for now, then in zip((joint.scenario.patches, joint.scenario.grass), before):
        assert torch.equal(now[[0, 2, 3]], then[[0, 2, 3]]) and not torch.equal(now[1], then[1])
    assert (joint.scenario.grass[1] == 1).all()


def test_is_a_scenario_of_vmas_that_it_renders(tmp_path: Path) -> None:
    env = vmas.make_env(SharedPasture(), num_envs=2, continuous_actions=True, max_steps=5, n_agents=4, n_patches=3)
    observations = env.reset()
    assert [tuple(o.shape) for o in observations] == [(2, 4 + 3 * 3 + 4 * 3)] * 4
    env.step([torch.zeros(2, 2)] * 4)
    full = env.render(mode="rgb_array")
    env.scenario.grass[0] = 0.0
    bare = env.render(mode="rgb_array")
    assert full.shape == bare.shape and full.dtype == np.uint8
    green = [(frame[..., 1].astype(int) - frame[..., 0] > 40).mean() for frame in (full, bare)]
    # Three patches of radius 0.3 in a picture that is 2.2 wide.
    assert green[0] == pytest.approx(3 * math.pi * 0.3**2 / 2.2**2, abs=0.05) and green[1] < 0.02


def test_actions_of_scripted_grazers_are_those_of_vmas() -> None:
    ways = torch.tensor([[0.0, 0.0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, 1], [1, -1], [-1, -1]])
    env = make_env(num_envs=9, grouping="one_group")
    now = env.reset()
    actions = direction(ways)
    assert sorted(actions.tolist()) == list(range(9))
    put(env, (0.0, 0.0), (0.5, 0.5), (-0.5, -0.5))
    env.step(now.set(("agents", "action"), torch.stack([actions, actions * 0, actions * 0], -1)))
    assert torch.equal(env.agents[0].state.pos.sign(), ways)


def returns_of(*names: str, episodes: int = 40) -> Tensor:
    env = make_env(episodes, grouping="one_group", n_agents=len(names))
    players = [make_task().players()[name]() for name in names]

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        seen = tensordict["agents", "observation"]
        chances = [player(seen[:, seat], seen[:, seat, :0])[0] for seat, player in enumerate(players)]
        return tensordict.set(("agents", "action"), torch.stack([chance.argmax(-1) for chance in chances], -1))

    return env.rollout(64, policy)["next", "agents", "reward"].sum((1, 3)).mean(0)


def test_it_is_a_social_dilemma() -> None:
    together = returns_of("cooperate", "cooperate", "cooperate")
    tempted = returns_of("cooperate", "cooperate", "greedy")
    greedy = returns_of("greedy", "greedy", "greedy")
    alone = returns_of("cooperate", "greedy", "greedy")
    assert tempted[2] > together.mean() > greedy.mean() > alone[0]


def test_measures() -> None:
    task = make_task(max_steps=3)
    env = task.options.make_env(1, "cpu", 0)
    now = env.reset()
    put(env, (-PATCH_RING, 0.0), (0.0, 0.5), (0.0, -0.5))
    for group in env.group_map:
        now[group, "action"] = torch.zeros(1, 1, dtype=torch.long)
    stay = {group: now[group, "action"] for group in env.group_map}
    played = env.rollout(
        3, lambda td: td.update({g: {"action": a} for g, a in stay.items()}), auto_reset=False, tensordict=now
    )
    metrics = task.evaluation_metrics([played[0], played[0, :2]])
    assert metrics["agent_0_return"].tolist() == pytest.approx(metrics["agent_0_eaten"].tolist())
    assert metrics["eaten"].tolist() == pytest.approx(metrics["agent_0_eaten"].tolist())
    assert metrics["agent_0_eaten"][0] > metrics["agent_0_eaten"][1] > 1.8
    assert metrics["restraint"].tolist() == [1, 1] and metrics["agent_1_restraint"].isnan().all()
    assert metrics["equality"].tolist() == pytest.approx([1 / 3] * 2)
    assert metrics["patches_left"].tolist() == [1, 1]
    assert 0.8 < metrics["grass_left"][0] < metrics["grass_left"][1] < 1


@pytest.mark.parametrize("algorithm", ["reciprocator", "ippo", "mappo", "qmix"])
@pytest.mark.parametrize("continuous", [True, False])
def test_trains_by_discrete_and_continuous_actions(algorithm: str, continuous: bool, small_experiment) -> None:
    extra = ["algorithm.share_param_critic=False"] if algorithm == "mappo" else []
    experiment = small_experiment(
        f"algorithm={algorithm}",
        f"experiment.prefer_continuous_actions={continuous}",
        "task.max_steps=32",
        *extra,
        preset="shared_pasture",
    )
    assert experiment.continuous_actions == (continuous and algorithm != "qmix")
    assert [*experiment.group_map] == (
        ["agents"] if algorithm in ("mappo", "qmix") else [f"agent_{i}" for i in range(3)]
    )
    experiment.run()
    text = Path(experiment.logger.json_writer.path).read_text()
    assert all(f'"{name}"' in text for name in ("grass_left", "agent_2_eaten", "equality", "utilitarian", "restraint"))


@pytest.mark.parametrize("continuous", [True, False])
def test_video_and_gif(continuous: bool, small_experiment, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarl_reciprocator.plugin.task_callback._why_no_mp4", lambda: "no encoder")
    overrides = ("experiment.render=True", "experiment.loggers=[csv]", "experiment.checkpoint_at_end=True")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        experiment = small_experiment(
            "algorithm=reciprocator",
            "task.max_steps=8",
            "experiment.max_n_iters=1",
            f"experiment.prefer_continuous_actions={continuous}",
            *overrides,
            preset="shared_pasture",
        )
    experiment.run()
    (video,) = experiment.folder_name.rglob("eval_video*.pt")
    assert torch.load(video).shape[-3] == 3
    gif = tmp_path / "pasture.gif"
    assert animate(next((experiment.folder_name / "checkpoints").iterdir()), gif) == 9
    with Image.open(gif) as image:
        assert image.n_frames > 1


def test_scripted_grazers_in_mixed_populations_and_cross_play(small_experiment, tmp_path: Path, monkeypatch) -> None:
    overrides = ("task.max_steps=8", "experiment.max_n_iters=1", "experiment.checkpoint_at_end=True")
    small_experiment("algorithm=mixed", "algorithm.others=greedy", *overrides, preset="shared_pasture").run()
    small_experiment(
        "algorithm=reciprocator", "algorithm.observe_balance=True", *overrides, preset="shared_pasture"
    ).run()
    arguments = [
        "crossplay",
        str(tmp_path),
        "--against",
        "greedy",
        "--episodes",
        "4",
        "--output",
        str(tmp_path / "out"),
    ]
    monkeypatch.setattr("sys.argv", arguments)
    crossplay()
    assert (tmp_path / "out").is_dir()


def test_cross_play_of_continuous_actions_is_refused_by_name(
    small_experiment, tmp_path: Path, monkeypatch, capsys
) -> None:
    small_experiment(
        "algorithm=ippo",
        "task.max_steps=8",
        "experiment.max_n_iters=1",
        "experiment.checkpoint_at_end=True",
        "experiment.prefer_continuous_actions=True",
        preset="shared_pasture",
    ).run()
    monkeypatch.setattr("sys.argv", ["crossplay", str(tmp_path)])
    with (
        pytest.warns(UserWarning, match=r"discrete \(experiment\.prefer_continuous_actions=False\), but it was"),
        pytest.raises(SystemExit),
    ):
        crossplay()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_agents": 1}, r"task.n_agents must be an integer from 2 to 10, but is 1"),
        ({"n_patches": 0}, r"task.n_patches must be an integer from 1 to 6, but is 0"),
        ({"n_patches": 6, "patch_radius": 0.35}, r"task.patch_radius must be above 0 and at most 0.3, .*, but is 0.35"),
        ({"patch_radius": 0.5}, r"task.patch_radius must be above 0 and at most 0.4, .*, but is 0.5"),
        ({"capacity": 0.0}, r"task.capacity must be a finite number > 0, but is 0.0"),
        ({"growth": 1.5}, r"task.growth must be above 0 and at most 1, but is 1.5"),
        ({"appetite": 0.0}, r"task.appetite must be above 0 and at most 1, but is 0.0"),
        ({"extinction": 1.0}, r"task.extinction must be at least 0 and below 1, but is 1.0"),
        ({"max_steps": 0}, r"task.max_steps must be an integer >= 1, but is 0"),
        ({"grouping": "all"}, r"task.grouping must be per_agent or one_group, but is 'all'"),
    ],
)
def test_bad_input_is_one_clear_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_env(**changes)


def test_unknown_options_of_the_scenario_are_refused() -> None:
    with pytest.raises(ValueError, match=r"an option of the pasture must be n_agents, n_patches, .*, but is 'n_sheep'"):
        vmas.make_env(SharedPasture(), num_envs=1, n_sheep=3)
    assert PastureRules() == make_task().options.rules()
