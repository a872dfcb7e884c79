"""Empirical game analysis: which populations are in equilibrium when each player chooses one of them."""

from __future__ import annotations

import warnings
from typing import Any

import nashpy
import numpy as np

# Above it support enumeration takes minutes: it tries every pair of supports of the same size.
ENUMERABLE = 8
# How often alpha-rank's chain moves against the payoffs, so that it has one stationary distribution
ALPHA_RANK_NOISE = 1e-3
NO_OPENSPIEL = (
    "OpenSpiel and cvxpy must be installed: pip install 'benchmarl-reciprocator[meta_game]' (Python 3.11 or later)"
)


def pure_equilibria(row: np.ndarray, column: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    """Which pairs of strategies are pure Nash equilibria.

    Args:
        row (ndarray): payoffs of who chooses the row, ``[*B, P, Q]``.
        column (ndarray): payoffs of who chooses the column, ``[*B, P, Q]``.
        tolerance (float): a deviation that gains no more than this share of the range of all payoffs does not count.

    Returns:
        ndarray: boolean ``[*B, P, Q]``.
    """
    both = np.concatenate([row, column], -2)
    margin = tolerance * np.ptp(both, axis=(-2, -1), keepdims=True) + 1e-9
    best_row = row >= row.max(-2, keepdims=True) - margin
    best_column = column >= column.max(-1, keepdims=True) - margin
    return best_row & best_column


def mixed_equilibria(row: np.ndarray, column: np.ndarray) -> tuple[list[tuple[np.ndarray, np.ndarray]], str]:
    """Nash equilibria, pure and mixed, by nashpy.

    Args:
        row (ndarray): payoffs ``[P, Q]`` of who chooses the row.
        column (ndarray): payoffs ``[P, Q]`` of who chooses the column.

    Returns:
        tuple[list, str]: pairs of probabilities ``[P]`` and ``[Q]``, each once, and the method: support enumeration
        finds all of a game without ties, Lemke-Howson from every start some of a larger one.
    """
    game = nashpy.Game(row, column)
    few = max(row.shape) <= ENUMERABLE
    found: list[tuple[np.ndarray, np.ndarray]] = []
    with warnings.catch_warnings():
        # Of ties, and of starts that lead nowhere: such results are left out below.
        warnings.simplefilter("ignore")
        for pair in game.support_enumeration() if few else game.lemke_howson_enumeration():
            sized = [len(one) == size for one, size in zip(pair, row.shape)]
            valid = all(sized) and all(np.isfinite(one).all() and abs(one.sum() - 1) < 1e-6 for one in pair)
            if valid and not any(all(np.allclose(*two, atol=1e-6) for two in zip(pair, other)) for other in found):
                found.append(pair)
    return found, "support enumeration" if few else "Lemke-Howson from every start"


def replicator(payoffs: np.ndarray, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Shares of the strategies in one population over time, by the replicator equation.

    Args:
        payoffs (ndarray): ``[P, P]``, of the strategy of the row against that of the column.
        start (ndarray): shares ``[P]``.
        times (ndarray): ``[T]``, in units of one over the range of the payoffs.

    Returns:
        ndarray: ``[T, P]``.
    """
    scaled = (payoffs - payoffs.min()) / max(np.ptp(payoffs), 1e-12)
    return nashpy.Game(scaled).replicator_dynamics(y0=start, timepoints=times)


def alpha_rank(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """How often play is at each pair of strategies while one player at a time moves to a better one: alpha-rank of two
    populations with unlimited selection (Omidshafiei et al. 2019, arXiv 1903.01373), by OpenSpiel.

    There always is one, unlike equilibria of which there are many. Where better replies go in circles, all of the
    circle has mass.

    Args:
        row (ndarray): payoffs ``[P, Q]`` of who chooses the row.
        column (ndarray): payoffs ``[P, Q]`` of who chooses the column.

    Returns:
        ndarray: ``[P, Q]``, sums to 1.

    Raises:
        ImportError: if OpenSpiel is not installed.
    """
    try:
        from open_spiel.python.egt import alpharank
    except ImportError as error:
        raise ImportError(NO_OPENSPIEL) from error
    # It takes a table with one payoff for a game of one player.
    if row.size == 1:
        return np.ones_like(row, dtype=float)
    _, _, mass, *_ = alpharank.compute([row, column], use_inf_alpha=True, inf_alpha_eps=ALPHA_RANK_NOISE)
    return mass.reshape(row.shape)


def nash_average(row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nash averaging of who gains more than whom (Balduzzi et al. 2018, arXiv 1806.02643), by OpenSpiel.

    The payoff of the row less that of the column is a symmetric zero-sum game. A strategy counts by its share in the
    equilibrium with the largest entropy, so that copies of a strategy change nothing. It says who comes off better
    than others, not what is good for all: of a social dilemma it shows the side that is exploitation.

    Args:
        row (ndarray): payoffs ``[P, P]`` of who chooses the row, in a game with seats that are alike.
        column (ndarray): payoffs ``[P, P]`` of who chooses the column, the transpose of ``row``.

    Returns:
        tuple[ndarray, ndarray]: shares ``[P]``, and what each gains on average over that mixture ``[P]``, at most 0.

    Raises:
        ImportError: if OpenSpiel or its solver, cvxpy, is not installed.
    """
    try:
        import pyspiel
        from open_spiel.python.algorithms.nash_averaging import nash_averaging
    except ImportError as error:
        raise ImportError(NO_OPENSPIEL) from error
    # A range of one is what its solver is best at.
    relative = (row - column) / max(np.ptp(row - column), 1e-12)
    shares, gains = nash_averaging(pyspiel.create_matrix_game(relative, -relative))
    scale = np.ptp(row - column)
    return np.clip(shares.flatten(), 0, None), gains.flatten() * scale


def analyse(
    samples: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    names: list[str],
    symmetric: bool,
    n_agents: int = 2,
    tolerance: float = 0.01,
    resamples: int = 1000,
    starts: int = 100,
    seed: int = 0,
) -> dict[str, Any]:
    """The meta-game in which every player picks one of the populations.

    Args:
        samples (dict): by row and column, both sides' scores ``[n]`` over ``n`` pairs of seeds.
        names (list of str): of the ``P`` populations.
        symmetric (bool): whether all seats are the same: then both orders of a pairing count, and a population can be
            an equilibrium by itself.
        n_agents (int): of the game. With more than two the column stands for all others, so that only populations that
            are best against themselves can be found.
        tolerance (float): of pure equilibria, see :func:`pure_equilibria`: played scores are never exactly equal.
        resamples (int): bootstrap resamples of the pairs, for how sure a pure equilibrium is.
        starts (int): random starts of the replicator dynamics.
        seed (int): of both.

    Returns:
        dict: ``payoffs`` ``[P][P]``; ``pure``: every pure equilibrium, its ``gain_from_leaving`` and the
        ``share_of_resamples`` in which it is one; ``mixed`` and their ``method``; ``replicator``: shares ``[T][P]``
        from equal shares, and the share of random starts that ends in each population; ``alpha_rank``: mass by row and
        column ``[P][P]``, see :func:`alpha_rank`; ``nash_average``: ``shares`` and ``gains``, see :func:`nash_average`;
        ``rankings_missing``: why these two are not there. What does not apply is ``None``.
    """
    rng = np.random.default_rng(seed)
    row, column = _means(samples, names, symmetric, n_agents, None)
    drawn = [_means(samples, names, symmetric, n_agents, rng) for _ in range(resamples)]
    often = pure_equilibria(*(np.stack(side) for side in zip(*drawn)), tolerance).mean(0)
    pure = []
    for i, j in zip(*np.nonzero(pure_equilibria(row, column, tolerance))):
        # The same in both orders where seats are alike; among many, only all alike can be told.
        if (n_agents > 2 and i != j) or (symmetric and j < i):
            continue
        gain = max(
            np.delete(row[:, j], i).max(initial=-np.inf) - row[i, j],
            np.delete(column[i], j).max(initial=-np.inf) - column[i, j],
        )
        pure.append(
            {
                "row": names[i],
                "column": names[j],
                "gain_from_leaving": float(gain) if np.isfinite(gain) else None,
                "share_of_resamples": float(often[i, j]),
            }
        )
    result = {
        "names": names,
        "symmetric": symmetric,
        "n_agents": n_agents,
        "tolerance": tolerance,
        "payoffs": row.tolist(),
        "pure": pure,
    }
    result |= dict.fromkeys(("mixed", "method", "replicator", "alpha_rank", "nash_average", "rankings_missing"))
    if n_agents > 2:
        return result
    found, result["method"] = mixed_equilibria(row, column)
    shares = [[dict(zip(names, np.round(one, 4).tolist())) for one in pair] for pair in found]
    result["mixed"] = [{"row": one, "column": other} for one, other in shares]
    try:
        result["alpha_rank"] = np.round(alpha_rank(row, column), 4).tolist()
        if symmetric:
            average = (np.round(one, 4).tolist() for one in nash_average(row, column))
            result["nash_average"] = {key: dict(zip(names, one)) for key, one in zip(("shares", "gains"), average)}
    except ImportError as error:
        result["rankings_missing"] = str(error)
    if symmetric:
        times = np.linspace(0, 100, 401)
        from_equal = replicator(row, np.full(len(names), 1 / len(names)), times)
        ends = np.stack([replicator(row, rng.dirichlet(np.ones(len(names))), times[::100])[-1] for _ in range(starts)])
        result["replicator"] = {
            "times": times.tolist(),
            "from_equal_shares": np.round(from_equal, 4).tolist(),
            "mean_end_of_random_starts": dict(zip(names, np.round(ends.mean(0), 4).tolist())),
            "share_of_starts_that_end_in_it": dict(zip(names, (ends > 0.99).mean(0).tolist())),
        }
    return result


def _means(
    samples: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]],
    names: list[str],
    symmetric: bool,
    n_agents: int,
    rng: np.random.Generator | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean payoffs ``[P, P]`` of both sides, of the pairs or of a resample of them."""
    row, column = np.empty((2, len(names), len(names)))
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            ours, theirs = samples[one, other]
            index = np.arange(len(ours)) if rng is None else rng.integers(len(ours), size=len(ours))
            row[i, j], column[i, j] = ours[index].mean(), theirs[index].mean()
    if n_agents > 2:
        # How one fares among others that are all alike; the same game from each of their seats.
        return row, row.T
    if symmetric:
        row = (row + column.T) / 2
        return row, row.T
    return row, column
