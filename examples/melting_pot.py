"""The Reciprocator on BenchMARL's own Melting Pot tasks: nothing of them is changed, only options are chosen.

    pip install dm-meltingpot    # Linux; see github.com/google-deepmind/meltingpot
    python examples/melting_pot.py commons_harvest__open experiment.train_device=cuda

Any substrate that BenchMARL has, and after it any overrides of ``benchmarl.run``, which takes those below too. All that
a Reciprocator needs is there: a reward for every agent, and a state, the picture of the whole map, which the estimator
sees through a CNN of its own. All agents are in one group and share a policy, as BenchMARL has it;
``experiment.share_policy_params=False`` gives each its own.
"""

from __future__ import annotations

import sys

from benchmarl_reciprocator import load_experiment

# For pictures in which a cell is 8 x 8 pixels: of 88 x 88 what an agent sees, and of more the whole map
CNN = {
    "cnn_num_cells": "[16,32]",
    "cnn_kernel_sizes": "[8,3]",
    "cnn_strides": "[8,1]",
    "cnn_activation_class": "torch.nn.ReLU",
    "mlp_num_cells": "[64]",
}


def overrides(substrate: str, max_steps: int = 1000) -> list[str]:
    """What is chosen, as on the command line of BenchMARL.

    Args:
        substrate (str): name of the substrate, as BenchMARL has it.
        max_steps (int): length of an episode; BenchMARL evaluates 100 steps without it.
    """
    encoder = ", ".join(f"{option}: {value}" for option, value in CNN.items())
    return [
        "algorithm=reciprocator",
        f"task=meltingpot/{substrate}",
        f"+task.max_steps={max_steps}",
        "model=layers/cnn",
        "model@critic_model=layers/cnn",
        *(f"{model}.{option}={value}" for model in ("model", "critic_model") for option, value in CNN.items()),
        "algorithm.estimator_encoder=cnn",
        f"algorithm.estimator_encoder_options={{{encoder}}}",
        # The state weighs 83 kB a frame in Cleanup.
        "algorithm.buffer_batches=2",
        "algorithm.future_influence=True",
        "experiment.loggers=[csv]",
        # Videos would need torchvision and av.
        "experiment.render=False",
    ]


if __name__ == "__main__":
    name, *further = sys.argv[1:] or ["commons_harvest__open"]
    load_experiment([*overrides(name), *further]).run()
