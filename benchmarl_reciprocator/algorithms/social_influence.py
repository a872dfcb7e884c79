"""Social influence: independent PPO with a reward for changing what others do next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from benchmarl.algorithms.common import Algorithm
from benchmarl.algorithms.ippo import IppoConfig
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.intrinsic.next_actions import NextActions, social_influence
from benchmarl_reciprocator.algorithms.intrinsic.own_reward import OwnReward
from benchmarl_reciprocator.algorithms.reciprocity.config import changed, integer, number
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import EpisodeClock
from benchmarl_reciprocator.algorithms.reciprocity.setup import make_view
from benchmarl_reciprocator.algorithms.yaml import ConfigFromYaml


@dataclass
class InfluenceOptions:
    """The reward for influence, and the model that tells it.

    Args:
        social_influence_weight (float): of the influence, in units of reward per nat; 0: IPPO.
        social_influence_delay (int): frames before it is rewarded, in which the model is fitted.
        social_influence_frames (int): frames over which the weight then grows linearly; 0: at once.
        social_influence_clip (float): the influence of a step is at most this.
        social_influence_num_cells (int): width of the model's two hidden layers.
        social_influence_lr (float): its learning rate.
        social_influence_epochs (int): passes over each batch.
        social_influence_minibatch_size (int): frames in one gradient step.
    """

    social_influence_weight: float = field(metadata=number(least=0))
    social_influence_delay: int = field(metadata=integer(0))
    social_influence_frames: int = field(metadata=integer(0))
    social_influence_clip: float = field(metadata=number(above=0))
    social_influence_num_cells: int = field(metadata=integer(1))
    social_influence_lr: float = field(metadata=number(above=0))
    social_influence_epochs: int = field(metadata=integer(1))
    social_influence_minibatch_size: int = field(metadata=integer(1))


class SocialInfluence(OwnReward):
    """Social influence (Jaques et al. 2019, arXiv 1810.08647) on :class:`~benchmarl.algorithms.Ippo`, the variant with
    one central model: it sees the joint state where the paper's agents model others from their own view, and all others
    count, whether in view or not.

    The options are those of :class:`InfluenceOptions` and of :class:`~benchmarl.algorithms.Ippo`.
    """

    options_class: ClassVar[type] = InfluenceOptions

    def set_up(self) -> None:
        experiment, options = self.experiment, self.options
        self._clock = EpisodeClock()
        self._view = make_view(experiment)
        counts = [self._view.action_specs[group].space.n for group, agents in self.group_map.items() for _ in agents]
        self.model = NextActions(
            self._view.state_features, counts, options.social_influence_num_cells, device=self.device
        )
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=options.social_influence_lr)

    def weight(self, frames: int) -> float:
        """Weight of the influence after ``frames`` collected frames."""
        since = frames - self.options.social_influence_delay
        if since < 0:
            return 0.0
        return changed(0.0, self.options.social_influence_weight, since, self.options.social_influence_frames)

    def own_reward(self, batch: TensorDictBase, reward: Tensor, done: Tensor) -> Tensor:
        if self.options.social_influence_weight == 0:
            return reward
        joint = self._view.inputs(batch, self._clock(done)).to(self.device)
        state, action = joint.get("state").flatten(0, -2), joint.get("action")
        policy = self._policies(batch).to(self.device).flatten(0, -3)
        with torch.no_grad():
            following = self.model.following(state, action.flatten(0, -3))
            influence = social_influence(
                following, action.argmax(-1).flatten(0, -2), policy, self.options.social_influence_clip
            )
        # What follows the end of an episode is not what anybody did next.
        influence = influence.view_as(reward).to(reward.device) * (~done).unsqueeze(-1)
        loss = self._fit(state.view(*done.shape, -1), action, done.to(self.device))
        frames = self.experiment.total_frames - batch.numel()
        self.experiment.logger.log(
            {"social_influence/influence": influence.mean().item(), "social_influence/model_loss": loss},
            step=self.experiment.n_iters_performed,
        )
        return reward + self.weight(frames) * influence

    def learned(self) -> dict[str, Any]:
        return {"model": dict(self.model.state_dict()), "optimizer": self._optimizer.state_dict()}

    def take_up(self, learned: dict[str, Any]) -> None:
        self.model.load_state_dict(learned["model"])
        self._optimizer.load_state_dict(learned["optimizer"])

    def _policies(self, batch: TensorDictBase) -> Tensor:
        """The policies that agents acted by, ``[*B, T, N, A]``; even ones of agents that do not tell theirs."""
        policies = []
        most = self._view.action_features
        for group, agents in self.group_map.items():
            logits = batch.get((group, "logits"), None)
            if logits is None:
                # Their influence is rewarded to nobody.
                shape = (*batch.shape, len(agents), most)
                policies.append(torch.full(shape, 1 / most, device=batch.device))
                continue
            mask = batch.get((group, "action_mask"), None)
            if mask is not None:
                logits = logits.masked_fill(~mask, -torch.inf)
            policies.append(torch.nn.functional.pad(logits.softmax(-1), (0, most - logits.shape[-1])))
        return torch.cat(policies, dim=-2)

    def _fit(self, state: Tensor, action: Tensor, done: Tensor) -> float:
        """Learn from the steps whose next action is known. Returns the last loss."""
        known = ~done[..., :-1]
        seen, acted = state[..., :-1, :][known], action[..., :-1, :, :][known]
        after = action[..., 1:, :, :][known].argmax(-1)
        loss = state.new_zeros(())
        if not len(seen):
            return 0.0
        for _ in range(self.options.social_influence_epochs):
            for index in torch.randperm(len(seen), device=seen.device).split(
                self.options.social_influence_minibatch_size
            ):
                loss = self.model.loss(seen[index], acted[index], after[index])
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
        return loss.item()


@dataclass
class SocialInfluenceConfig(ConfigFromYaml, InfluenceOptions, IppoConfig):  # type: ignore[misc]  # MISSING is no default
    """Configuration dataclass for :class:`SocialInfluence`."""

    @staticmethod
    def associated_class() -> type[Algorithm]:
        return SocialInfluence

    @staticmethod
    def supports_continuous_actions() -> bool:
        # What an agent could have done else is summed over.
        return False
