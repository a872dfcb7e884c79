"""Draw one episode of trained policies as an animated GIF, from a checkpoint.

    benchmarl-reciprocator animate <checkpoint> <file.gif>

Works for every task that renders, those of BenchMARL included, on any machine, whichever device trained it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tensordict import TensorDictBase
from torchrl.envs import EnvBase
from torchrl.envs.utils import ExplorationType, set_exploration_type

from benchmarl_reciprocator.agents.devices import seeded
from benchmarl_reciprocator.agents.trained import load_checkpoint
from benchmarl_reciprocator.commands.arguments import (
    add_device,
    add_integer,
    add_number_above_zero,
    command_parser,
    run_command,
)
from benchmarl_reciprocator.plugin.registration import register

READS = """
checkpoint: a file that an experiment saved, such as .../checkpoints/checkpoint_491520.pt, in that experiment's folder
"""
WRITES = "file: a GIF, a frame for the start and one for every step; the checkpoint's folder is left as it is"


def animate(checkpoint: Path, file: Path, seconds_per_step: float = 0.3, seed: int = 0, device: str = "cpu") -> int:
    """Play one episode by sampled actions and write its frames as an animated GIF.

    Args:
        checkpoint (Path): of a BenchMARL experiment.
        file (Path): where the GIF goes.
        seconds_per_step (float): how long a frame stands.
        seed (int): of the actions and the environment.
        device (str): where it is played.

    Returns:
        int: number of frames, one for every step and one for the start.

    Raises:
        ValueError: if there is no such checkpoint, it cannot be loaded, or its task does not render.
    """
    if not checkpoint.is_file():
        raise ValueError(f"checkpoint must be a file that an experiment saved, but is {str(checkpoint)!r}")
    register()
    experiment = load_checkpoint(checkpoint, device=device)
    env = experiment.test_env
    if not experiment.task.has_render(env):
        raise ValueError(f"task must be one that renders, but is {experiment.task_name!r}: it has no pictures of play")
    frames: list[Image.Image] = []

    def keep_frame(env: EnvBase, tensordict: TensorDictBase) -> None:
        frame: Any = type(experiment.task).render_callback(experiment, env, tensordict)
        frames.append(Image.fromarray(np.asarray(frame.cpu() if torch.is_tensor(frame) else frame)))

    with seeded(seed), torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):
        env.set_seed(seed)
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
    file.parent.mkdir(parents=True, exist_ok=True)
    frames[0].save(file, save_all=True, append_images=frames[1:], duration=int(1000 * seconds_per_step), loop=0)
    return len(frames)


def main(command_line: Sequence[str] | None = None) -> int:
    """Read the command line and write the GIF."""
    parser = command_parser("animate", __doc__, READS, WRITES)
    parser.add_argument("checkpoint", type=Path, help="of an experiment")
    parser.add_argument("file", type=Path, help="where the GIF goes")
    add_number_above_zero(parser, "--seconds-per-step", 0.3, "how long a frame stands")
    add_integer(parser, "--seed", 0, "of the actions and the environment", least=0)
    add_device(parser, "where the episode is played")
    return run_command(parser, command_line, work)


def work(arguments: argparse.Namespace) -> None:
    """Write the GIF."""
    animate(arguments.checkpoint, arguments.file, arguments.seconds_per_step, arguments.seed, arguments.device)
