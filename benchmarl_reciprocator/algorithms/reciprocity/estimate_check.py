"""How well the estimated influence agrees with the exact one over training, where a game's model is known."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDict, TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.algorithms.co_players.callback import co_players_of
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import EpisodeClock
from benchmarl_reciprocator.influence import (
    InfluenceLoss,
    agreement,
    exact_influence,
    unilateral_deviations,
    value_influence,
)
from benchmarl_reciprocator.tasks.groups import joint_entry

if TYPE_CHECKING:
    from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
    from benchmarl_reciprocator.tasks.known_model import KnownModel

MEASURES = ("correlation", "bias", "slope", "rmse", "signal_to_noise")


class Play(NamedTuple):
    """What is to be expected of a batch.

    Args:
        trajectories (int): how many there are.
        counts (Tensor): how often each joint action is played in each situation, ``[S, A^N]``.
    """

    trajectories: int
    counts: Tensor


class EstimateCheck(Callback):
    """Holds the estimator's influence on the batch just collected against the exact one, which is computed from the
    game's known model and the current policies, and logs how they agree, see :func:`benchmarl_reciprocator.agreement`:
    ``reciprocity/agreement/<part>_<policies>/<measure>``.

    - part: ``immediate`` (influence on the reward), ``future`` (on the discounted future, by dynamic programming over
      all situations) or ``total`` (their sum). The latter two with ``algorithm.future_influence=true``, where policies
      see the situation alone (``algorithm.observe_balance=false``) and the game has a table of situations.
    - policies: what the exact baseline averages over. ``current``: the policy that the agent acts by. ``replayed``: all
      that it did in this situation in what the estimator was fitted on (all that any agent did in this place, where
      they share parameters: ``current`` is not what is estimated then).

    Baselines lag behind by design, and know nothing of a balance that policies see. What is left against ``replayed``
    is error of the fit; the part ``lag`` holds the exact immediate influence by ``replayed`` against that by
    ``current``: what a perfect fit would reach. Trajectories with co-players are left out.

    Args:
        every (int): compare once in so many iterations.

    Attributes:
        rows (list of dict): what was found, a row for each comparison.
        replayed (Tensor, optional): how often each joint action is to be expected in each situation in what the
            estimator was last fitted on, ``[S, A^N]``.
    """

    # BenchMARL sets the one, and Reciprocity the other, before anything is compared.
    experiment: Any
    reciprocity: Reciprocity

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        self.every = every
        self.rows: list[dict[str, Any]] = []
        self._clock = EpisodeClock()
        self._fits = 0
        self._held = 0
        self._plays: deque[Play] = deque()
        self.replayed: Tensor | None = None

    def on_setup(self) -> None:
        experiment = self.experiment
        # After the estimator has been fitted on the batch, as when it gives the reciprocal reward.
        experiment.callbacks = [*(callback for callback in experiment.callbacks if callback is not self), self]
        self.truth = known_model_of(experiment.task)
        self.gamma = experiment.config.gamma * self.truth.continuation_probability
        keys = {(group, "observation") for group in experiment.group_map}
        # Where policies see more than the situation (their balance, or what a recurrent one remembers), no table says
        # what they do, and values are not of situations.
        read = {key for policy in experiment.group_policies.values() for key in policy.in_keys}
        self.observations = self.truth.observations() if self.truth.has_tables and read <= keys else None

    @torch.no_grad()
    def on_batch_collected(self, batch: TensorDictBase) -> None:
        step = self._clock(batch.get(("next", "done")).squeeze(-1))
        co_players = co_players_of(self.experiment)
        undisturbed = co_players.undisturbed(batch) if co_players is not None else None
        if undisturbed is not None:
            batch, step = batch[undisturbed], step[undisturbed]
        situation, action = self.truth.situation(batch.get("state")), joint_entry(batch, "action")
        logits = [batch.get((group, "logits")) for group in self.experiment.group_map]
        policy = torch.cat(logits, dim=-2).softmax(-1)
        learner = self.reciprocity.learner
        if self.truth.has_tables:
            self._follow_buffer(Play(len(batch), self._expected_play(situation, policy)))
            if learner.fits > self._fits:
                # Between fits, baselines know nothing of newer batches.
                self._fits = learner.fits
                self.replayed = torch.stack([play.counts for play in self._plays]).sum(0)
        if self.experiment.n_iters_performed % self.every == 0 and len(batch):
            estimates = influence_parts(learner.loss, self.reciprocity.view.inputs(batch, step))
            self._compare(estimates, situation, action, policy)

    def policies_in_all_situations(self) -> Tensor:
        """Probabilities of all agents' actions in every situation, ``[S, N, A]``."""
        assert self.observations is not None
        probabilities, members = [], self.reciprocity.view.members
        for group, policy in self.experiment.group_policies.items():
            seen = self.observations[:, members[group]]
            data = TensorDict({group: TensorDict({"observation": seen}, seen.shape[:2])}, seen.shape[:1])
            probabilities.append(policy(data).get((group, "logits")).softmax(-1))
        return torch.cat(probabilities, dim=-2)

    def _follow_buffer(self, play: Play) -> None:
        """Keep the play that the estimator's buffer is a sample of, with that of the batch that it has just got."""
        learner = self.reciprocity.learner
        held = len(learner.buffer) if learner.buffer is not None else 0
        if held < self._held:
            # It was emptied before it got the batch.
            self._plays.clear()
        self._held = held
        if learner.schedule.buffer_reservoir and self._plays:
            # Of all that was collected, in equal parts
            earlier = self._plays.pop()
            play = Play(earlier.trajectories + play.trajectories, earlier.counts + play.counts)
        self._plays.append(play)
        while len(self._plays) > 1 and sum(play.trajectories for play in self._plays) > held:
            self._plays.popleft()

    def _compare(self, estimates: list[Tensor], situation: Tensor, action: Tensor, policy: Tensor) -> None:
        otherwise = unilateral_deviations(action, self.truth.n_actions)
        here = situation[..., None, None, :]
        rewards = self.truth.rewards(here, otherwise)
        immediate = exact_influence(rewards, policy, action)
        self._add("immediate", "current", estimates[0], immediate)
        if self.replayed is not None:
            lagging = exact_influence(rewards, self._replayed_policy(here, otherwise, policy), action)
            self._add("immediate", "replayed", estimates[0], lagging)
            self._add("lag", "current", lagging, immediate)
        if len(estimates) > 1 and self.observations is not None:
            values = self.truth.values(self.policies_in_all_situations(), self.gamma)
            following = self.truth.future(values, here, otherwise, self.gamma)
            future = exact_influence(following, policy.double(), action)
            self._add("future", "current", estimates[1], future)
            self._add("total", "current", estimates[0] + estimates[1], immediate + future)

    def _replayed_policy(self, here: Tensor, otherwise: Tensor, policy: Tensor) -> Tensor:
        """How often each alternative was played in this situation, beside these actions of the others."""
        assert self.replayed is not None
        turns = range(self.truth.n_agents if self.reciprocity.shared.estimator_share_params else 1)
        counts = [
            self.replayed[self.truth.number(self.truth.turned(here, by)), self._joint_number(otherwise.roll(-by, -1))]
            for by in turns
        ]
        played = torch.stack(counts).sum(0)
        total = played.sum(-1, keepdim=True)
        return torch.where(total > 0, played / total, policy)

    def _expected_play(self, situation: Tensor, policy: Tensor) -> Tensor:
        joint = torch.cartesian_prod(*[torch.arange(self.truth.n_actions)] * self.truth.n_agents)
        chance = policy[..., torch.arange(self.truth.n_agents), joint].prod(-1).flatten(0, -2)
        play = torch.zeros(self.truth.n_situations, len(joint))
        return play.index_add(0, self.truth.number(situation).flatten(), chance)

    def _joint_number(self, action: Tensor) -> Tensor:
        place = self.truth.n_actions ** torch.arange(self.truth.n_agents - 1, -1, -1)
        return (action * place).sum(-1)

    def _add(self, part: str, policies: str, estimate: Tensor, truth: Tensor) -> None:
        found = agreement(estimate, truth)
        iteration = self.experiment.n_iters_performed
        self.rows.append({"iteration": iteration + 1, "part": part, "policies": policies, **found})
        name = f"reciprocity/agreement/{part}_{policies}"
        self.experiment.logger.log({f"{name}/{key}": value for key, value in found.items()}, step=iteration)


def known_model_of(task: Any) -> KnownModel:
    """The known model of a task.

    Raises:
        ValueError: if it has none.
    """
    make = getattr(getattr(task, "options", None), "known_model", None)
    if make is None:
        raise ValueError(f"task must be one whose model is known (Coins, a matrix game), but is {task.name.lower()!r}")
    return make()


@torch.no_grad()
def influence_parts(loss: InfluenceLoss, joint: TensorDictBase) -> list[Tensor]:
    """Estimated influence on the reward and, where it is predicted, on the future: ``[*B, N, N]`` each."""
    with loss.lagged() as estimator:
        full, left_out = estimator.full_and_left_out(joint)
    return [value_influence(*part) for part in zip(full.unbind(-1), left_out.unbind(-1))]
