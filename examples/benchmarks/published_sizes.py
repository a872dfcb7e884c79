"""What an iteration of Cleanup and Harvest in their published sizes costs on a CPU, and what a GPU may take for it.

    OMP_NUM_THREADS=1 python examples/benchmarks/published_sizes.py --output examples/results/games/published_sizes.md

Three iterations of each, with fewer frames than the presets': the first warms up, of the second the CPU seconds are
taken, of the third operations are counted. The time on a GPU is no measurement but a projection from these counts: what
launching all operations takes, and what their arithmetic takes, both as often as the preset has so many frames. That is
too much rather than too little: with more frames many operations become larger, not more.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"

import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarl_reciprocator import load_experiment

# Of a GPU of 2022 or later: what the launch of an operation from Python takes, and what it sustains in small
# convolutions in 32 bits, a tenth of its peak.
SECONDS_PER_OPERATION = 12e-6
FLOPS_PER_SECOND = 5e12
PRESET_FRAMES, PRESET_ITERATIONS = 8192, 2000


class Operations(TorchDispatchMode):
    """Counts operations on tensors, and the floating-point operations of convolutions and matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += 1
        flops = flop_registry.get(func.overloadpacket)
        if flops is not None:
            self.flops += flops(*args, **(kwargs or {}), out_val=result)
        return result


class Watch(Callback):
    """CPU seconds at the end of collection and of iterations, and what the last iteration did."""

    def __init__(self) -> None:
        super().__init__()
        self.collected: list[float] = []
        self.ended: list[float] = []
        # Made when it is needed: BenchMARL saves its callbacks before that.
        self.counter: Operations | None = None
        self.operations = self.flops = 0

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        self.collected.append(time.process_time())

    def on_train_end(self, training_td: TensorDictBase, group: str) -> None:
        groups = list(self.experiment.train_group_map)
        if group != groups[-1]:
            return
        self.ended.append(time.process_time())
        if len(self.ended) == 2:
            self.counter = Operations()
            self.counter.__enter__()
        elif self.counter is not None:
            self.counter.__exit__(None, None, None)
            self.flops, self.operations = self.counter.flops, self.counter.count


def row(preset: str, algorithm: str, frames: int) -> list[str]:
    """A line of the table, see :func:`main`, of iterations of so many frames."""
    watch = Watch()
    devices = [f"experiment.{use}_device=cpu" for use in ("sampling", "train", "buffer")]
    options = ["algorithm.warmup=0"] if algorithm == "reciprocator" else []
    with tempfile.TemporaryDirectory() as folder:
        experiment = load_experiment(
            [
                f"+preset={preset}",
                f"algorithm={algorithm}",
                *devices,
                *options,
                "experiment.max_n_iters=3",
                f"experiment.on_policy_collected_frames_per_batch={frames}",
                "experiment.evaluation=False",
                "experiment.checkpoint_interval=0",
                "experiment.create_json=False",
                "experiment.loggers=[]",
                f"experiment.save_folder={folder}",
            ],
            callbacks=[watch],
        )
        experiment.run()
    whole, collection = watch.ended[1] - watch.ended[0], watch.collected[1] - watch.ended[0]
    larger = PRESET_FRAMES / frames
    projected = larger * (watch.operations * SECONDS_PER_OPERATION + watch.flops / FLOPS_PER_SECOND)
    return [
        f"`{preset}`",
        algorithm,
        f"{whole:.1f}",
        f"{collection:.1f}",
        f"{larger * whole:.0f}",
        f"{watch.operations:,}",
        f"{watch.flops / 1e12:.2f}",
        f"{projected:.1f}",
        f"{projected * PRESET_ITERATIONS / 3600:.1f}",
    ]


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="file for the table")
    parser.add_argument("--presets", nargs="+", default=["cleanup_published", "harvest_published"], help="which")
    parser.add_argument("--algorithms", nargs="+", default=["ippo", "reciprocator"], help="by which")
    parser.add_argument("--frames", type=int, default=1024, help="of an iteration that is measured")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    columns = [
        "preset",
        "algorithm",
        f"CPU s, {arguments.frames:,} frames",
        "of it collection",
        f"CPU s, {PRESET_FRAMES:,} frames",
        "operations",
        "TFLOP",
        "GPU s an iteration",
        f"GPU h, {PRESET_ITERATIONS:,} iterations",
    ]
    lines = [columns, ["---"] * len(columns)]
    for preset in arguments.presets:
        for algorithm in arguments.algorithms:
            lines.append(row(preset, algorithm, arguments.frames))
            sys.stdout.write(" | ".join(lines[-1]) + "\n")
            sys.stdout.flush()
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(
        f"# Cleanup and Harvest in their published sizes\n\nSeven agents by Melting Pot's rules, 11x11 views; the "
        f"presets' networks, {PRESET_FRAMES:,} frames an iteration, evaluation left out. Measured: CPU seconds (one "
        f"thread, other work on the machine's 2 cores), operations and arithmetic of one iteration of "
        f"{arguments.frames:,} frames; {gigabytes:.0f} GB of memory at most. CPU seconds of {PRESET_FRAMES:,} frames "
        f"are these times {PRESET_FRAMES / arguments.frames:g}.\n\n"
        f"```bash\nOMP_NUM_THREADS=1 python examples/benchmarks/published_sizes.py {' '.join(sys.argv[1:])}\n```\n\n"
        f"{table}\n\n**No GPU was at hand: the last two columns are a projection, not a measurement.** They add up "
        f"{SECONDS_PER_OPERATION * 1e6:.0f} microseconds for every operation that PyTorch is given and the arithmetic "
        f"of convolutions and matrix products at {FLOPS_PER_SECOND / 1e12:.0f} TFLOP/s, times "
        f"{PRESET_FRAMES / arguments.frames:g}: rather too much, since with more frames many operations become larger, "
        f"not more.\n"
    )


if __name__ == "__main__":
    main()
