"""What populations come to in scenarios: interquartile means of normalised returns over seeds and all focal agents."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from benchmarl_reciprocator.evaluation.statistics import RESAMPLES, Interval, trimmed_mean

NORMALISED, RETURN = "normalised", "return"


def interquartile_mean_of_agents(scores: np.ndarray, seed: int = 0) -> Interval:
    """The interquartile mean (Agarwal et al. 2021) over seeds and their agents, with a 95% percentile interval.

    Its bootstrap draws seeds with all their agents: agents that learned together say less of others than as many that
    did not. rliable's own, stratified by columns, would take them for independent.

    Args:
        scores (ndarray): ``[S, K]`` by seed, and by agent or by agent and scenario.
        seed (int): of the resampling.

    Returns:
        Interval: ``nan`` ends with one seed.
    """
    if not scores.size:
        return Interval(math.nan, math.nan, math.nan)
    point = trimmed_mean(scores)
    if len(scores) < 2:
        return Interval(point, math.nan, math.nan)
    drawn = np.random.default_rng(seed).integers(len(scores), size=(RESAMPLES, len(scores)))
    resampled = np.sort(scores[drawn].reshape(RESAMPLES, -1))
    cut = resampled.shape[1] // 4
    means = resampled[:, cut : resampled.shape[1] - cut].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(point, float(low), float(high))


def by_seed(rows: pd.DataFrame, value: str, scenarios: Sequence[str]) -> np.ndarray:
    """Values ``[S, K]`` of the seeds of a population that were measured in all of some scenarios, by agent and
    scenario.

    Args:
        rows (DataFrame): of one population: ``scenario``, ``seed``, ``agent`` and the value.
        value (str): name of its column.
        scenarios (sequence of str): that count.
    """
    table = rows[rows["scenario"].isin(scenarios)].pivot_table(
        index="seed", columns=["scenario", "agent"], values=value
    )
    return table.dropna().to_numpy()


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for every population in every scenario, with the interquartile means of its returns, normalised and not.

    Args:
        rows (DataFrame): a row for every focal agent in every scenario, see
            :func:`~benchmarl_reciprocator.evaluation.scenarios.scenarios.as_rows`.
    """
    summary = []
    for (game, scenario, population), own in rows.groupby(["game", "scenario", "population"], sort=False):
        entry = {
            "game": game,
            "scenario": scenario,
            "population": population,
            "trained_with": own["trained_with"].iloc[0],
        }
        for name, column in ((NORMALISED, NORMALISED), (RETURN, "per_capita")):
            interval = interquartile_mean_of_agents(by_seed(own, column, [scenario]))
            entry |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        entry |= {
            "cooperation": own["cooperation"].mean(),
            "seeds": own["seed"].nunique(),
            "agents": len(own[["seed", "agent"]].drop_duplicates()),
        }
        summary.append(entry)
    return pd.DataFrame(summary)


def overall(rows: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    """A row for every population in every game: its interquartile mean over all scenarios in which it was measured, and
    the scenario in which it fares worst.

    Args:
        rows (DataFrame): as in :func:`summarise`.
        summary (DataFrame): of :func:`summarise`.
    """
    table = []
    for (game, population), own in rows.groupby(["game", "population"], sort=False):
        cells = summary[(summary["game"] == game) & (summary["population"] == population)]
        scores = by_seed(own, NORMALISED, list(cells["scenario"]))
        interval = interquartile_mean_of_agents(scores)
        worst = cells.loc[cells[NORMALISED].idxmin()]
        table.append(
            {
                "game": game,
                "population": population,
                NORMALISED: interval.estimate,
                f"{NORMALISED}_low": interval.low,
                f"{NORMALISED}_high": interval.high,
                "worst": worst[NORMALISED],
                "worst_low": worst[f"{NORMALISED}_low"],
                "worst_high": worst[f"{NORMALISED}_high"],
                "worst_scenario": worst["scenario"],
                "scenarios": len(cells),
                "seeds": len(scores),
                "agents": cells["agents"].max(),
            }
        )
    return pd.DataFrame(table)
