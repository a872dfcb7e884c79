"""Devices: what is loaded and played is on one, and what comes of one that is not there."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from benchmarl.environments import task_config_registry
from benchmarl.experiment import ExperimentConfig
from tensordict import TensorDict, TensorDictBase
from torch.fx.experimental import _config as fx_config
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarl_reciprocator.agents.agent import Agent, ScriptedAgent
from benchmarl_reciprocator.agents.trained import Team
from benchmarl_reciprocator.algorithms.co_players.seats import CoPlayerSeats, EnvWithCoPlayers
from benchmarl_reciprocator.algorithms.frozen import FrozenPolicy
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.commands import benchmark, crossplay, exploitability
from benchmarl_reciprocator.evaluation.sections import read_sections
from benchmarl_reciprocator.tasks.task import shipped_tasks

# PyTorch's device without data stands for a GPU.
ELSEWHERE = torch.device("meta")


class TwoDevices(TorchDispatchMode):
    """Makes of PyTorch's device without data one as others are: nothing can be mixed with what is on the CPU, and what
    is copied to the CPU, or asked for its value there, is zeros.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        # Numbers of the CPU can be mixed with what is on a GPU.
        devices = {tensor.device for tensor in tensors if tensor.ndim or tensor.device == ELSEWHERE}
        if ELSEWHERE in devices:
            if name in ("allclose", "equal"):
                return True
            if name == "unique_consecutive":
                return args[0].clone(), args[0].new_empty(0), torch.ones_like(args[0])
            if name == "_local_scalar_dense":
                return torch.zeros((), dtype=args[0].dtype).item()
            if name == "_to_copy" and kwargs.get("device", ELSEWHERE) != ELSEWHERE:
                return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype, device=kwargs["device"])
        if len(devices) > 1 and name != "copy_":
            raise RuntimeError(f"{func} mixes devices: {[(tensor.device, tensor.shape) for tensor in tensors]}")
        return func(*args, **kwargs)


@pytest.fixture
def two_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    generator = torch.Generator
    # There are no random numbers without data, yet those of the CPU are taken there.
    monkeypatch.setattr(torch, "Generator", lambda device=None: generator())
    # Where it depends on values how many there are, it is all.
    with fx_config.patch(meta_nonzero_assume_all_nonzero=True), TwoDevices():
        yield


def devices_of(tensordict: TensorDictBase) -> set[torch.device]:
    return {value.device for value in tensordict.values(True, True)}


def trained_on_a_gpu(run: Path, folder: Path) -> Path:
    """A copy of a run as if it came from a machine with a GPU."""
    shutil.copytree(run, folder)
    for config in folder.rglob("config.pkl"):
        with open(config, "rb") as opened:
            parts = [pickle.load(opened) for _ in range(8)]
        for part in parts:
            if isinstance(part, ExperimentConfig):
                part.train_device = part.sampling_device = part.buffer_device = "cuda"
        config.write_bytes(b"".join(map(pickle.dumps, parts)))
    return folder


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without a GPU is what this is about")
def test_what_a_gpu_trained_is_exploited_without_one(checkpoints: Path, tmp_path: Path) -> None:
    run = trained_on_a_gpu(checkpoints / "runs" / "recip_seed_0", tmp_path / "run")
    options = ("--budget=1", "--episodes=2", "--processes=1", "experiment.evaluation_interval=256")
    output = tmp_path / "output"
    assert exploitability.main([str(run), f"--output={output}", *options]) == 0
    assert {"learner", "best response"} < set(pd.read_csv(output / "meetings.csv")["opponent"])


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_a_device_that_is_not_there_is_one_clear_error(checkpoints: Path, tmp_path, device, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        crossplay.main([str(checkpoints), f"--output={tmp_path}", f"--device={device}"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "--device must be a device of this machine (cpu" in error and error.endswith(f", but is {device!r}\n")


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_an_experiment_on_a_device_that_is_not_there_does_not_begin(small_experiment, device) -> None:
    with pytest.raises(
        ValueError, match=rf"experiment\.train_device must be a device of this machine .*, but is '{device}'"
    ):
        small_experiment("algorithm=ippo", f"experiment.train_device={device}", preset="prisoners_dilemma")


def test_a_device_goes_to_every_run_of_a_suite_and_is_checked_first(tmp_path, capsys, monkeypatch) -> None:
    assert benchmark.main(["suite=demo", f"folder={tmp_path}", "experiment.buffer_device=cuda:99"]) == 2
    assert "experiment.buffer_device must be a device of this machine" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        benchmark.main(["suite=demo", "--device=cuda:99"])
    assert ended.value.code == 2 and "--device must be a device of this machine" in capsys.readouterr().err
    handed_on: list[str] = []

    def run_suite(arguments: list[str]) -> None:
        handed_on.extend(arguments)
        raise ValueError("nothing is run")

    monkeypatch.setattr(benchmark, "run_suite", run_suite)
    assert benchmark.main(["suite=demo", "--device", "cpu", "+suite.seeds=2"]) == 2
    of_devices = [f"experiment.{use}_device=cpu" for use in ("sampling", "train", "buffer")]
    assert handed_on == [*of_devices, "suite=demo", "+suite.seeds=2"]


def test_a_skipped_pairing_is_a_line_of_the_report_and_an_exit_code(checkpoints: Path, tmp_path, capsys) -> None:
    shutil.copytree(checkpoints / "runs", tmp_path / "runs")
    (file,) = (tmp_path / "runs" / "mixed_seed_1").rglob("checkpoint_*.pt")
    saved = torch.load(file, weights_only=True)
    torch.save({key: value for key, value in saved.items() if key in ("state", "collector")}, file)
    output = tmp_path / "output"
    command = [str(tmp_path / "runs"), f"--output={output}", "--episodes=2", "--against"]
    with pytest.warns(UserWarning, match=r"skipped Mixed: ippo .*cannot be loaded"):
        assert crossplay.main(command) == 1
    assert "meetings were skipped; the same command tries them again:\n" in capsys.readouterr().err
    skipped = next(part for part in read_sections(output / "section.json")["crossplay"] if "Skipped" in part.title)
    assert all("cannot be loaded" in line for line in skipped.blocks[0].items)
    (_, columns), *_ = pd.read_csv(output / "pairings.csv").groupby("row_seed")
    assert set(columns["row"]) == {"Recip", "Mixed: reciprocator", "Mixed: ippo"}
    # What is there again is played, and nothing is missing.
    torch.save(saved, file)
    assert crossplay.main(command) == 0
    assert "Skipped" not in (output / "crossplay.md").read_text()


def test_mixing_devices_is_noticed(two_devices) -> None:
    there = torch.ones(2, device=ELSEWHERE)
    assert there.to("cpu").tolist() == [0, 0]
    with pytest.raises(RuntimeError, match="mixes devices"):
        there + torch.ones(2)
    with pytest.raises(RuntimeError, match="mixes devices"):
        there[torch.zeros(2, dtype=torch.long)]


@pytest.mark.parametrize("name", shipped_tasks())
def test_a_game_and_its_players_are_on_one_device(name: str, two_devices, monkeypatch) -> None:
    # VMAS checks the values of actions.
    monkeypatch.setattr("vmas.simulator.environment.Environment._check_discrete_action", lambda *_, **__: None)
    task = task_config_registry[f"social_dilemmas/{name}"].get_from_yaml()
    env = task.options.make_env(2, ELSEWHERE, seed=0)
    played = torch.stack([env.rand_step(env.reset()) for _ in range(2)], 1)
    assert devices_of(played) == {ELSEWHERE}
    measured = task.options.metrics(played, torch.ones(played.shape, dtype=torch.bool, device=ELSEWHERE))
    assert {value.device for value in measured.values()} <= {ELSEWHERE}
    seen = played.get((next(iter(env.group_map)), "observation"))[:, 0, :1]
    for make in players_of(task):
        agent = ScriptedAgent(make())
        memory = agent.start(2, ELSEWHERE)
        for _ in range(2):
            action, memory = agent.act(seen, memory)
            assert action.device == ELSEWHERE and devices_of(memory) <= {ELSEWHERE}


def players_of(task: Any) -> list[Callable[[], Any]]:
    """Makers of the players of a task that can play with the options of its yaml."""
    makers = []
    for make in task.players().values():
        try:
            make()
        except ValueError:
            continue
        makers.append(make)
    return makers


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("coins", ("algorithm=reciprocator", "algorithm.observe_balance=True")),
        ("prisoners_dilemma", ("algorithm=ippo", "model=layers/gru", "task.grouping=one_group")),
    ],
)
def test_trained_agents_act_where_they_are_and_are_brought_what_they_see(
    small_experiment, preset, overrides, request
) -> None:
    experiment = small_experiment(*overrides, preset=preset)
    request.getfixturevalue("two_devices")
    if any(isinstance(callback, Reciprocity) for callback in experiment.callbacks):
        # The estimator is where it is trained.
        loss = Reciprocity.of(experiment).learner.loss
        TensorDict.from_module(loss).data.to(ELSEWHERE).to_module(loss)
        experiment.config.train_device = ELSEWHERE
    team = Team(experiment, ELSEWHERE)
    assert {value.device for value in experiment.policy.parameters()} == {torch.device("cpu")}
    env = experiment.task.options.make_env(3, ELSEWHERE, seed=0)
    env.reset()
    agents = team.agents()
    for agent in agents:
        memory = agent.start(3, ELSEWHERE)
        action, memory = agent.act(env.observations(), memory)
        memory = agent.look_back(env.observations(), env.state(), torch.stack([action] * 2, -1), memory)
        assert action.device == ELSEWHERE and devices_of(memory) == {ELSEWHERE}
    group_map = {f"agent_{seat}": [f"agent_{seat}"] for seat in range(2)}
    seen = torch.zeros(env.observations()[:, :1].shape, device="cpu")
    world = {group: {"observation": seen} for group in group_map}
    policy = FrozenPolicy(agents, group_map, "agent_1")
    world["agent_1"]["memory"] = agents[1].start(3, ELSEWHERE).to("cpu").unsqueeze(1)
    after = policy(TensorDict(world, [3]))
    assert devices_of(after) == {torch.device("cpu")} and ("agent_1", "action") in after.keys(True)
    # A collector copies a policy whose device is not its own.
    assert deepcopy(policy).agents[0].team is team


class OnePlayer:
    """A pool of co-players of one agent."""

    def __init__(self, agent: Agent) -> None:
        self.one = agent

    def draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.zeros(n, dtype=torch.long, device="cpu")

    def agent(self, entry: int, seat: int, generator: torch.Generator) -> Agent:
        return self.one


@pytest.mark.parametrize("trained", [False, True])
def test_co_players_act_where_the_environment_is(small_experiment, trained: bool, request) -> None:
    options = ("algorithm=reciprocator", "algorithm.observe_balance=True")
    experiment = small_experiment(*options, preset="prisoners_dilemma")
    request.getfixturevalue("two_devices")
    make_tit_for_tat = experiment.task.players()["tit_for_tat"]
    agent = Team(experiment, ELSEWHERE).agents()[0] if trained else ScriptedAgent(make_tit_for_tat())
    if trained:
        loss = Reciprocity.of(experiment).learner.loss
        TensorDict.from_module(loss).data.to(ELSEWHERE).to_module(loss)
        experiment.config.train_device = ELSEWHERE
    game = experiment.task.options.make_env(4, ELSEWHERE, seed=0)
    env = EnvWithCoPlayers(game, CoPlayerSeats(OnePlayer(agent), game.group_map, (0, 1), 0.5, seed=0))
    tensordict = env.reset()
    for _ in range(2):
        for group in game.group_map:
            tensordict.set((group, "action"), game.action_spec[group, "action"].zero())
        step = env.step(tensordict)
        assert devices_of(step) == {ELSEWHERE} and ("next", "agent_1", "co_player") in step.keys(True)
        tensordict = env.step_mdp(step)
    (table, *_) = env.transform.tables.values()
    assert devices_of(table.memory) == {ELSEWHERE}


@pytest.mark.parametrize("option", ["observe_balance=True", "estimator_share_params=False"])
def test_the_estimator_makes_everything_where_its_batch_is(small_experiment, option, monkeypatch) -> None:
    def as_if_elsewhere(method: Callable) -> Callable:
        def trapped(*args: Any) -> Any:
            # Whatever is made without a device in mind is not where the batch is.
            with ELSEWHERE:
                return method(*args)

        return trapped

    for name in ("on_batch_collected", "_influence_of_step"):
        monkeypatch.setattr(Reciprocity, name, as_if_elsewhere(getattr(Reciprocity, name)))
    options = ("algorithm=reciprocator", f"algorithm.{option}", "experiment.evaluation=False")
    experiment = small_experiment(*options, preset="coins")
    experiment.run()
    assert Reciprocity.of(experiment).learner.fits == 2
