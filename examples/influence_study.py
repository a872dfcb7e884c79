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
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import pandas as pd
import torch
from matplotlib import pyplot as plt

from benchmarl_reciprocator import load_experiment
from benchmarl_reciprocator.algorithms.reciprocity.estimate_check import MEASURES, EstimateCheck
from benchmarl_reciprocator.evaluation.figures import COLOURS
from benchmarl_reciprocator.evaluation.provenance import add_setting

RUN = ["config", "seed"]
KIND = ["part", "policies"]


def run(preset: str, seed: int, iterations: int, every: int, overrides: list[str]) -> pd.DataFrame:
    """Train once; returns a row for each comparison."""
    study = EstimateCheck(every)
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
