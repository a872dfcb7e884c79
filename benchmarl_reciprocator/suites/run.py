"""One run of a suite: an experiment that keeps account of itself on disk, and goes on where it was killed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from benchmarl.experiment import Experiment, ExperimentConfig
from benchmarl.experiment.callback import Callback
from benchmarl.hydra_config import load_experiment_from_hydra
from omegaconf import DictConfig, OmegaConf
from tensordict import TensorDictBase

from benchmarl_reciprocator.agents.setup import read_task_file
from benchmarl_reciprocator.evaluation.layout import PROGRESS, RECORD
from benchmarl_reciprocator.evaluation.provenance import setting
from benchmarl_reciprocator.evaluation.records import write_json
from benchmarl_reciprocator.plugin.benchmarl_private import without_progress_bar
from benchmarl_reciprocator.plugin.best_policy import frames_of, keep_the_last_alone
from benchmarl_reciprocator.plugin.registration import register
from benchmarl_reciprocator.plugin.schedule import Schedule

# What a run needs of its experiment so that there is something to record and to report when it has finished.
NEEDED = {"create_json": True, "evaluation": True, "save_folder": None, "restore_file": None}
# How often in a run its state is saved, so that a killed one goes on from there.
CHECKPOINTS = 5


class Bookkeeping(Callback):
    """Tells on disk how far a run is, and lets its last checkpoint be small.

    Args:
        file (Path): where the number of iterations done goes.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def on_setup(self) -> None:
        experiment = self.experiment
        on_policy = experiment.on_policy
        frames = experiment.config.collected_frames_per_batch(on_policy)
        self.iterations = experiment.config.get_max_n_iters(on_policy)
        experiment.config.checkpoint_interval = frames * max(1, self.iterations // CHECKPOINTS)
        experiment.config.checkpoint_at_end = True
        # Two, since the older one is deleted before the newer one is written.
        experiment.config.keep_checkpoints_num = 2

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        done = self.experiment.n_iters_performed + 1
        self.file.write_text(str(done))
        if done == self.iterations:
            # The end needs no more training data, which is most of a checkpoint.
            self.experiment.config.exclude_buffer_from_checkpoint = True


def run(folder: Path, cfg: DictConfig, choices: Mapping[str, str]) -> None:
    """Do the run that ``cfg`` describes, from its last checkpoint if there is one, and leave a record.

    Args:
        folder (Path): of this run alone, where BenchMARL's experiment goes too.
        cfg (DictConfig): BenchMARL's, and under ``run`` what the record is to hold besides.
        choices (mapping): what Hydra chose for ``task`` and ``algorithm``.
    """
    register()
    started, worked = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(), without_progress_bar():
        # Of what BenchMARL uses of TorchRL, which is nothing to whoever runs a suite
        warnings.simplefilter("ignore", DeprecationWarning)
        experiment = _resumed(folder)
        resumed = experiment is not None
        if experiment is None:
            # Of a social dilemma every experiment has a schedule; other tasks of BenchMARL can be in a suite too.
            callbacks = [Bookkeeping(folder / PROGRESS), Schedule()]
            experiment = load_experiment_from_hydra(cfg, task_name=choices["task"], callbacks=callbacks)
        # Now, so that nothing of it can fail when the work is done.
        record = _record(experiment, folder, cfg, choices)
        experiment.run()
    keep_the_last_alone(Path(experiment.folder_name))
    record |= {
        "frames": experiment.total_frames,
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_seconds": round(time.process_time() - worked, 1),
        "resumed": resumed,
    }
    write_json(folder / RECORD, record)


def refuse_what_cannot_be_recorded(config: ExperimentConfig) -> None:
    """Raise if a run of a suite would have nothing to record at its end.

    Raises:
        ValueError: naming the option.
    """
    for key, needed in NEEDED.items():
        value = getattr(config, key)
        if value != needed:
            must_be = "null" if needed is None else str(needed).lower()
            raise ValueError(
                f"experiment.{key} must be {must_be} in a suite, which evaluates, saves and resumes every run in a "
                f"folder of its own, but is {value!r}"
            )


def _record(experiment: Experiment, folder: Path, cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """What is known of a run when it begins."""
    groups = experiment.group_map
    assign = getattr(experiment.algorithm_config, "assign", None)
    algorithms = assign(groups) if assign is not None else dict.fromkeys(groups, choices["algorithm"])
    return {
        **cast("dict[str, Any]", OmegaConf.to_container(cfg.run, resolve=True)),
        "agents": [algorithms[group] for group, agents in groups.items() for _ in agents],
        "seed": cfg.seed,
        "json": str(Path(experiment.logger.json_writer.path).relative_to(folder)),
        **_of_the_task(Path(experiment.folder_name)),
        **setting(),
    }


def _of_the_task(experiment_folder: Path) -> dict[str, Any]:
    """What a comparison of results must know of a social dilemma, as the experiment noted it when it began; empty for
    other tasks.
    """
    noted = read_task_file(experiment_folder)
    if noted is None:
        return {}
    return {"task_version": noted["version"], **{key: noted[key] for key in ("cooperation", "packages")}}


def _resumed(folder: Path) -> Experiment | None:
    """The experiment of a killed run as its newest readable checkpoint has it."""
    checkpoints = folder.glob("*/checkpoints/checkpoint_*.pt")
    for checkpoint in sorted(checkpoints, key=frames_of, reverse=True):
        try:
            return Experiment.reload_from_file(str(checkpoint), experiment_patch={"save_folder": str(folder)})
        except Exception as error:  # a file that was being written when the run was killed fails in all kinds of ways
            warnings.warn(f"{checkpoint} cannot be read ({error!r}): left out", stacklevel=2)
    return None
