"""What an agent learns about what others expect, where they do not tell: values of states, and of actions."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.modules import MLP

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment

NUM_CELLS = (64, 64)
# How much of the target network of action values is kept at a fit (LOQA).
KEPT = 0.99


class Critic:
    """A network from the joint state to numbers of all agents, fitted as BenchMARL fits a critic of PPO.

    Args:
        experiment (Experiment): whose learning rate, minibatches and clipping of gradients it takes.
        state_features (int): width of the joint state.
        outputs (int): how many numbers.
    """

    def __init__(self, experiment: Experiment, state_features: int, outputs: int) -> None:
        self.config = experiment.config
        self.network = MLP(
            in_features=state_features,
            out_features=outputs,
            num_cells=list(NUM_CELLS),
            activation_class=torch.nn.Tanh,
            device=self.config.train_device,
        )
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=self.config.lr, eps=self.config.adam_eps)

    @torch.no_grad()
    def __call__(self, state: Tensor) -> Tensor:
        """From ``[*B, S]`` to ``[*B, outputs]``."""
        return self.network(state)

    def fit(self, state: Tensor, target: Tensor, which: Tensor | None = None) -> float:
        """Learn from a batch.

        Args:
            state (Tensor): ``[F, S]``.
            target (Tensor): ``[F, K]``.
            which (Tensor, optional): integers ``[F, K]``: which output each target is of. Default: in order.

        Returns:
            float: the last loss, a mean square.
        """
        loss = target.new_zeros(())
        for _ in range(self.config.n_optimizer_steps(True)):
            for index in torch.randperm(len(state), device=state.device).split(self.config.train_minibatch_size(True)):
                predicted = self.network(state[index])
                if which is not None:
                    predicted = predicted.gather(-1, which[index])
                loss = (predicted - target[index]).square().mean()
                self.optimizer.zero_grad()
                loss.backward()
                if self.config.clip_grad_norm and self.config.clip_grad_val is not None:
                    torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_grad_val)
                self.optimizer.step()
        return loss.item()

    def state_dict(self) -> dict[str, Any]:
        """Parameters and optimiser, as tensors, dicts and plain numbers."""
        return {"network": dict(self.network.state_dict()), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up the state that :meth:`state_dict` gave."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])


class ActionValues(Critic):
    """What each agent expects of each of its actions, learned from what all do (SARSA, with a lagging target network).

    Args:
        experiment (Experiment): as for :class:`Critic`.
        state_features (int): width of the joint state.
        n_agents (int): number of agents ``N``.
        n_actions (int): the most actions that one has, ``A``.
    """

    def __init__(self, experiment: Experiment, state_features: int, n_agents: int, n_actions: int) -> None:
        super().__init__(experiment, state_features, n_agents * n_actions)
        self.shape = (n_agents, n_actions)
        self.lagged = deepcopy(self.network).requires_grad_(False)

    def of(self, state: Tensor) -> Tensor:
        """From ``[*B, S]`` to ``[*B, N, A]``."""
        return self(state).unflatten(-1, self.shape)

    def learn(self, joint: TensorDictBase) -> float:
        """Learn from a joint batch ``[*B, T]``, without the steps whose next action is not in it.

        Returns:
            float: the last loss, a mean square.
        """
        after = joint.get("next")
        action = joint.get("action").argmax(-1)
        state = joint.get("state")
        done, terminated = after.get("done").squeeze(-1), after.get("terminated").squeeze(-1)
        with torch.no_grad():
            expected = self.lagged(after.get("state")).unflatten(-1, self.shape)
        following = expected[..., :-1, :, :].gather(-1, action[..., 1:, :].unsqueeze(-1)).squeeze(-1)
        following = torch.cat([following, torch.zeros_like(following[..., :1, :])], dim=-2)
        target = after.get("reward") + self.config.gamma * following * (~terminated).unsqueeze(-1)
        # The action after the last step, and after an episode that was cut short, is not known.
        known = ~done | terminated
        known[..., -1] = terminated[..., -1]
        which = action + self.shape[1] * torch.arange(self.shape[0], device=action.device)
        loss = self.fit(state[known], target[known], which[known]) if known.any() else 0.0
        for slow, fast in zip(self.lagged.parameters(), self.network.parameters()):
            slow.data.lerp_(fast.data, 1 - KEPT)
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "lagged": dict(self.lagged.state_dict())}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.lagged.load_state_dict(state["lagged"])
