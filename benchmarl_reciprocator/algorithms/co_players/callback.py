"""Co-players in an experiment of BenchMARL, whatever its algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from benchmarl.experiment.callback import Callback
from tensordict import TensorDictBase
from torch import Tensor

from benchmarl_reciprocator.agents.setup import algorithms_by_group
from benchmarl_reciprocator.agents.trained import Team
from benchmarl_reciprocator.algorithms.co_players.masked_loss import leave_out
from benchmarl_reciprocator.algorithms.co_players.options import CoPlayerOptions
from benchmarl_reciprocator.algorithms.co_players.pool import CoPlayerPool
from benchmarl_reciprocator.algorithms.co_players.seats import (
    ENTRY_KEY,
    REPLACED_KEY,
    CoPlayerSeats,
    EnvWithCoPlayers,
)
from benchmarl_reciprocator.tasks.groups import joint_entry, seats
from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

if TYPE_CHECKING:
    from benchmarl.experiment import Experiment

STATE_KEY = "co_players"
SELF_PLAY = "self_play"


class CoPlayers(Callback):
    """Lets co-players take learners' seats in a share of the environments that an experiment collects from.

    What a co-player does is what is executed: the others, their critics, the value-influence estimator and the observed
    balance see it. The samples of the learner whose seat it has are left out of that learner's losses. Evaluation has
    no co-players.

    Logged under ``co_players/``: the mean return of finished episodes, apart for self-play and for every entry of the
    pool, there of the learners and of the co-player; and the share of the samples that were left out.

    Args:
        options (CoPlayerOptions): which, and how often.
    """

    # BenchMARL sets it before anything is called.
    experiment: Any
    team: Team

    def __init__(self, options: CoPlayerOptions) -> None:
        super().__init__()
        self.options = options

    def settle(self) -> None:
        """Take part in an experiment whose environments and losses are made, and whose collector is not.

        Raises:
            ValueError: if the task, the algorithm or the pool do not allow for it, naming the key.
        """
        experiment, options = self.experiment, self.options
        self._refuse_what_cannot_be(experiment)
        open_seats = self.open_seats()
        if not open_seats:
            names = algorithms_by_group(experiment.algorithm_config, experiment.group_map).values()
            raise ValueError(
                f"co_players.share must be 0 where no seat has a learner beside another one, but is {options.share}: "
                f"algorithms are {', '.join(names)}"
            )
        self.pool = CoPlayerPool(options.entries(), experiment, open_seats)
        self.seats = CoPlayerSeats(self.pool, experiment.group_map, open_seats, options.share, experiment.seed)
        env_fun = experiment.env_func
        experiment.env_func = lambda: EnvWithCoPlayers(env_fun(), self.seats)
        members = seats(experiment.group_map)
        for group in experiment.train_group_map:
            if any(members[group].start <= seat < members[group].stop for seat in open_seats):
                leave_out(experiment.losses[group], (group, REPLACED_KEY))

    def on_setup(self) -> None:
        if self.pool.past:
            self.team = Team(self.experiment)

    def open_seats(self) -> list[int]:
        """The seats that a co-player may take: a learner's, with another learner left who is to meet co-players."""
        experiment, learners = self.experiment, self.options.learners
        names = algorithms_by_group(experiment.algorithm_config, experiment.group_map)
        members = seats(experiment.group_map)
        trained = {
            seat: learners is None or names[group] in learners
            for group in experiment.train_group_map
            for seat in range(members[group].start, members[group].stop)
        }
        return [seat for seat in trained if any(meets for other, meets in trained.items() if other != seat)]

    def undisturbed(self, batch: TensorDictBase) -> Tensor | None:
        """Which trajectories of a batch ``[*B, T]`` the estimator may be fitted on: boolean ``[*B]``; ``None``: all."""
        if self.options.fit_estimator:
            return None
        return (batch.get(ENTRY_KEY).squeeze(-1) < 0).all(-1)

    def on_batch_collected(self, batch: TensorDictBase) -> None:
        experiment = self.experiment
        replaced = torch.cat([batch.get((group, REPLACED_KEY)).squeeze(-1) for group in experiment.group_map], -1)
        metrics = returns_by_entry(
            joint_entry(batch, "next", "episode_reward"),
            batch.get(("next", "done")).squeeze(-1),
            batch.get(ENTRY_KEY).squeeze(-1),
            replaced,
            [entry.name for entry in self.pool.entries],
        )
        metrics["left_out"] = replaced.float().mean().item()
        experiment.logger.log(
            {f"co_players/{key}": value for key, value in metrics.items()}, step=experiment.n_iters_performed
        )
        for snapshots in self.pool.past.values():
            if snapshots.due(experiment.n_iters_performed):
                # Anew: where it plays elsewhere than it is trained, a team is a copy.
                snapshots.take(Team(experiment))

    def on_state_dict(self, state_dict: dict[str, Any]) -> None:
        state_dict[STATE_KEY] = {
            "generator": self.seats.generator.get_state(),
            "past": {index: snapshots.state_dict() for index, snapshots in self.pool.past.items()},
        }

    def on_load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = state_dict.get(STATE_KEY)
        if state is None:
            raise ValueError(
                "experiment.restore_file must be a checkpoint of a run with co_players, but is one of a run without"
            )
        self.seats.generator.set_state(state["generator"].cpu())
        for index, snapshots in self.pool.past.items():
            snapshots.load_state_dict(state["past"][index], self.team)

    def _refuse_what_cannot_be(self, experiment: Experiment) -> None:
        share = self.options.share
        if not isinstance(experiment.task, SocialDilemmaClass):
            raise ValueError(
                f"co_players.share must be 0 but for social dilemmas, whose players can be seated, but is {share} with "
                f"task={experiment.environment_name}/{experiment.task_name}"
            )
        if not experiment.on_policy:
            raise ValueError(
                f"co_players.share must be 0 for off-policy algorithms, whose losses cannot leave samples out, but is "
                f"{share} with algorithm={experiment.algorithm_name}"
            )
        environments = experiment.config.n_envs_per_worker(True)
        if share * environments < 1:
            raise ValueError(
                f"co_players.share must be at least 1 / {environments} (experiment.on_policy_n_envs_per_worker), or "
                f"no environment gets a co-player, but is {share} (0: none)"
            )


def co_players_of(experiment: Experiment) -> CoPlayers | None:
    """The co-players of an experiment, ``None`` without any."""
    return next((callback for callback in experiment.callbacks if isinstance(callback, CoPlayers)), None)


def returns_by_entry(
    returns: Tensor, done: Tensor, entry: Tensor, replaced: Tensor, names: list[str]
) -> dict[str, float]:
    """Mean returns of the episodes that end in a batch, by whom they were played with.

    Args:
        returns (Tensor): so far in the episode, ``[*B, T, N]``.
        done (Tensor): boolean ``[*B, T]``.
        entry (Tensor): integers ``[*B, T]``, which co-player is there, -1 without one.
        replaced (Tensor): boolean ``[*B, T, N]``, in whose seat it is.
        names (list of str): of the entries.

    Returns:
        dict[str, float]: ``"self_play/return"`` over all agents, and for every entry ``"<name>/learners_return"`` and
        ``"<name>/co_player_return"``, as far as there are such episodes.
    """
    metrics = {}
    returns, entry, replaced = returns[done], entry[done], replaced[done]
    alone = entry < 0
    if alone.any():
        metrics[f"{SELF_PLAY}/return"] = returns[alone].mean().item()
    for index, name in enumerate(names):
        met = entry == index
        if met.any():
            metrics[f"{name}/co_player_return"] = returns[met][replaced[met]].mean().item()
            metrics[f"{name}/learners_return"] = returns[met][~replaced[met]].mean().item()
    return metrics
