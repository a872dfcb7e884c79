"""How well the estimated value influence agrees with the exact one, over training.

    python examples/influence_study.py --results influence_study --seeds 2 --iterations 40
    python examples/influence_study.py --results influence_study --preset prisoners_dilemma
    python examples/influence_study.py --results influence_study algorithm.observe_balance=false

Coins (by default) or an iterated matrix game is trained as ever; beside it, the influence on every collected batch is
computed exactly from the known rewards and transitions and the current policies. Every command adds to
``agreement.csv``, ``table.md``, ``agreement.png`` and ``setting.json`` in the folder; a run that is repeated replaces
what was there. Columns:

- ``part``: ``immediate`` (influence on the reward), ``future`` (on the discounted future, by dynamic programming over
  all boards) or ``total`` (their sum); the latter two with ``algorithm.future_influence=true``, where policies see the
  board alone (``algorithm.observe_balance=false``) and, in Coins, two agents have a coin each.
- ``policies``: what the exact baseline averages over: ``current``, the policy that the agent acted by; or ``replayed``,
  all that it did on this board in the batches that the estimator was fitted on (all that any agent did in this place,
  with ``algorithm.estimator_share_params=true``, so that ``current`` is not what is estimated then).
- ``correlation``, ``bias``, ``slope``, ``rmse``, ``signal_to_noise``: see ``benchmarl_reciprocator.agreement``.

Baselines lag behind by design, and know nothing of a balance that policies see. What is left against ``replayed`` is
error of the fit; the part ``lag`` holds the exact immediate influence by ``replayed`` against that by ``current``: what
a perfect fit would reach.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import warnings
from collections import deque
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import pandas as pd
import torch
from benchmarl.experiment.callback import Callback
from matplotlib import pyplot as plt
from tensordict import TensorDict, TensorDictBase
from torch import Tensor
from torch.nn.functional import pad

from benchmarl_reciprocator import (
    agreement,
    exact_influence,
    load_experiment,
    unilateral_deviations,
    value_influence,
)
from benchmarl_reciprocator.algorithms.reciprocity.callback import Reciprocity
from benchmarl_reciprocator.algorithms.reciprocity.joint_batch import EpisodeClock
from benchmarl_reciprocator.evaluation.figures import COLOURS
from benchmarl_reciprocator.evaluation.provenance import add_setting
from benchmarl_reciprocator.influence import InfluenceLoss
from benchmarl_reciprocator.tasks.coins import coins
from benchmarl_reciprocator.tasks.coins import model as coin_model
from benchmarl_reciprocator.tasks.groups import joint_entry
from benchmarl_reciprocator.tasks.matrix import matrix_game
from benchmarl_reciprocator.tasks.matrix import model as matrix_model

MEASURES = ("correlation", "bias", "slope", "rmse", "signal_to_noise")
RUN = ["config", "seed"]
KIND = ["part", "policies"]


class CoinsTruth:
    """The known model of a Coins task; a situation is a board ``[*B, 2 N]``, cells of agents and then of coins."""

    def __init__(self, options: coins.TaskConfig) -> None:
        self.options, self.rules = options, options.rules()
        self.n_agents, self.n_actions = options.n_agents, self.rules.n_actions
        self.penalty = -self.n_agents / (self.n_agents - 1) if options.penalty is None else options.penalty
        self.n_situations = self.rules.grid_size**8
        # Tables of more boards than these would not be filled in seconds.
        self.has_tables = self.n_agents == 2 and self.rules.coins == "per_agent" and self.rules.grid_size <= 3

    def situation(self, state: Tensor) -> Tensor:
        board = coin_model.decode_boards(
            state,
            self.n_agents,
            self.rules.grid_size,
            view=self.options.view,
            image=self.options.observation == "image",
        )
        return torch.cat(board, dim=-1)

    def rewards(self, situation: Tensor, action: Tensor) -> Tensor:
        return coin_model.coin_rewards(*self._board(situation), action, self.rules, self.penalty)

    def number(self, situation: Tensor) -> Tensor:
        return coin_model.board_index(*self._board(situation), self.rules.grid_size)

    def turned(self, situation: Tensor, by: int) -> Tensor:
        """The board with everyone so many seats further."""
        return torch.cat([part.roll(-by, -1) for part in self._board(situation)], dim=-1)

    def observations(self) -> Tensor:
        boards = coin_model.all_boards(self.rules.grid_size)
        env = self.options.make_env(num_envs=len(boards[0]), device="cpu", seed=0)
        coin_model.place_boards(env, *boards)
        return env.observations()

    def values(self, policy: Tensor, gamma: float) -> Tensor:
        return coin_model.coin_values(policy, self.rules, self.penalty, gamma)

    def future(self, values: Tensor, situation: Tensor, action: Tensor, gamma: float) -> Tensor:
        return coin_model.coin_future(values, *self._board(situation), action, self.rules, gamma)

    def _board(self, situation: Tensor) -> tuple[Tensor, Tensor]:
        return situation[..., : self.n_agents], situation[..., self.n_agents :]


class MatrixTruth:
    """The known model of a matrix game; a situation is the number of the last joint action, ``[*B, 1]``."""

    has_tables = True

    def __init__(self, options: matrix_game.MatrixGameOptions) -> None:
        self.options, self.payoffs = options, options.payoff_table()
        self.sizes = tuple(self.payoffs.shape[:-1])
        self.n_agents, self.n_actions = len(self.sizes), self.sizes[0]
        self.n_situations = len(self.payoffs.flatten(0, -2)) + 1
        if len(set(self.sizes)) > 1:
            raise ValueError(f"all agents must have as many actions for this study, but have {self.sizes}")

    def situation(self, state: Tensor) -> Tensor:
        joint = self.options.observation == "joint"
        return matrix_model.decode_outcomes(state, self.sizes, joint=joint).unsqueeze(-1)

    def rewards(self, situation: Tensor, action: Tensor) -> Tensor:
        return matrix_model.matrix_outcome(self.payoffs, action, self.options.action_noise)

    def number(self, situation: Tensor) -> Tensor:
        return situation.squeeze(-1)

    def turned(self, situation: Tensor, by: int) -> Tensor:
        """The last joint action with everyone so many seats further."""
        played = situation.clamp(max=self.n_situations - 2).squeeze(-1)
        action = torch.stack(torch.unravel_index(played, self.sizes), dim=-1).roll(-by, -1)
        first = situation == self.n_situations - 1
        return torch.where(first, situation, matrix_model.joint_number(action, self.sizes).unsqueeze(-1))

    def observations(self) -> Tensor:
        joint = torch.cartesian_prod(*map(torch.arange, self.sizes))
        env = self.options.make_env(num_envs=len(joint) + 1, device="cpu", seed=0)
        env.start(torch.ones(len(joint) + 1, dtype=torch.bool))
        env.action_noise = 0.0
        env.transition(pad(joint, (0, 0, 0, 1)))
        env.start(torch.arange(len(joint) + 1) == len(joint))
        return env.observations()

    def values(self, policy: Tensor, gamma: float) -> Tensor:
        return matrix_model.matrix_values(policy, self.payoffs, gamma, self.options.action_noise)

    def future(self, values: Tensor, situation: Tensor, action: Tensor, gamma: float) -> Tensor:
        table = values[:-1].reshape(self.payoffs.shape)
        return gamma * matrix_model.matrix_outcome(table, action, self.options.action_noise)


def truth_of(task) -> CoinsTruth | MatrixTruth:
    """The known model of one of this package's tasks."""
    options = task.options
    if isinstance(options, coins.TaskConfig):
        return CoinsTruth(options)
    if isinstance(options, matrix_game.MatrixGameOptions):
        return MatrixTruth(options)
    raise ValueError(f"task must be coins or a matrix game, whose models are known, but is {task.name!r}")


@torch.no_grad()
def influence_parts(loss: InfluenceLoss, joint: TensorDictBase) -> list[Tensor]:
    """Estimated influence on the reward and, where it is predicted, on the future: ``[*B, N, N]`` each."""
    with loss.lagged() as estimator:
        full, left_out = estimator.full_and_left_out(joint)
    return [value_influence(*part) for part in zip(full.unbind(-1), left_out.unbind(-1))]


class InfluenceStudy(Callback):
    """Holds the estimator's influence on the batch just collected against the exact one.

    Args:
        every (int): compare once in so many iterations.
    """

    def __init__(self, every: int) -> None:
        super().__init__()
        self.every = every
        self.rows: list[dict] = []
        self._clock = EpisodeClock()
        self._fits = 0

    def on_setup(self) -> None:
        experiment = self.experiment
        # After the estimator has been fitted on the batch, as when it gives the reciprocal reward.
        experiment.callbacks = [*(callback for callback in experiment.callbacks if callback is not self), self]
        self.reciprocity = next(callback for callback in experiment.callbacks if isinstance(callback, Reciprocity))
        self.truth = truth_of(experiment.task)
        self.gamma = experiment.config.gamma * self.truth.options.continuation_probability
        keys = {(group, "observation") for group in experiment.group_map}
        # Where policies see more than the board (their balance, or what a recurrent one remembers), no table of boards
        # says what they do, and values are not of boards.
        read = {key for policy in experiment.group_policies.values() for key in policy.in_keys}
        self.observations = self.truth.observations() if self.truth.has_tables and read <= keys else None
        self._collected: deque[Tensor] = deque()
        self._replayed: Tensor | None = None

    @torch.no_grad()
    def on_batch_collected(self, batch: TensorDictBase) -> None:
        done = batch.get(("next", "done")).squeeze(-1)
        step = self._clock(done)
        situation, action = self.truth.situation(batch.get("state")), joint_entry(batch, "action")
        logits = [batch.get((group, "logits")) for group in self.experiment.group_map]
        policy = torch.cat(logits, dim=-2).softmax(-1)
        learner = self.reciprocity.learner
        if self.truth.has_tables:
            self._collected.append(self._expected_play(situation, policy))
            # As many batches as the estimator's buffer holds, which may have been emptied.
            while len(self._collected) > len(learner.buffer) // done[..., 0].numel():
                self._collected.popleft()
            if learner.fits > self._fits:
                # Between fits, baselines know nothing of newer batches.
                self._fits, self._replayed = learner.fits, sum(self._collected)
        if self.experiment.n_iters_performed % self.every == 0:
            estimates = influence_parts(learner.loss, self.reciprocity.view.inputs(batch, step))
            self._compare(estimates, situation, action, policy)

    def _compare(self, estimates: list[Tensor], situation: Tensor, action: Tensor, policy: Tensor) -> None:
        otherwise = unilateral_deviations(action, self.truth.n_actions)
        here = situation[..., None, None, :]
        rewards = self.truth.rewards(here, otherwise)
        immediate = exact_influence(rewards, policy, action)
        self._add("immediate", "current", estimates[0], immediate)
        if self._replayed is not None:
            # How often each alternative was played on this board, beside these actions of the others.
            shared = self.reciprocity.shared.estimator_share_params
            played = sum(
                self._replayed[
                    self.truth.number(self.truth.turned(here, by)), self._joint_number(otherwise.roll(-by, -1))
                ]
                for by in range(self.truth.n_agents if shared else 1)
            )
            total = played.sum(-1, keepdim=True)
            replayed = torch.where(total > 0, played / total, policy)
            lagging = exact_influence(rewards, replayed, action)
            self._add("immediate", "replayed", estimates[0], lagging)
            self._add("lag", "current", lagging, immediate)
        if len(estimates) > 1 and self.observations is not None:
            values = self.truth.values(self._policies_on_all_boards(), self.gamma)
            following = self.truth.future(values, here, otherwise, self.gamma)
            future = exact_influence(following, policy.double(), action)
            self._add("future", "current", estimates[1], future)
            self._add("total", "current", estimates[0] + estimates[1], immediate + future)

    def _expected_play(self, situation: Tensor, policy: Tensor) -> Tensor:
        """How often each joint action is to be expected on each board in a batch, ``[S, A^N]``."""
        joint = torch.cartesian_prod(*[torch.arange(self.truth.n_actions)] * self.truth.n_agents)
        chance = policy[..., torch.arange(self.truth.n_agents), joint].prod(-1).flatten(0, -2)
        play = torch.zeros(self.truth.n_situations, len(joint))
        return play.index_add(0, self.truth.number(situation).flatten(), chance)

    def _joint_number(self, action: Tensor) -> Tensor:
        return matrix_model.joint_number(action, (self.truth.n_actions,) * self.truth.n_agents)

    def _add(self, part: str, policies: str, estimate: Tensor, truth: Tensor) -> None:
        row = {"iteration": self.experiment.n_iters_performed + 1, "part": part, "policies": policies}
        self.rows.append({**row, **agreement(estimate, truth)})

    def _policies_on_all_boards(self) -> Tensor:
        """Probabilities of all agents' actions in every situation, ``[S, N, A]``."""
        probabilities, members = [], self.reciprocity.view.members
        for group, policy in self.experiment.group_policies.items():
            seen = self.observations[:, members[group]]
            data = TensorDict({group: TensorDict({"observation": seen}, seen.shape[:2])}, seen.shape[:1])
            probabilities.append(policy(data).get((group, "logits")).softmax(-1))
        return torch.cat(probabilities, dim=-2)


def run(preset: str, seed: int, iterations: int, every: int, overrides: list[str]) -> pd.DataFrame:
    """Train once; returns a row for each comparison."""
    study = InfluenceStudy(every)
    with tempfile.TemporaryDirectory() as folder:
        experiment = load_experiment(
            [
                "algorithm=reciprocator",
                f"+preset={preset}",
                f"seed={seed}",
                f"experiment.max_n_iters={iterations}",
                "experiment.evaluation=false",
                "experiment.create_json=false",
                "experiment.loggers=[]",
                f"experiment.save_folder={folder}",
                # What is compared is what the learners' policies would do.
                "co_players.share=0",
                *overrides,
            ],
            callbacks=[study],
        )
        experiment.run()
    return pd.DataFrame(study.rows).assign(seed=seed, config=" ".join([preset, *overrides]))


def table(rows: pd.DataFrame, last: int) -> str:
    """Markdown: medians over seeds and iterations from ``last`` on, and the lowest correlation among them.

    Medians, since ratios to an influence that has all but vanished (policies that always do the same) know no bounds.
    """
    late = rows[rows["iteration"] >= last].groupby(["config", *KIND], sort=False)
    medians = late[list(MEASURES)].median().assign(lowest=late["correlation"].min(), seeds=late["seed"].nunique())
    columns = ["correlation", "lowest", *MEASURES[1:], "seeds"]
    lines = [["config", *KIND, *columns], ["---"] * (3 + len(columns))]
    for names, row in medians[columns].iterrows():
        lines.append([*names, *(f"{value:.3f}" for value in row.iloc[:-1]), f"{row.iloc[-1]:.0f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(rows: pd.DataFrame, file: Path) -> None:
    """Correlation, bias and signal-to-noise over training: a row of panels for each part, a line for each config."""
    kinds = list(dict.fromkeys(rows[KIND].itertuples(index=False, name=None)))
    configs = list(dict.fromkeys(rows["config"]))
    shown = {"correlation": "correlation", "bias": "bias (reward)", "signal_to_noise": "signal-to-noise"}
    figure, axes = plt.subplots(
        len(kinds),
        len(shown),
        figsize=(3.4 * len(shown), 2.2 * len(kinds) + 0.2 * len(configs)),
        sharex=True,
        squeeze=False,
    )
    for panels, (part, policies) in zip(axes, kinds):
        chosen = rows[(rows["part"] == part) & (rows["policies"] == policies)]
        for axis, (measure, label) in zip(panels, shown.items()):
            for number, config in enumerate(configs):
                runs = chosen[chosen["config"] == config]
                style = {
                    "color": COLOURS[number % len(COLOURS)],
                    "linestyle": ("-", "--", ":", "-.")[number // len(COLOURS) % 4],
                }
                for _, one in runs.groupby("seed"):
                    axis.plot(one["iteration"], one[measure], linewidth=0.7, alpha=0.3, **style)
                mean = runs.groupby("iteration")[measure].mean()
                axis.plot(mean.index, mean, linewidth=1.8, label=config, **style)
            axis.set_title(f"{part}, {policies} policies", fontsize=8)
            axis.set_ylabel(label, fontsize=8)
            axis.tick_params(labelsize=7)
            axis.spines[["top", "right"]].set_visible(False)
        panels[0].set_ylim(min(0.0, chosen["correlation"].min()) - 0.03, 1.03)
        panels[0].axhline(0.95, color="0.7", linewidth=0.8, zorder=0)
        panels[1].axhline(0, color="0.7", linewidth=0.8, zorder=0)
        # Without lag, as in the warm-up, the ratio knows no bounds.
        panels[2].set_ylim(0, min(1.1 * chosen["signal_to_noise"].max(), 20))
    for axis in axes[-1]:
        axis.set_xlabel("iteration", fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", fontsize=7, frameon=False)
    figure.set_layout_engine("constrained")
    figure.savefig(file, dpi=150)
    plt.close(figure)


def main() -> None:
    """Run, and write and print what is in the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder for what comes out")
    parser.add_argument("--preset", default="coins", help="coins or a matrix game, see conf/preset")
    parser.add_argument("--seeds", type=int, default=2, help="number of runs")
    parser.add_argument("--iterations", type=int, default=60, help="iterations of each run")
    parser.add_argument("--every", type=int, default=2, help="compare once in so many iterations")
    parser.add_argument("--table-from", type=int, default=20, help="the table is of this iteration on")
    parser.add_argument("overrides", nargs="*", help="further BenchMARL overrides")
    arguments = parser.parse_args()
    for option in ("seeds", "iterations", "every"):
        if getattr(arguments, option) < 1:
            parser.error(f"--{option} must be an integer >= 1, but is {getattr(arguments, option)}")
    warnings.simplefilter("ignore")
    logging.getLogger("torchrl").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    arguments.results.mkdir(parents=True, exist_ok=True)
    file = arguments.results / "agreement.csv"
    rows = pd.read_csv(file) if file.is_file() else pd.DataFrame(columns=RUN)
    for seed in range(arguments.seeds):
        new = run(arguments.preset, seed, arguments.iterations, arguments.every, arguments.overrides)
        repeated = (rows["config"] == new["config"].iloc[0]) & (rows["seed"] == seed)
        rows = pd.concat([rows[~repeated], new], ignore_index=True)
        columns = ["iteration", *KIND, *MEASURES, "seed", "config"]
        rows.to_csv(file, index=False, columns=columns, float_format="%.5g")
    add_setting(arguments.results / "setting.json", "python examples/influence_study.py")
    plot(rows, arguments.results / "agreement.png")
    text = table(rows, arguments.table_from)
    (arguments.results / "table.md").write_text(text + "\n")
    sys.stdout.write(f"Medians from iteration {arguments.table_from} on:\n\n{text}\n")


if __name__ == "__main__":
    main()
