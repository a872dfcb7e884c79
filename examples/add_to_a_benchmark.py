"""Add the Reciprocator to an existing BenchMARL table: one more configuration in the list.

    python examples/add_to_a_benchmark.py
    python examples/add_to_a_benchmark.py --frames 160 --no-evaluation   # to see that it works

A short run on a VMAS task with individual rewards and continuous actions, in BenchMARL's usual form. Results are
written to ``benchmark_results/`` as BenchMARL writes them; every algorithm is a name in the same JSON format.
"""

import argparse
from pathlib import Path

from benchmarl.algorithms import IppoConfig, MappoConfig
from benchmarl.benchmark import Benchmark
from benchmarl.environments import VmasTask
from benchmarl.experiment import ExperimentConfig
from benchmarl.models import MlpConfig

from benchmarl_reciprocator import ReciprocatorConfig

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=24_000, help="of every run, in four batches (default: 24,000)")
    parser.add_argument("--no-evaluation", action="store_true", help="train alone")
    arguments = parser.parse_args()

    folder = Path("benchmark_results")
    folder.mkdir(exist_ok=True)

    experiment_config = ExperimentConfig.get_from_yaml()
    experiment_config.max_n_frames = arguments.frames
    experiment_config.on_policy_collected_frames_per_batch = arguments.frames // 4
    experiment_config.on_policy_n_minibatch_iters = 4
    experiment_config.evaluation_interval = arguments.frames // 2
    experiment_config.evaluation = not arguments.no_evaluation
    experiment_config.loggers = ["csv"]
    experiment_config.render = False
    experiment_config.save_folder = str(folder.resolve())

    reciprocator_config = ReciprocatorConfig.get_from_yaml()
    # Rewards of this task are two orders of magnitude larger than a matrix game's.
    reciprocator_config.reward_weight_end = 0.01

    Benchmark(
        algorithm_configs=[reciprocator_config, IppoConfig.get_from_yaml(), MappoConfig.get_from_yaml()],
        model_config=MlpConfig.get_from_yaml(),
        critic_model_config=MlpConfig.get_from_yaml(),
        tasks=[VmasTask.SIMPLE_TAG.get_from_yaml()],
        seeds={0},
        experiment_config=experiment_config,
    ).run_sequential()
