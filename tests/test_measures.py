"""Every task's measure of cooperation, and the version of its rules."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs import EnvBase

from benchmarl_reciprocator import ScriptedAgent, SocialDilemmaClass, SocialDilemmaTask
from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.agents.play import play
from benchmarl_reciprocator.tasks.coins.game import VARIANTS as COINS
from benchmarl_reciprocator.tasks.fishery.rules import VARIANTS as FISHERY
from benchmarl_reciprocator.tasks.grid.cleanup import VARIANTS as CLEANUP
from benchmarl_reciprocator.tasks.grid.coin_boards.rules import VARIANTS as COIN_BOARDS
from benchmarl_reciprocator.tasks.grid.gifts.rules import VARIANTS as GIFTS
from benchmarl_reciprocator.tasks.grid.harvest import VARIANTS as HARVEST
from benchmarl_reciprocator.tasks.grid.mining.rules import VARIANTS as MINING
from benchmarl_reciprocator.tasks.grid.mushrooms.rules import VARIANTS as MUSHROOMS
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.matrix.prisoners_dilemma import VARIANTS as PRISONERS_DILEMMA
from benchmarl_reciprocator.tasks.measure import CooperationMeasure
from benchmarl_reciprocator.tasks.task import shipped_tasks

WITHOUT_COOPERATION = ("matching_pennies", "matrix_game", "matrix_meta_game")
DILEMMAS = [name for name in shipped_tasks() if name not in WITHOUT_COOPERATION]
VARIANTS = {
    "coins": COINS,
    "coins_large": COIN_BOARDS,
    "cleanup": CLEANUP,
    "coop_mining": MINING,
    "externality_mushrooms": MUSHROOMS,
    "fishery": FISHERY,
    "gift_refinements": GIFTS,
    "harvest": HARVEST,
    "prisoners_dilemma": PRISONERS_DILEMMA,
}
CASES = [(name, variant) for name in shipped_tasks() for variant in VARIANTS.get(name, [None])]
# Of each task and variant: the version of its rules, and numbers for the rewards and the observations of a rollout
# with given actions. They move with the rules.
GOLDEN: dict[tuple[str, str | None], tuple[int, float, float]] = {
    ("chicken", None): (1, 39.5712, -7.0389),
    ("cleanup", "small"): (2, -1.2365, 41.5466),
    ("cleanup", "ssdg"): (2, 21.3541, 10.1878),
    ("cleanup", "melting_pot"): (2, 0.0000, -30.4355),
    ("cleanup", "socialjax"): (2, 0.0000, -27.1987),
    ("coins", "reciprocator"): (2, -8.2643, 54.8728),
    ("coins", "mfos"): (2, -6.4794, -25.0485),
    ("coins", "pola"): (2, 2.9722, 12.4377),
    ("coins", "loqa"): (2, 2.9722, 12.4377),
    ("coins", "jaxmarl"): (2, 5.8819, 1.3393),
    ("coins_large", "small"): (1, 3.2596, -3.0026),
    ("coins_large", "melting_pot"): (1, 2.2684, -19.1044),
    ("coins_large", "socialjax"): (1, -0.9533, -29.2537),
    ("fishery", "fishery"): (1, 11.2321, -4.6022),
    ("fishery", "cournot"): (1, 9070.1958, -3.2185),
    ("coop_mining", "small"): (1, 2.4524, 14.2974),
    ("coop_mining", "melting_pot"): (1, 0.0562, 176.1838),
    ("coop_mining", "socialjax"): (1, -2.3264, 17.8478),
    ("externality_mushrooms", "small"): (1, 6.9963, 45.6029),
    ("externality_mushrooms", "melting_pot"): (1, 0.7498, -65.8455),
    ("externality_mushrooms", "socialjax"): (1, 2.8090, 31.0717),
    ("gift_refinements", "small"): (1, -3.4606, -10.2585),
    ("gift_refinements", "melting_pot"): (1, 0.0000, 30.0878),
    ("gift_refinements", "socialjax"): (1, -0.9200, 74.1006),
    ("graded_contributions", None): (1, -1.9330, 3.1803),
    ("harvest", "small"): (2, 2.6418, -73.8093),
    ("harvest", "ssdg"): (2, 53.7249, 17.1514),
    ("harvest", "melting_pot"): (2, -2.5519, 24.9630),
    ("harvest", "melting_pot_closed"): (2, -13.6124, 11.8766),
    ("harvest", "melting_pot_partnership"): (2, -15.0184, 10.1069),
    ("in_the_matrix", None): (1, 0.0000, 16.8570),
    ("harvest", "socialjax"): (2, -5.4232, -32.4650),
    ("matching_pennies", None): (1, 4.7708, -7.0389),
    ("matrix_game", None): (1, -26.4151, -7.0389),
    ("negotiation", None): (1, -0.6452, -1.4634),
    ("matrix_meta_game", None): (1, -2.6082, -33.7848),
    ("prisoners_dilemma", "lola"): (1, 19.4271, -7.0389),
    ("prisoners_dilemma", "contribution"): (1, 7.6599, -7.0389),
    ("prisoners_dilemma", "leibo"): (1, 33.9870, -7.0389),
    ("public_goods", None): (1, -19.1623, -12.1050),
    ("shared_pasture", None): (1, 0.1220, -5.1162),
    ("stag_hunt", None): (1, 17.3951, -7.0389),
}


def make_task(name: str, **changes: Any) -> SocialDilemmaClass:
    task = SocialDilemmaTask[name.upper()].get_from_yaml()
    assert changes.keys() <= task.config.keys()
    task.config.update(changes)
    return task


def random_play(env: EnvBase, steps: int) -> TensorDictBase:
    """Uniformly random actions from a generator of their own: ``[B, T]``."""
    generator = torch.Generator().manual_seed(0)

    def policy(tensordict: TensorDictBase) -> TensorDictBase:
        for group in env.group_map:
            shape = env.full_action_spec[group, "action"].shape
            tensordict[group, "action"] = torch.randint(env.n_actions[0], shape, generator=generator)
        return tensordict

    return env.rollout(steps, policy, break_when_any_done=False)


def scripted_play(task: SocialDilemmaClass, kind: str) -> TensorDictBase:
    """An episode of cooperators or defectors alone: ``[B, T]``."""
    env = task.options.make_env(num_envs=16, device="cpu", seed=0)
    names = {"cooperate": ("cooperate", "all_c"), "defect": ("defect", "greedy", "all_d")}[kind]
    player = next(make() for name, make in task.players().items() if name in names)
    with seeded(0):
        return play(env, [ScriptedAgent(player)] * env.n_agents)[0]


def measured(task: SocialDilemmaClass, played: TensorDictBase) -> tuple[CooperationMeasure, Tensor]:
    """The measure of cooperation, and its values by trajectory: of all, and of each agent, ``[1 + N, E]``."""
    measure = task.cooperation
    assert measure is not None
    metrics = task.options.metrics(played, torch.ones(played.shape, dtype=torch.bool))
    n_agents = joint_entry(played, "next", "reward").shape[-1]
    names = [measure.metric, *(f"agent_{seat}_{measure.metric}" for seat in range(n_agents))]
    return measure, torch.stack([metrics[name] for name in names])


@pytest.mark.parametrize("name", DILEMMAS)
def test_measure_of_cooperation_keeps_its_bounds_and_tells_cooperators_from_defectors(name: str) -> None:
    task = make_task(name, max_steps=32)
    env = task.options.make_env(num_envs=16, device="cpu", seed=0)
    means = {}
    for kind, played in (
        ("random", random_play(env, 32)),
        ("cooperate", scripted_play(task, "cooperate")),
        ("defect", scripted_play(task, "defect")),
    ):
        measure, values = measured(task, played)
        defined = values[values.isfinite()]
        assert len(defined) and (defined >= measure.low).all() and (defined <= measure.high).all(), kind
        means[kind] = values[0].nanmean()
    assert means["cooperate"] > means["defect"]


@pytest.mark.parametrize("name", WITHOUT_COOPERATION)
def test_without_an_action_that_cooperates_there_is_no_measure(name: str) -> None:
    assert make_task(name).cooperation is None


def test_a_payoff_table_has_the_measure_once_an_action_cooperates() -> None:
    assert make_task("matrix_game", cooperative_action=1).cooperation == CooperationMeasure(
        "p_cooperate", "P(cooperate)", 0.0, 1.0
    )


@pytest.mark.parametrize("width", [1, 3, 5])
def test_cleaning_can_reach_its_bound(width: int) -> None:
    task = make_task("cleanup", n_agents=2, clean_width=width, map=["H B"] * 5 + ["PPP"], view=3, max_steps=1)
    env = task.options.make_env(num_envs=1, device="cpu", seed=0)
    now = env.reset()
    env.place(torch.tensor([[env.grid.layout[2, 1], env.grid.layout[5, 2]]]), torch.tensor([[3, 0]]))
    now["agent_0", "action"] = torch.tensor([[env.actions["clean"]]])
    now["agent_1", "action"] = torch.tensor([[env.actions["stay"]]])
    measure, values = measured(task, env.step(now).unsqueeze(1))
    assert measure.high == width == values[1].item()


def fingerprint(task: SocialDilemmaClass) -> tuple[int, float, float]:
    """Version of the rules, and weighted sums of the rewards and the observations of random play."""
    played = random_play(task.options.make_env(num_envs=4, device="cpu", seed=0), 64)
    sums = []
    for path in (("next", "reward"), ("observation",)):
        values = joint_entry(played, *path).double().flatten()
        weights = torch.arange(len(values), dtype=torch.double).sin()
        sums.append((values * weights).sum().item())
    return task.version, *sums


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_change_of_rules_raises_the_version(name: str, variant: str | None) -> None:
    now = fingerprint(make_task(name, **({"variant": variant} if variant else {})))
    # Other versions of PyTorch may add up in another order.
    assert GOLDEN[name, variant] == pytest.approx(now, rel=1e-4, abs=1e-4), (
        f"{name}, variant {variant}, plays otherwise than it did: results are not comparable with earlier ones. Raise "
        f"the version of its TaskConfig, and put here GOLDEN[{name!r}, {variant!r}] = {now}"
    )


@pytest.mark.parametrize(
    ("name", "variant", "changes"),
    [
        ("cleanup", "small", {"apple_probability": 0.11}),
        ("cleanup", "melting_pot", {"waste_probability": 0.6}),
        ("coins", "reciprocator", {"penalty": -1.99}),
        ("cleanup", "ssdg", {"beam_shape": "block"}),
        ("cleanup", "melting_pot", {"beam_shape": "block"}),
        ("coins", "pola", {"owner": "random"}),
        ("coins", "loqa", {"owner": "random"}),
        ("harvest", "small", {"radius": 1.0}),
        ("fishery", "fishery", {"growth": 0.16}),
        ("negotiation", None, {"division": "proportional"}),
        ("public_goods", None, {"multiplier": 2.01}),
        ("shared_pasture", None, {"growth": 0.11}),
    ],
)
def test_the_golden_numbers_move_with_the_rules(name: str, variant: str | None, changes: dict[str, Any]) -> None:
    changes = {**changes, **({"variant": variant} if variant else {})}
    assert GOLDEN[name, variant] != pytest.approx(fingerprint(make_task(name, **changes)), rel=1e-4, abs=1e-4)
