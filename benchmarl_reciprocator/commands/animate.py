"""A GIF of one episode of trained policies, from a checkpoint.

    benchmarl-reciprocator animate <checkpoint> <file.gif>

Works for every task that renders, those of BenchMARL included.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from benchmarl.experiment import Experiment
from PIL import Image
from torchrl.envs.utils import ExplorationType, set_exploration_type

from benchmarl_reciprocator.plugin.registration import register


def animate(checkpoint: Path, file: Path, seconds_per_step: float = 0.3, seed: int = 0) -> int:
    """Play one episode by sampled actions and write its frames as an animated GIF.

    Args:
        checkpoint (Path): of a BenchMARL experiment.
        file (Path): where the GIF goes.
        seconds_per_step (float): how long a frame stands.
        seed (int): of the actions and the environment.

    Returns:
        int: number of frames, one for every step and one for the start.

    Raises:
        ValueError: if there is no such checkpoint or its task does not render.
    """
    if not checkpoint.is_file():
        raise ValueError(f"checkpoint={str(checkpoint)!r} is not allowed, allowed: a file that an experiment saved")
    register()
    with tempfile.TemporaryDirectory() as folder:
        # A folder of its own: setting an experiment up writes files, and the checkpoint's are not to change.
        patch = {"save_folder": folder, "loggers": [], "create_json": False, "evaluation_episodes": 1}
        experiment = Experiment.reload_from_file(str(checkpoint), experiment_patch=patch)
        env = experiment.test_env
        if not experiment.task.has_render(env):
            raise ValueError(f"task={experiment.task_name!r} is not allowed, allowed: a task that renders")
        frames = []

        def keep_frame(env, tensordict) -> None:
            frame = type(experiment.task).render_callback(experiment, env, tensordict)
            frames.append(Image.fromarray(np.asarray(frame.cpu() if torch.is_tensor(frame) else frame)))

        torch.manual_seed(seed)
        env.set_seed(seed)
        with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
            start = env.reset()
            keep_frame(env, start)
            played = env.rollout(
                experiment.max_steps,
                experiment.policy,
                callback=keep_frame,
                tensordict=start,
                auto_reset=False,
                auto_cast_to_device=True,
            )
            # TorchRL leaves out the callback after the last step.
            keep_frame(env, played[..., -1])
        experiment.close()
    file.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=int(1000 * seconds_per_step), loop=0)
    return len(frames)


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line and write the GIF."""
    parser = argparse.ArgumentParser(
        prog="benchmarl-reciprocator animate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="file that an experiment saved, such as .../checkpoint_81920.pt")
    parser.add_argument("file", type=Path, help="where the GIF goes")
    parser.add_argument("--seconds-per-step", type=float, default=0.3, help="how long a frame stands")
    parser.add_argument("--seed", type=int, default=0, help="of the actions and the environment")
    arguments = parser.parse_args(command_line)
    try:
        animate(arguments.checkpoint, arguments.file, arguments.seconds_per_step, arguments.seed)
    except ValueError as error:
        parser.error(str(error))
    return 0
