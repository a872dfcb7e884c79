"""The influence parts alone, in plain TorchRL: no BenchMARL, no task of this package.

    python examples/influence_in_torchrl.py

Two agents play a one-shot game of giving: an agent that gives pays 1, and the other gains 3. The estimator learns
from random play who did what to whom; balance and reciprocal reward follow.
"""

import torch
from tensordict import TensorDict
from torch.nn.functional import one_hot

from benchmarl_reciprocator import (
    InfluenceEstimator,
    InfluenceLearner,
    InfluenceLoss,
    InfluenceSchedule,
    influence_balance,
    reciprocal_reward,
)


def play(n_envs: int, n_steps: int) -> TensorDict:
    """Random play: agent 0 gives nine times out of ten, agent 1 one time out of ten."""
    gives = torch.rand(n_envs, n_steps, 2) < torch.tensor([0.9, 0.1])
    done = torch.zeros(n_envs, n_steps, 1, dtype=torch.bool)
    done[:, -1] = True
    state = torch.zeros(n_envs, n_steps, 1)
    return TensorDict(
        {
            "state": state,
            "action": one_hot(gives.long(), 2).float(),
            "next": {
                "state": state,
                "reward": 3.0 * gives.flip(-1) - 1.0 * gives,
                "done": done,
                "terminated": done,
            },
        },
        [n_envs, n_steps],
    )


if __name__ == "__main__":
    torch.manual_seed(0)
    loss = InfluenceLoss(InfluenceEstimator(n_agents=2, state_features=1, action_features=2, future=False), gamma=0.96)
    learner = InfluenceLearner(loss, InfluenceSchedule(buffer_batches=10, lr=0.01, epochs=5, minibatch_size=512))
    for _ in range(20):
        batch = play(n_envs=128, n_steps=16)
        metrics = learner.observe(batch)

    influence = learner.influence(batch)
    balance, _ = influence_balance(influence, batch["next", "done"], gamma=0.96, debit="none")
    reward = reciprocal_reward(influence, balance)
    gave = batch["action"][..., 1].bool()
    print(f"explained variance of rewards: {metrics['explained_variance_reward']:.3f}")
    print(
        f"influence of agent 0 on agent 1 when it gives: {influence[..., 0, 1][gave[..., 0]].mean():+.2f} "
        "(exact: +0.30)"
    )
    print(f"... and when it does not: {influence[..., 0, 1][~gave[..., 0]].mean():+.2f} (exact: -2.70)")
    print(f"reciprocal reward of agent 1 for giving: {reward[..., 1][gave[..., 1]].mean():+.2f}")
