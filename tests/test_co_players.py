"""Co-players: somebody else in a learner's seat, in a share of the environments."""

from __future__ import annotations

import warnings
from collections import Counter
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from benchmarl.experiment import Experiment
from conftest import Batches
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import StepCounter, TransformedEnv
from torchrl.envs.utils import step_mdp

from benchmarl_reciprocator import (
    CoPlayerOptions,
    MatrixGame,
    MatrixGameEnv,
    ScriptedAgent,
    SocialDilemmaTask,
    with_co_players,
)
from benchmarl_reciprocator.agents.trained import Team, load_checkpoint
from benchmarl_reciprocator.algorithms.co_players import callback
from benchmarl_reciprocator.algorithms.co_players.callback import co_players_of, returns_by_entry
from benchmarl_reciprocator.algorithms.co_players.masked_loss import mean_where
from benchmarl_reciprocator.algorithms.co_players.seats import CoPlayerSeats, EnvWithCoPlayers
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.tasks.matrix.players import all_d, grim

COOPERATE, DEFECT = 0, 1
QUARTER = ("co_players.share=0.25", "co_players.pool=[all_d]", "co_players.learners=null")


def parameters(experiment: Experiment) -> list[torch.Tensor]:
    return [value for loss in experiment.losses.values() for value in loss.parameters()]


class OnePlayer:
    """A pool of one agent."""

    def __init__(self, agent: ScriptedAgent) -> None:
        self.one = agent

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.zeros(n, dtype=torch.long)

    def agent(self, entry: int, seat: int, generator: torch.Generator) -> ScriptedAgent:
        return self.one


def dilemma(n_envs: int, **options) -> MatrixGameEnv:
    task = SocialDilemmaTask.PRISONERS_DILEMMA.get_from_yaml()
    task.config = {**task.config, "grouping": "per_agent", **options}
    return task.options.make_env(num_envs=n_envs, device="cpu", seed=0)


def game_with(make_player, share: float, n_envs: int, open_seats=(0, 1), **options) -> EnvWithCoPlayers:
    """The prisoner's dilemma with one player as the co-player."""
    env = dilemma(n_envs, **options)
    pool = OnePlayer(ScriptedAgent(make_player(MatrixGame(env.payoffs))))
    return EnvWithCoPlayers(env, CoPlayerSeats(pool, env.group_map, open_seats, share, seed=0))


def everybody(env: EnvWithCoPlayers, tensordict: TensorDictBase, action: int) -> TensorDictBase:
    for group in env.group_map:
        tensordict.set((group, "action"), torch.full((*env.batch_size, 1), action))
    return env.step(tensordict)


def replaced(tensordict: TensorDictBase) -> torch.Tensor:
    return torch.cat([tensordict.get((f"agent_{i}", "co_player")) for i in range(2)], 1).squeeze(-1)


def test_what_a_co_player_does_is_what_is_executed_rewarded_and_recorded() -> None:
    env = game_with(all_d, share=0.5, n_envs=4)
    step = everybody(env, env.reset(), COOPERATE)
    met = replaced(step)
    assert met.sum() == 2 and met.any(1).sum() == 2
    # Whoever was replaced defected though the policy had cooperated; by the payoffs 0 and -3, else -1 for both.
    actions = torch.cat([step.get((f"agent_{i}", "action")) for i in range(2)], -1)
    rewards = torch.cat([step.get(("next", f"agent_{i}", "reward")) for i in range(2)], 1).squeeze(-1)
    alone = ~met.any(1)
    assert torch.equal(actions, torch.where(met, DEFECT, COOPERATE))
    assert torch.equal(rewards[alone], torch.full((2, 2), -1.0))
    assert (rewards[met] == 0).all() and (rewards[~met & met.any(1, keepdim=True)] == -3).all()
    assert torch.equal(step.get("co_player_entry").squeeze(-1), torch.where(alone, -1, 0))


def test_a_co_player_stays_for_its_episode_and_remembers_it() -> None:
    env = game_with(grim, share=0.9, n_envs=8, open_seats=(1,), max_steps=4)
    tensordict = env.reset()
    there = replaced(tensordict)
    assert not there[:, 0].any() and there[:, 1].sum() in (7, 8)
    seen = []
    for action in (COOPERATE, DEFECT, COOPERATE, COOPERATE):
        step = everybody(env, tensordict, action)
        seen.append(step.get(("agent_1", "action")).squeeze(-1)[there[:, 1]])
        assert torch.equal(replaced(step.get("next")), there)
        tensordict = step_mdp(step)
    # Grim: the defection of the second step is answered for good.
    assert [set(actions.tolist()) for actions in seen] == [{COOPERATE}, {COOPERATE}, {DEFECT}, {DEFECT}]
    again = env.reset(TensorDict({"_reset": torch.ones(8, 1, dtype=torch.bool)}, [8]))
    step = everybody(env, again, COOPERATE)
    assert (step.get(("agent_1", "action")) == COOPERATE).all()


def test_it_is_around_all_other_transforms_and_stays_there() -> None:
    inner = TransformedEnv(dilemma(4), StepCounter())
    pool = OnePlayer(ScriptedAgent(all_d(MatrixGame(dilemma(1).payoffs))))
    with warnings.catch_warnings():
        # TorchRL will not take nested environments apart any more.
        warnings.filterwarnings("error", "(?s).*Nested TransformedEnvs", FutureWarning)
        env = EnvWithCoPlayers(inner, CoPlayerSeats(pool, inner.group_map, (0, 1), 0.5, seed=0))
    assert env.base_env is inner
    chosen = env.reset()
    step = everybody(env, chosen, COOPERATE)
    assert replaced(step).sum() == 2 and "step_count" in step.get("next").keys()
    # The collector's own tensordict says what was done.
    actions = torch.cat([chosen.get((f"agent_{i}", "action")) for i in range(2)], -1)
    assert torch.equal(actions == DEFECT, replaced(step))


def test_who_begins_anew_leaves_the_others_where_they_are() -> None:
    env = game_with(grim, share=0.5, n_envs=64)
    before = env.reset()
    step = step_mdp(everybody(env, before, DEFECT))
    anew = torch.arange(64) < 32
    after = env.reset(step.clone().set("_reset", anew.unsqueeze(-1)))
    assert torch.equal(replaced(after)[~anew], replaced(before)[~anew])
    assert not torch.equal(replaced(after)[anew], replaced(before)[anew])
    assert replaced(after)[anew].sum() == 16
    actions = everybody(env, after, COOPERATE)
    for seat in range(2):
        mine = replaced(after)[:, seat]
        action = actions.get((f"agent_{seat}", "action")).squeeze(-1)
        assert (action[mine & anew] == COOPERATE).all() and (action[mine & ~anew] == DEFECT).all()


def test_share_seats_and_entries_are_as_asked_on_the_mean() -> None:
    class Two(OnePlayer):
        def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
            return torch.multinomial(torch.tensor([1.0, 3.0]), n, replacement=True, generator=generator)

    env = dilemma(10)
    pool = Two(ScriptedAgent(all_d(MatrixGame(env.payoffs))))
    env = EnvWithCoPlayers(env, CoPlayerSeats(pool, env.group_map, (0, 1), 0.25, seed=0))
    counted, seats = Counter(), torch.zeros(2)
    for _ in range(400):
        tensordict = env.reset()
        counted.update(tensordict.get("co_player_entry").flatten().tolist())
        met = replaced(tensordict)
        assert met.sum() in (2, 3)
        seats += met.sum(0)
    assert counted[-1] / 4000 == pytest.approx(0.75, abs=0.01)
    assert counted[1] / counted[0] == pytest.approx(3, abs=0.5)
    assert (seats / seats.sum()).tolist() == pytest.approx([0.5, 0.5], abs=0.05)


def test_mean_over_the_kept_by_hand() -> None:
    value = torch.tensor([1.0, 2.0, 30.0], requires_grad=True)
    mean = mean_where(value, torch.tensor([True, True, False]))
    mean.backward()
    assert mean.item() == 1.5 and value.grad.tolist() == [0.5, 0.5, 0.0]
    nothing = mean_where(value, torch.zeros(3, dtype=torch.bool))
    assert nothing.item() == 0


@pytest.mark.parametrize(
    "overrides",
    [
        ("algorithm=ippo",),
        ("algorithm=ippo", "task.grouping=one_group", "experiment.share_policy_params=true"),
        ("algorithm=mappo", "algorithm.share_param_critic=false"),
        ("algorithm=reciprocator", "algorithm.warmup=0"),
        ("algorithm=ippo", "model=layers/small_gru"),
    ],
)
def test_nothing_is_learned_from_the_samples_of_a_replaced_seat(small_experiment, overrides) -> None:
    experiment = small_experiment(*overrides, *QUARTER)
    batches = Batches()
    batches.experiment = experiment
    experiment.callbacks = [*experiment.callbacks, batches]
    experiment.run()
    (batch, *_) = batches.collected
    for group in experiment.train_group_map:
        data = experiment.algorithm.process_batch(group, batch.clone())
        if not experiment.algorithm.has_rnn:
            data = data.reshape(-1)
        left_out = data.get((group, "co_player"))
        assert left_out.any() and not left_out.all()
        spoilt = data.clone()
        for key in ("advantage", "value_target", "log_prob"):
            value = spoilt.get((group, key))
            noise = torch.randn_like(value)
            mask = left_out if value.ndim == left_out.ndim else left_out.squeeze(-1)
            spoilt.set((group, key), torch.where(mask, noise, value))
        gradients = []
        for version in (data, spoilt):
            loss = experiment.losses[group]
            loss.zero_grad()
            values = loss(version)
            assert values["loss_objective"].shape == ()
            (values["loss_objective"] + values["loss_critic"] + values["loss_entropy"]).backward()
            gradients.append([p.grad.clone() for p in loss.parameters() if p.grad is not None])
        assert any(gradient.abs().sum() > 0 for gradient in gradients[0])
        assert all(torch.equal(one, other) for one, other in zip(*gradients))


def test_the_rest_is_trained_on_as_it_would_be_alone(small_experiment) -> None:
    """The loss of a batch is that of the kept samples by themselves."""
    experiment = small_experiment("algorithm=ippo", *QUARTER)
    batch = next(iter(experiment.collector))
    data = experiment.algorithm.process_batch("agent_0", batch.clone()).reshape(-1)
    kept = data[~data.get(("agent_0", "co_player")).flatten()]
    plain = small_experiment("algorithm=ippo")
    plain.losses["agent_0"].load_state_dict(experiment.losses["agent_0"].state_dict())
    expected, found = plain.losses["agent_0"](kept), experiment.losses["agent_0"](data)
    assert 0 < len(kept) < len(data)
    for key in ("loss_objective", "loss_critic", "loss_entropy"):
        assert torch.allclose(found[key], expected[key], atol=1e-6)


def test_without_a_share_it_is_the_plain_run_bit_for_bit(small_experiment) -> None:
    runs = []
    for overrides in ((), ("co_players.share=0", "co_players.pool=[all_d]")):
        experiment = small_experiment("algorithm=reciprocator", *overrides)
        assert co_players_of(experiment) is None
        experiment.run()
        runs.append(parameters(experiment))
    assert all(torch.equal(one, other) for one, other in zip(*runs))


def test_seeds_make_it_repeatable(small_experiment) -> None:
    runs = []
    for _ in range(2):
        experiment = small_experiment("algorithm=reciprocator", *QUARTER, "co_players.fit_estimator=true")
        experiment.run()
        runs.append(parameters(experiment))
    assert all(torch.equal(one, other) for one, other in zip(*runs))


@pytest.mark.parametrize(("option", "kept"), [("false", 6), ("true", 8)])
def test_the_estimator_is_fitted_on_trajectories_without_co_players(small_experiment, option: str, kept: int) -> None:
    experiment = small_experiment(
        "algorithm=reciprocator", *QUARTER, f"co_players.fit_estimator={option}", "experiment.max_n_iters=1"
    )
    experiment.run()
    assert len(Reciprocity.of(experiment).learner.buffer) == kept


def test_evaluation_has_no_co_players(small_experiment) -> None:
    experiment = small_experiment("algorithm=ippo", *QUARTER)
    batches = Batches()
    batches.experiment = experiment
    experiment.callbacks = [*experiment.callbacks, batches]
    experiment.run()
    assert batches.evaluated
    assert all("co_player_entry" not in rollout.keys() for rollout in batches.evaluated)


def test_returns_by_whom_they_were_played_with() -> None:
    returns = torch.tensor([[[1.0, 2.0], [3.0, 5.0]], [[7.0, 7.0], [10.0, 20.0]]])
    done = torch.tensor([[False, True], [False, True]])
    entry = torch.tensor([[-1, -1], [1, 1]])
    there = torch.tensor([[[False, False]] * 2, [[False, True]] * 2])
    assert returns_by_entry(returns, done, entry, there, ["a", "b"]) == {
        "self_play/return": 4.0,
        "b/learners_return": 10.0,
        "b/co_player_return": 20.0,
    }


@pytest.mark.parametrize("grouping", ["per_agent", "one_group"])
def test_past_selves_are_as_they_were(small_experiment, grouping: str) -> None:
    past = "co_players.pool=[{past: true, period: 1, keep: 2, recent: true}]"
    experiment = small_experiment(
        "algorithm=reciprocator",
        "algorithm.warmup=0",
        f"task.grouping={grouping}",
        "co_players.share=0.5",
        past,
        "algorithm.observe_balance=True",
        "experiment.max_n_iters=4",
        "experiment.checkpoint_at_end=True",
        "model=layers/small_gru",
    )
    experiment.run()
    snapshots = co_players_of(experiment).pool.past[0]
    assert len(snapshots.teams) == 2
    older, newer = (
        [value for policy in agents[0].team.policies.values() for value in policy.parameters()]
        for agents in snapshots.teams
    )
    now = [value for policy in experiment.group_policies.values() for value in policy.parameters()]
    assert not all(torch.equal(a, b) for a, b in zip(older, newer))
    assert not all(torch.equal(a, b) for a, b in zip(newer, now))
    (checkpoint,) = (Path(experiment.folder_name) / "checkpoints").iterdir()
    resumed = Experiment.reload_from_file(str(checkpoint))
    again = co_players_of(resumed).pool.past[0]
    for agents, known in zip(again.teams, snapshots.teams):
        for group, policy in agents[0].team.policies.items():
            expected = known[0].team.policies[group].parameters()
            assert all(torch.equal(one, other) for one, other in zip(policy.parameters(), expected))
    # Who only plays needs none of them.
    assert co_players_of(load_checkpoint(checkpoint)) is None


def test_past_selves_are_of_their_time_where_they_are_trained_elsewhere(small_experiment, monkeypatch) -> None:
    class Elsewhere(Team):
        """As if collection were on another device than training: with copies of the policies."""

        def __init__(self, experiment: Experiment) -> None:
            super().__init__(experiment)
            self.policies = deepcopy(self.policies)

    monkeypatch.setattr(callback, "Team", Elsewhere)
    past = "co_players.pool=[{past: true, period: 1}]"
    experiment = small_experiment("algorithm=ippo", *QUARTER, past)
    experiment.run()
    first, second = co_players_of(experiment).pool.past[0].teams
    one, other = (agents[0].team.policies["agent_0"].parameters() for agents in (first, second))
    assert not all(torch.equal(before, after) for before, after in zip(one, other))


def test_agents_of_a_checkpoint(small_experiment, checkpoints: Path) -> None:
    checkpoint = next(checkpoints.glob("runs/recip_seed_0/*/checkpoints/*.pt"))
    pool = f"co_players.pool=[{{checkpoint: '{checkpoint}', agent: 0, weight: 2}}, tit_for_tat]"
    experiment = small_experiment("algorithm=ippo", *QUARTER, "co_players.share=0.5", pool, "task.max_steps=8")
    experiment.run()
    names = [entry.name for entry in co_players_of(experiment).pool.entries]
    assert names == [f"{checkpoint.stem}_agent_0", "tit_for_tat"]


@pytest.mark.parametrize("seat", ["agent_0", "agent_1"])
def test_in_a_mixed_population_only_those_who_are_meant_meet_co_players(small_experiment, seat: str) -> None:
    experiment = small_experiment("algorithm=mixed", *QUARTER, "co_players.learners=[reciprocator]")
    batch = next(iter(experiment.collector))
    # The first is the Reciprocator: it is IPPO whose seat is taken.
    assert batch.get((seat, "co_player")).any() == (seat == "agent_1")


def test_a_preset_goes_without_co_players_where_nobody_is_left_to_meet_them(small_experiment) -> None:
    """Its pool is for Reciprocators, whoever they are with."""
    overrides = ("algorithm=mixed", "algorithm.others=tit_for_tat")
    assert co_players_of(small_experiment(*overrides, *QUARTER, "co_players.learners=[reciprocator]")) is None


def test_algorithms_that_are_not_meant_train_as_ever(small_experiment) -> None:
    experiment = small_experiment("algorithm=iql", *QUARTER, "co_players.learners=[reciprocator]")
    assert co_players_of(experiment) is None


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"share": 1.0, "pool": ["greedy"]}, "co_players.share must be a number >= 0 and < 1"),
        ({"share": True, "pool": ["greedy"]}, "co_players.share"),
        ({"share": 0.1}, "co_players.pool must be a list of at least one"),
        ({"pool": "greedy"}, "co_players.pool must be a list"),
        ({"pool": [3]}, r"co_players.pool\[0\] must be the name of a player, past, or a mapping"),
        ({"pool": [{"player": "a", "past": True}]}, r"co_players.pool\[0\] must be"),
        ({"pool": [{"player": "a", "weight": 0}]}, r"co_players.pool\[0\].weight must be a number > 0"),
        ({"pool": [{"player": "a", "period": 2}]}, r"co_players.pool\[0\].period must be an option of such an entry"),
        ({"pool": ["a", {"past": True, "period": 0}]}, r"co_players.pool\[1\].period must be an integer >= 1"),
        ({"pool": [{"past": True, "keep": 0}]}, r"co_players.pool\[0\].keep"),
        ({"pool": [{"checkpoint": "no_such_file.pt"}]}, r"co_players.pool\[0\].checkpoint must be a file"),
        ({"shares": 0.1}, "co_players.shares must be an option of co_players"),
        ({"learners": "ippo"}, "co_players.learners must be null or a list"),
        ({"fit_estimator": 1}, "co_players.fit_estimator must be true or false"),
    ],
)
def test_bad_options_are_named(options, key: str) -> None:
    with pytest.raises(ValueError, match=key):
        CoPlayerOptions.of(options)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("algorithm=iql",), "co_players.share must be 0 for off-policy algorithms"),
        (("co_players.learners=[nobody]",), "co_players.learners must be names of algorithms"),
        (("co_players.pool=[nobody]",), r"co_players.pool\[0\] must be a scripted player of task=prisoners_dilemma"),
        (
            ("co_players.share=0.1",),
            r"co_players.share must be at least 1 / 8 ",
        ),
        (("algorithm=mixed", "algorithm.others=tit_for_tat"), "co_players.share must be 0 where no seat has a learner"),
    ],
)
def test_what_cannot_be_is_refused_before_training(small_experiment, overrides, message: str) -> None:
    given = [override.split("=")[0] for override in overrides]
    defaults = [one for one in ("algorithm=ippo", *QUARTER) if one.split("=")[0] not in given]
    with pytest.raises(ValueError, match=message):
        small_experiment(*defaults, *overrides)


def test_tasks_without_seats_have_no_co_players(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"co_players.share must be 0 but for social dilemmas"):
        small_experiment("algorithm=ippo", "task=vmas/balance", *(f"+{option}" for option in QUARTER), preset=None)


def test_agents_that_see_something_else_are_refused(small_experiment, public_goods: Path) -> None:
    checkpoint = next(public_goods.glob("runs/*/*/checkpoints/*.pt"))
    with pytest.raises(ValueError, match=r"co_players.pool\[0\].checkpoint must be of as many agents"):
        small_experiment("algorithm=ippo", *QUARTER, f"co_players.pool=[{{checkpoint: '{checkpoint}'}}]")


def test_continuous_actions_need_a_player_that_has_them(small_experiment) -> None:
    with pytest.raises(ValueError, match=r"co_players.pool\[0\] must be a player with continuous actions"):
        small_experiment(
            "algorithm=ippo",
            "experiment.prefer_continuous_actions=true",
            "co_players.share=0.25",
            "co_players.pool=[greedy]",
            preset="shared_pasture",
        )


def test_experiments_from_python_have_them_too(small_experiment) -> None:
    made = small_experiment("algorithm=ippo")
    experiment = Experiment(
        task=made.task,
        algorithm_config=made.algorithm_config,
        model_config=made.model_config,
        seed=0,
        config=with_co_players(made.config, share=0.25, pool=["all_d"]),
    )
    experiment.run()
    assert co_players_of(experiment) is not None and co_players_of(made) is None
