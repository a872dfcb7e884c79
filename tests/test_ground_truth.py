"""Exact value influence and the known models behind it: by hand, against the environments and against rollouts."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import SMALL
from torch import Tensor

from benchmarl_reciprocator.algorithms.reciprocity.estimate_check import MEASURES, EstimateCheck
from benchmarl_reciprocator.evaluation.reports import curves
from benchmarl_reciprocator.influence import agreement, exact_influence, unilateral_deviations
from benchmarl_reciprocator.tasks.coins.game import VARIANTS, CoinRules, CoinsEnv
from benchmarl_reciprocator.tasks.coins.model import (
    all_boards,
    board_index,
    coin_future,
    coin_rewards,
    coin_values,
    decode_boards,
    place_boards,
)
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.matrix.matrix_game import MatrixGameEnv
from benchmarl_reciprocator.tasks.matrix.model import decode_outcomes, joint_number, matrix_outcome, matrix_values

PAPER = VARIANTS["reciprocator"]
# Payoffs by joint action and agent, action 0 cooperates.
PRISONERS_DILEMMA = torch.tensor([[[-1.0, -1.0], [-3.0, 0.0]], [[0.0, -3.0], [-2.0, -2.0]]])
STAY, RIGHT, DOWN = 4, 0, 2


def random_policy(*shape: int, concentration: float = 1.0, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return torch.distributions.Dirichlet(torch.full((shape[-1],), concentration)).sample(shape[:-1])


def make_coins(num_envs: int, rules: CoinRules = PAPER, n_agents: int = 2, **options) -> CoinsEnv:
    env = CoinsEnv(n_agents, rules, num_envs=num_envs, seed=0, **options)
    env.reset()
    return env


def always(action: int, grid_size: int = 3, n_actions: int = 5) -> Tensor:
    """Both agents' policies ``[G^8, 2, A]`` that take one action on all boards."""
    return torch.eye(n_actions)[action].expand(grid_size**8, 2, -1)


def test_unilateral_deviations() -> None:
    deviations = unilateral_deviations(torch.tensor([[2, 0, 1]]), 3)
    assert deviations.shape == (1, 3, 3, 3)
    assert deviations[0, 0].tolist() == [[0, 0, 1], [1, 0, 1], [2, 0, 1]]
    assert deviations[0, 1].tolist() == [[2, 0, 1], [2, 1, 1], [2, 2, 1]]
    assert deviations[0, 2].tolist() == [[2, 0, 0], [2, 0, 1], [2, 0, 2]]


def test_influence_in_the_prisoners_dilemma_by_hand() -> None:
    # Agent 0 cooperates with 0.25, agent 1 with 0.5; agent 0 cooperated and agent 1 defected.
    policy, action = torch.tensor([[0.25, 0.75], [0.5, 0.5]]), torch.tensor([0, 1])
    outcome = matrix_outcome(PRISONERS_DILEMMA, unilateral_deviations(action, 2))
    influence = exact_influence(outcome, policy, action)
    expected = [
        # Agent 0 against a defector: (-3, 0) by cooperating, (-2, -2) by defecting; -2.25 and -1.5 on average.
        [-0.75, 1.5],
        # Agent 1 against a cooperator: (-1, -1) by cooperating, (-3, 0) by defecting; -2 and -0.5 on average.
        [-1.0, 0.5],
    ]
    torch.testing.assert_close(influence, torch.tensor(expected))


def test_exact_influence_is_zero_on_average_over_the_policy() -> None:
    policy = random_policy(6, 3, 4)
    everything = torch.cartesian_prod(*[torch.arange(4)] * 3)
    table = torch.randn(4, 4, 4, 3)
    outcome = matrix_outcome(table, unilateral_deviations(everything, 4))
    influence = exact_influence(
        outcome.expand(6, -1, -1, -1, -1), policy.unsqueeze(1).expand(-1, 64, -1, -1), everything.expand(6, -1, -1)
    )
    # By state and joint action; the mean over agent i's own action, with the others' held.
    influence = influence.reshape(6, 4, 4, 4, 3, 3)
    for i in range(3):
        mean = (influence[..., i, :].movedim(1 + i, 1) * policy[:, i, :, None, None, None]).sum(1)
        torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
    assert influence.abs().mean() > 0.5


def test_exact_influence_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2, 2, 2\), \(3, 2, 2\) and \(2,\)"):
        exact_influence(torch.zeros(3, 2, 2, 2), torch.zeros(3, 2, 2), torch.zeros(2, dtype=torch.long))


def test_agreement_of_constructed_estimates() -> None:
    torch.manual_seed(0)
    truth = torch.randn(20_000, 3, 3)
    # What an agent does to itself must not count.
    junk = 1000 * torch.eye(3)
    noise = torch.randn_like(truth)
    found = agreement(2 * truth + 0.5 + noise + junk, truth)
    assert found["bias"] == pytest.approx(0.5, abs=0.02)
    assert found["slope"] == pytest.approx(2, abs=0.02)
    assert found["correlation"] == pytest.approx(2 / math.sqrt(5), abs=0.01)
    # The error is truth + 0.5 + noise: variance 2.
    assert found["signal_to_noise"] == pytest.approx(1 / math.sqrt(2), abs=0.01)
    assert found["rmse"] == pytest.approx(math.sqrt(2.25), abs=0.02)

    exact = agreement(truth, truth)
    assert (exact["correlation"], exact["slope"]) == pytest.approx((1, 1))
    assert (exact["bias"], exact["rmse"], exact["signal_to_noise"]) == (0, 0, math.inf)
    constant = agreement(truth, torch.ones_like(truth))
    assert math.isnan(constant["correlation"]) and math.isnan(constant["slope"])
    assert constant["signal_to_noise"] == 0
    assert math.isnan(agreement(torch.ones(2, 2), truth[0, :2, :2])["correlation"])
    with pytest.raises(ValueError, match="same shape"):
        agreement(truth, truth[0])


@pytest.mark.parametrize("variant", ["reciprocator", "mfos", "pola"])
@pytest.mark.parametrize(("n_agents", "penalty", "once"), [(2, None, False), (3, -0.7, False), (3, -0.7, True)])
def test_coin_rewards_are_the_environments(variant: str, n_agents: int, penalty: float | None, once: bool) -> None:
    rules = replace(VARIANTS[variant], penalty_once=once)
    env = make_coins(4000, rules, n_agents, penalty=penalty)
    agents, coins = env.agent_cells, env.coin_cells
    action = torch.randint(rules.n_actions, agents.shape)
    expected, _ = env.transition(action)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(coin_rewards(agents, coins, action, rules, env.penalty), expected)


@pytest.mark.parametrize("grid_size", [3, 4])
@pytest.mark.parametrize("observation", ["flat", "image"])
@pytest.mark.parametrize("variant", ["reciprocator", "pola"])
def test_boards_are_read_off_the_state(variant: str, observation: str, grid_size: int) -> None:
    env = make_coins(200, replace(VARIANTS[variant], grid_size=grid_size), 3, observation=observation)
    agents, coins = decode_boards(env.state(), 3, grid_size, view=None, image=observation == "image")
    assert torch.equal(agents, env.agent_cells) and torch.equal(coins, env.coin_cells)


@pytest.mark.parametrize(("view", "grid_size"), [(3, 3), (1, 3), (4, 4)])
@pytest.mark.parametrize("observation", ["flat", "image"])
@pytest.mark.parametrize("variant", ["reciprocator", "pola"])
def test_centred_boards_are_read_off_the_state(variant: str, observation: str, view: int, grid_size: int) -> None:
    """Whatever agents see of the board, up to a translation: all looks the same as before."""
    env = make_coins(200, replace(VARIANTS[variant], grid_size=grid_size), 3, observation=observation, view=view)
    seen, state = env.observations(), env.state()
    place_boards(env, *decode_boards(state, 3, grid_size, view=view, image=observation == "image"))
    assert torch.equal(env.observations(), seen) and torch.equal(env.state(), state)
    assert not env.agent_cells[:, 0].any()


def test_all_boards_are_in_their_order() -> None:
    agents, coins = all_boards(3)
    assert torch.equal(board_index(agents, coins, 3), torch.arange(3**8))


def test_coin_values_of_agents_that_stay() -> None:
    gamma = 0.9
    values = coin_values(always(STAY), PAPER, -2.0, gamma).reshape(9, 9, 9, 9, 2)
    # Both on one cell: a coin comes there with 1/9 in each step; both take it, +1 each, and the owner pays 2 for the
    # other's: -1 for the own coin, +1 for the other's, so nothing on average but for the coins that are there now.
    nowhere = values[0, 0, 5, 5]
    assert nowhere.tolist() == pytest.approx([0, 0], abs=1e-4)
    # A coin that is not where agents stay is never taken.
    assert values[0, 1, 2, 2].tolist() == pytest.approx([0, 0], abs=1e-4)
    # Agent 0 on its coin: +1 now. Then it lies under agent 0 with 1/9 (worth V again), under agent 1 with 1/9 (worth W,
    # -2 for the owner now), else it is never taken: V = 1 + m, W = -2 + m, m = gamma (V + W) / 9.
    m = gamma / 9 * -1 / (1 - 2 * gamma / 9)
    assert values[0, 1, 0, 5, 0].item() == pytest.approx(1 + m, abs=1e-4)
    assert values[0, 1, 1, 5, 0].item() == pytest.approx(-2 + m, abs=1e-4)
    # The same coin is worth to agent 1: 0 now and 1 under itself, m' = gamma (V' + W') / 9 with V' = m', W' = 1 + m'.
    other = gamma / 9 / (1 - 2 * gamma / 9)
    assert values[0, 1, 0, 5, 1].item() == pytest.approx(other, abs=1e-4)
    # And what follows if agent 0 steps off to where its coin is, right of it.
    future = coin_future(values.reshape(-1, 2), *map(torch.tensor, ([0, 5], [1, 8], [RIGHT, STAY])), PAPER, gamma)
    # The coin reappears: under agent 0, now on cell 1, or under agent 1, or elsewhere.
    assert future.tolist() == pytest.approx([m, other], abs=1e-4)


def test_coin_values_against_rollouts() -> None:
    gamma, n_envs, steps = 0.8, 60_000, 40
    policy = random_policy(3**8, 2, 5, concentration=0.3)
    values = coin_values(policy, PAPER, -2.0, gamma)
    env = make_coins(n_envs)
    # A few boards, so that there are enough rollouts of each.
    torch.manual_seed(1)
    boards = torch.randint(3**8, (6,)).repeat_interleave(n_envs // 6)
    agents, coins = all_boards(3)
    place_boards(env, agents[boards], coins[boards])
    returns, futures = torch.zeros(n_envs, 2), None
    for t in range(steps):
        here = board_index(env.agent_cells, env.coin_cells, 3)
        action = torch.multinomial(policy[here].flatten(0, 1), 1).reshape(n_envs, 2)
        if t == 0:
            futures = coin_future(values, env.agent_cells, env.coin_cells, action, PAPER, gamma)
            first = coin_rewards(env.agent_cells, env.coin_cells, action, PAPER, -2.0)
        rewards, _ = env.transition(action)
        returns += gamma**t * rewards
    returns, exact = returns.reshape(6, -1, 2).double(), values[boards].reshape(6, -1, 2)
    # Within four standard errors, 12 numbers; what comes after 40 steps is worth less than 0.8^40 = 1e-4 of it.
    error = returns.std(1) / math.sqrt(n_envs // 6)
    assert ((returns.mean(1) - exact.mean(1)).abs() < 4 * error + 1e-3).all()
    assert error.max() < 0.03 and exact[:, 0].std() > 10 * error.max()
    # Given the first joint action too, returns are reward and future.
    error = (returns - (first + futures).reshape(6, -1, 2)).mean(1).abs()
    assert (error < 4 * returns.std(1) / math.sqrt(n_envs // 6) + 1e-3).all()


def test_coin_values_satisfy_bellmans_equation() -> None:
    gamma, tolerance = 0.99, 1e-4
    policy = random_policy(3**8, 2, 5, concentration=0.1).double()
    values = coin_values(policy, PAPER, -2.0, gamma, tolerance)
    agents, coins = (cells.unsqueeze(1) for cells in all_boards(3))
    joint = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    returns = coin_rewards(agents, coins, joint, PAPER, -2.0) + coin_future(values, agents, coins, joint, PAPER, gamma)
    chance = policy[:, 0, joint[:, 0]] * policy[:, 1, joint[:, 1]]
    again = (chance.unsqueeze(-1) * returns).sum(1)
    # Both are within the tolerance of the fixed point.
    assert (again - values).abs().max() < 2 * tolerance
    assert values.std() > 0.5


@pytest.mark.parametrize(
    ("rules", "policy", "gamma", "message"),
    [
        (VARIANTS["pola"], always(0, n_actions=4), 0.9, "task.coins must be per_agent .*, but is 'single'"),
        (PAPER, always(0)[:-1], 0.9, "shape"),
        (PAPER, always(0), 1.0, "gamma must be at least 0 and below 1, but is 1.0"),
    ],
)
def test_coin_values_refuse_bad_input(rules: CoinRules, policy: Tensor, gamma: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        coin_values(policy, rules, -2.0, gamma)


def test_matrix_values_of_tit_for_tat() -> None:
    """After CC both cooperate for ever: -1 / (1 - gamma); after CD they take turns."""
    gamma = 0.5
    # States CC, CD, DC, DD, first; each plays what the other played, and cooperates first.
    copies = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1], [0, 0]])
    values = matrix_values(torch.eye(2)[copies], PRISONERS_DILEMMA, gamma)
    # After CD comes DC, then CD: 0 - 3 g + 0 - ... = -3 g / (1 - g^2) = -2 for agent 0, and -3 / (1 - g^2) = -4 for
    # agent 1.
    expected = torch.tensor([[-2, -2], [-2, -4], [-4, -2], [-4, -4], [-2, -2]], dtype=torch.double)
    torch.testing.assert_close(values, expected)


def test_matrix_values_against_rollouts_with_slips() -> None:
    gamma, noise = 0.7, 0.3
    torch.manual_seed(0)
    table = torch.randn(2, 3, 2)
    policy = random_policy(7, 2, 3)
    policy[:, 0] = torch.cat([random_policy(7, 2, seed=1), torch.zeros(7, 1)], dim=-1)
    values = matrix_values(policy, table, gamma, noise)
    env = MatrixGameEnv(table, num_envs=40_000, max_steps=1000, action_noise=noise, cooperative_action=None, seed=0)
    env.reset()
    returns = torch.zeros(40_000, 2)
    for t in range(30):
        here = decode_outcomes(env.state(), (2, 3), joint=True)
        action = torch.multinomial(policy[here].flatten(0, 1), 1).reshape(-1, 2)
        if t == 0:
            assert (here == 6).all()
            future = gamma * matrix_outcome(values[:-1].reshape(2, 3, 2), action, noise)
            first = matrix_outcome(table, action, noise)
        rewards, _ = env.transition(action)
        returns += gamma**t * rewards
    error = returns.std(0) / 200
    assert ((returns.mean(0) - values[-1]).abs() < 4 * error).all()
    assert ((returns - first - future).mean(0).abs() < 4 * error).all()


@pytest.mark.parametrize("observation", ["joint", "per_agent"])
def test_outcomes_are_read_off_the_state(observation: str) -> None:
    table = torch.zeros(3, 3, 3, 3)
    env = MatrixGameEnv(table, num_envs=27, max_steps=5, observation=observation, seed=0)
    env.reset()
    sizes, joint = (3, 3, 3), observation == "joint"
    assert decode_outcomes(env.state(), sizes, joint=joint).tolist() == [27] * 27
    everything = torch.cartesian_prod(*[torch.arange(3)] * 3)
    env.transition(everything)
    assert torch.equal(decode_outcomes(env.state(), sizes, joint=joint), torch.arange(27))
    assert torch.equal(joint_number(everything, sizes), torch.arange(27))


@pytest.fixture(scope="module")
def study() -> ModuleType:
    path = Path(__file__).resolve().parent.parent / "examples" / "influence_study.py"
    spec = importlib.util.spec_from_file_location("influence_study", path)
    # BenchMARL pickles callbacks, by the module's name.
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("coins", ["algorithm.observe_balance=false", "task.view=3"]),
        ("coins", ["algorithm.observe_balance=false", "task.view=null", "task.grouping=one_group"]),
        ("prisoners_dilemma", ["task.observation=per_agent", "task.action_noise=0.1"]),
        ("public_goods", ["task.n_agents=3"]),
    ],
)
def test_study_knows_policies_and_rewards_of_a_run(
    study: ModuleType, small_experiment, preset: str, overrides: list[str]
) -> None:
    callback = EstimateCheck(every=1)
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.future_influence=true",
        "algorithm.estimator_share_params=false",
        *overrides,
        preset=preset,
        callbacks=[callback],
    )
    experiment.run()
    kinds = [(row["iteration"], row["part"], row["policies"]) for row in callback.rows]
    parts = [("immediate", "current"), ("immediate", "replayed"), ("lag", "current"), ("future", "current")]
    parts.append(("total", "current"))
    assert kinds == [(iteration, *kind) for iteration in (1, 2) for kind in parts]
    assert all(math.isfinite(row["correlation"]) for row in callback.rows)
    # Policies are frozen in the warm-up: what was replayed is what they do now.
    for current, replayed, lag in zip(callback.rows[::5], callback.rows[1::5], callback.rows[2::5]):
        for name in MEASURES:
            assert replayed[name] == pytest.approx(current[name], rel=1e-3, abs=1e-5)
        assert (lag["correlation"], lag["rmse"]) == pytest.approx((1, 0), abs=1e-5)

    # Policies as tabulated are those that the batch was played by, and its rewards those that the model tells.
    table = callback.policies_in_all_situations()
    with torch.no_grad():
        batch = experiment.test_env.rollout(8, policy=experiment.policy)
    situation, action = callback.truth.situation(batch["state"]), joint_entry(batch, "action")
    logits = torch.cat([batch[group, "logits"] for group in experiment.group_map], dim=-2)
    torch.testing.assert_close(table[callback.truth.number(situation)], logits.softmax(-1))
    if not getattr(callback.truth.options, "action_noise", 0):
        expected = callback.truth.rewards(situation, action)
        torch.testing.assert_close(expected, joint_entry(batch, "next", "reward"))


@pytest.mark.parametrize(
    ("preset", "overrides"), [("coins", []), ("prisoners_dilemma", []), ("public_goods", ["task.n_agents=3"])]
)
def test_study_puts_agents_in_each_others_place(
    study: ModuleType, small_experiment, preset: str, overrides: list[str]
) -> None:
    callback = EstimateCheck(every=1)
    options = ("algorithm.estimator_share_params=true", *overrides)
    experiment = small_experiment("algorithm=reciprocator", *options, preset=preset, callbacks=[callback])
    experiment.run()
    assert all(math.isfinite(row["correlation"]) for row in callback.rows if row["policies"] == "replayed")
    with torch.no_grad():
        batch = experiment.test_env.rollout(8, policy=experiment.policy)
    truth = callback.truth
    situation, action = truth.situation(batch["state"]), joint_entry(batch, "action")
    # Of a symmetric game nothing changes but whose reward it is.
    for by in range(truth.n_agents):
        turned = truth.rewards(truth.turned(situation, by), action.roll(-by, -1))
        torch.testing.assert_close(turned, truth.rewards(situation, action).roll(-by, -1))
    assert torch.equal(truth.turned(truth.turned(situation, 1), truth.n_agents - 1), situation)
    assert not torch.equal(truth.turned(situation, 1), situation)


def test_study_reports_what_is_in_the_folder(
    study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["influence_study.py", "--results", str(tmp_path), "--iterations", "2", "--every", "1", "--seeds", "1"]
    small = [option for option in SMALL if "max_n_iters" not in option]
    for more in (
        ["--preset", "prisoners_dilemma"],
        ["algorithm.observe_balance=true"],
        ["algorithm.observe_balance=true"],
    ):
        monkeypatch.setattr(sys, "argv", [*command, "--table-from", "1", *more, *small])
        study.main()
    rows = pd.read_csv(tmp_path / "agreement.csv")
    assert set(rows.columns) == {"iteration", "part", "policies", *MEASURES, "seed", "config"}
    # Immediate by two kinds of policies, and the lag, in two iterations of two configs; the repeated run is there once.
    assert len(rows) == 2 * 2 * 3
    assert len((tmp_path / "table.md").read_text().splitlines()) == 2 + 2 * 3
    assert (tmp_path / "agreement.png").stat().st_size > 10_000
    assert len(json.loads((tmp_path / "setting.json").read_text())) == 2


def test_a_run_that_is_asked_to_logs_the_agreement(small_experiment, tmp_path: Path) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.estimate_check_interval=2",
        "algorithm.estimate_bias=5",
        "co_players.share=0.5",
        "experiment.loggers=[csv]",
    )
    experiment.run()
    (file,) = tmp_path.rglob("scalars/reciprocity_agreement_immediate_current_correlation.csv")
    # In the first of two iterations alone, of the estimate as it was before the error was put in.
    ((iteration, correlation),) = (line.split(",") for line in file.read_text().split())
    assert iteration == "0"
    assert -1 <= float(correlation) <= 1
    (file,) = tmp_path.rglob("scalars/reciprocity_agreement_immediate_current_bias.csv")
    assert abs(float(file.read_text().split(",")[1])) < 3


def test_without_a_known_model_there_is_nothing_to_hold_the_estimate_against(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"^task must be one whose model is known .*, but is 'negotiation'"):
        small_experiment("algorithm=reciprocator", "algorithm.estimate_check_interval=1", preset="negotiation")


@pytest.mark.parametrize("reservoir", [True, False])
def test_what_was_replayed_is_what_the_buffer_is_a_sample_of(small_experiment, reservoir: bool) -> None:
    callback = EstimateCheck(every=10)
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.buffer_batches=2",
        f"algorithm.buffer_reservoir={reservoir}",
        "experiment.max_n_iters=4",
        callbacks=[callback],
    )
    experiment.run()
    # A reservoir is a sample of all four batches of 8 times 32 steps; else the last two are in the buffer.
    assert callback.replayed.sum().item() == pytest.approx(256 * (4 if reservoir else 2), rel=1e-4)


def test_reports_draw_the_agreement_where_it_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {}
    monkeypatch.setattr(curves, "plot_curves", lambda rows, measures, *_: drawn.update(rows=rows, measures=measures))
    named = {"task": "pd", "population": "mine", "seed": 0}
    diagnostics = pd.DataFrame([{**named, "iteration": n, "influence_0_on_1": 1.0} for n in range(160)])
    # 4 of every 5 iterations are not compared, and of the future part none is.
    name = "agreement_immediate_current_correlation"
    diagnostics[name] = [(-0.5 if n % 5 == 0 else math.nan) for n in range(160)]
    diagnostics["agreement_future_current_correlation"] = math.nan
    ordered = SimpleNamespace(
        results=SimpleNamespace(diagnostics=diagnostics),
        tasks=["pd"],
        labels={"mine": "mine"},
        files={"pd": "pd"},
        styles={},
        title=str,
    )
    curves.diagnostic_sections(ordered, tmp_path)
    assert [*drawn["measures"]] == [*curves.DIAGNOSTICS, name]
    assert drawn["rows"][name].dropna().tolist() == [-0.5] * 32
    diagnostics[name] = math.nan
    curves.diagnostic_sections(ordered, tmp_path)
    assert [*drawn["measures"]] == [*curves.DIAGNOSTICS] and len(drawn["rows"]) == 54
