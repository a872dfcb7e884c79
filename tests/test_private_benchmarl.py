"""What this package uses of BenchMARL and TorchRL that they do not promise: is it still as it was read off?

One test for each function of :mod:`benchmarl_reciprocator.plugin.benchmarl_private`. Where a new version breaks one,
its message names what has changed.
"""

from __future__ import annotations

import ast
import inspect
import json
import pickle
import sys
import textwrap
from pathlib import Path
from types import ModuleType, SimpleNamespace

import benchmarl
import benchmarl.environments
import pytest
import torch
from benchmarl.algorithms import IppoConfig
from benchmarl.algorithms.common import Algorithm
from benchmarl.experiment import Experiment
from benchmarl.experiment.callback import Callback
from benchmarl.experiment.logger import JsonWriter, Logger
from benchmarl.models import GruConfig, MlpConfig
from torchrl.record.loggers.csv import CSVLogger

from benchmarl_reciprocator.plugin import benchmarl_private as private


class Kept(Callback):
    """A callback that can be told from others after it was pickled."""


@pytest.fixture
def experiment(small_experiment) -> Experiment:
    """On a task that this package knows nothing of."""
    return small_experiment("algorithm=ippo", "task=vmas/simple_tag", preset=None, callbacks=[Kept()])


def calls_of(method: object) -> list[str]:
    """Names of the methods of ``self`` that a method calls, in order."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [call.attr for call in sorted(calls, key=lambda call: call.lineno) if isinstance(call, ast.Attribute)]


def test_set_up_names_the_experiment_between_kind_of_actions_and_environment() -> None:
    order = ["_set_action_type", "_setup_name", "_setup_task", "_setup_algorithm", "_setup_logger", "_on_setup"]
    found = [call for call in calls_of(Experiment._setup) if call in order]
    assert found == order, f"Experiment._setup calls {found}, no longer {order}"


def test_jobs_around_the_naming_are_done_in_order(monkeypatch) -> None:
    done = []
    monkeypatch.setattr(Experiment, "_setup_name", lambda experiment: done.append("name"))
    job = lambda what: lambda experiment: done.append(what)  # noqa: E731
    private.hook_into_setup(before=(job("first"), job("second")), after=(job("third"),))
    Experiment._setup_name(SimpleNamespace())
    assert done == ["first", "second", "name", "third"]


def test_callbacks_can_be_added_while_it_is_set_up(experiment: Experiment) -> None:
    late = Callback()
    before = list(experiment.callbacks)
    private.add_callback(experiment, late)
    assert list(experiment.callbacks) == [*before, late], "Experiment.callbacks is no list of callbacks any more"
    assert late.experiment is experiment
    early = Callback()
    private.add_callback(experiment, early, before=type(before[0]))
    assert list(experiment.callbacks) == [early, *before, late]
    called = []
    late.on_evaluation_end = called.append
    experiment._on_evaluation_end([])
    assert called, "Experiment tells callbacks that were added late nothing any more"


def test_a_tasks_options_are_checked_by_the_dataclass_that_was_declared() -> None:
    module = ModuleType("anything")
    module.TaskConfig = SimpleNamespace
    try:
        private.declare_task_options("an_environment", "a_task", module)
        found = private.task_options_class("an_environment", "a_task")
        assert found is SimpleNamespace, "environments.common._get_task_config_class looks elsewhere"
        registry = benchmarl.environments._task_class_registry
        assert registry["an_environment_a_task"] is SimpleNamespace, "environments._task_class_registry is not read"
        assert {"vmas_balance"} <= set(registry), "environments._task_class_registry has other keys"
        missing = private.task_options_class("an_environment", "another")
        assert missing is None, "environments.common._get_task_config_class does not give None for an unknown task"
    finally:
        benchmarl.environments._task_class_registry.pop("an_environment_a_task", None)
        for name in ("an_environment", "an_environment.a_task"):
            sys.modules.pop(f"benchmarl.environments.{name}", None)


def test_a_yaml_is_read_without_its_defaults(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("defaults: [b, _self_]\nx: [1, 2]\ny: null\n")
    assert private.read_yaml(file) == {"x": [1, 2], "y": None}, "utils._read_yaml_config reads something else"
    file.write_text("")
    assert private.read_yaml(file) == {}, "utils._read_yaml_config gives something else for an empty file"


def test_losses_and_policies_of_algorithms_are_kept_by_group(experiment: Experiment) -> None:
    for kept in private.NETWORKS:
        found = getattr(experiment.algorithm, kept, None)
        assert isinstance(found, dict), f"Algorithm.{kept} is gone, or no dictionary any more"
        assert set(found) == set(experiment.group_map), f"Algorithm.{kept} is not by group any more"
        assert kept in inspect.getsource(Algorithm), f"Algorithm no longer keeps {kept}"
    member = IppoConfig.get_from_yaml().get_algorithm(experiment)
    private.share_networks(experiment.algorithm, [member])
    group = next(iter(experiment.group_map))
    assert member.get_loss_and_updater(group)[0] is experiment.losses[group]


def test_hidden_states_of_models() -> None:
    options = {"n_layers": 1, "bias": True, "dropout": 0.0, "compile": False}
    gru = GruConfig(
        hidden_size=7, mlp_num_cells=[4], mlp_layer_class=torch.nn.Linear, mlp_activation_class=torch.nn.Tanh, **options
    )
    spec = private.hidden_state_spec(gru, "agents")
    (key,) = spec.keys(True, True)
    assert spec[key].shape[-1] == 7, "ModelConfig._get_model_state_spec_inner gives another form of hidden states"
    mlp = MlpConfig(num_cells=[4], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
    without = private.hidden_state_spec(mlp, "agents")
    assert not list(without.keys(True, True)), "ModelConfig._get_model_state_spec_inner is not empty without memory"


def test_what_is_pickled_of_an_experiment(experiment: Experiment) -> None:
    file = experiment.folder_name / "config.pkl"
    parts = private.read_pickled(file)
    expected = {
        "task": experiment.task,
        "options": experiment.task.config,
        "algorithm": experiment.algorithm_config,
        "model": experiment.model_config,
        "seed": experiment.seed,
        "experiment": experiment.config,
        "critic_model": experiment.critic_model_config,
    }
    for name, value in expected.items():
        assert type(parts[name]) is type(value) and parts[name] == value, f"config.pkl has no {name} in its place"
    with open(file, "rb") as opened:
        everything = [pickle.load(opened) for _ in private.PICKLED]
        assert [type(callback) for callback in everything[-1]] == [Kept], "config.pkl does not end with the callbacks"
        assert not opened.read(), "config.pkl holds more than it did"


def test_results_that_are_written_each_time(tmp_path: Path) -> None:
    writer = JsonWriter(str(tmp_path), "a.json", "ippo", "a_task", "an_environment", 0)
    private.results_of(writer)["added"] = 1
    writer.write(total_frames=1, metrics={"return": torch.ones(2)}, evaluation_step=0)
    assert '"added": 1' in writer.path.read_text(), "JsonWriter no longer writes its data"


def test_numbers_of_evaluations_can_be_chosen(tmp_path: Path) -> None:
    writer = JsonWriter(str(tmp_path), "a.json", "ippo", "a_task", "an_environment", 0)
    seen = []
    private.choose_steps(writer, lambda steps, frames: seen.append((set(steps), frames)) or 7)
    writer.write(total_frames=3, metrics={"return": torch.ones(2)}, evaluation_step=0)
    steps = json.loads(writer.path.read_text())["an_environment"]["a_task"]["ippo"]["seed_0"]
    assert steps["step_7"]["step_count"] == 3, "JsonWriter.write no longer takes the number of an evaluation"
    assert seen == [({"absolute_metrics"}, 3)], "JsonWriter.run_data is not what is written of a seed"


def test_benchmarl_writes_evaluations_by_keywords() -> None:
    (call,) = [
        node
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(Logger.log_evaluation))))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "self.json_writer.write"
    ]
    assert {word.arg for word in call.keywords} == {"metrics", "total_frames", "evaluation_step"} and not call.args


def test_a_collector_yields_as_often_as_it_is_asked(experiment: Experiment) -> None:
    private.collect_without_end(experiment.collector)
    batches = iter(experiment.collector)
    iterations = experiment.config.get_max_n_iters(experiment.on_policy)
    assert sum(next(batches).numel() for _ in range(iterations + 1)) > experiment.config.get_max_n_frames(True)


def test_intervals_are_read_in_every_iteration() -> None:
    source = inspect.getsource(Experiment._collection_loop)
    for condition in (
        "self.total_frames % self.config.evaluation_interval == 0",
        "self.total_frames % self.config.checkpoint_interval == 0",
        "self.config.get_max_n_iters(self.on_policy)",
    ):
        assert condition in source, f"Experiment._collection_loop no longer goes by {condition}"
    order = ["self._on_batch_collected(batch)", "self._evaluation_loop()", "self._save_experiment()"]
    assert sorted(order, key=source.index) == order


def test_videos_can_be_dropped(tmp_path: Path) -> None:
    logger = CSVLogger("name", str(tmp_path), video_format="pt")
    private.drop_videos(logger)
    logger.log_video("video", torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8), step=0)
    assert not list(tmp_path.rglob("video*.pt")), "TorchRL's loggers no longer take videos by log_video"


@pytest.mark.parametrize("tensors", [False, True])
def test_the_csv_loggers_videos(tensors: bool, tmp_path: Path) -> None:
    logger = CSVLogger("name", str(tmp_path), video_format="mp4")
    assert private.encodes_videos(logger), "CSVLogger.video_format is gone"
    assert not private.encodes_videos(CSVLogger("other", str(tmp_path), video_format="pt"))
    assert not private.encodes_videos(object())
    if tensors:
        private.keep_videos_as_tensors(logger)
        logger.log_video("video", torch.zeros(1, 2, 3, 8, 8, dtype=torch.uint8))
        files = list(tmp_path.rglob("video*.pt"))
        assert files, "CSVLogger.experiment.video_format no longer decides how videos are saved"


def test_benchmarl_logs_videos_by_the_encoding_csv_logger(small_experiment) -> None:
    (logger,) = small_experiment("algorithm=ippo", "experiment.loggers=[csv]").logger.loggers
    assert private.encodes_videos(logger), "TorchRL's get_logger no longer makes a csv logger that encodes mp4"


def test_the_progress_bar(small_experiment, capfd: pytest.CaptureFixture[str]) -> None:
    with private.without_progress_bar():
        small_experiment("algorithm=ippo").run()
    assert "mean return" not in capfd.readouterr().err, "Experiment no longer draws its bar by its module's tqdm"
    small_experiment("algorithm=ippo").run()
    assert "mean return" in capfd.readouterr().err, "Experiment draws no bar"
