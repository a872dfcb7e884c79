"""Figures leave the process as it was; what is the package's own stands out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fresh_python import fresh_python

from benchmarl_reciprocator.evaluation.figures import OTHERS, OWN, heat_map, population_styles

DRAWS = """
import sys
import matplotlib
import matplotlib.pyplot as plt

plt.switch_backend("svg")
mine = plt.figure()
from pathlib import Path
import numpy as np
from benchmarl_reciprocator.evaluation import figures

figures.shares_over_time([0, 1], np.ones((2, 1)), ["a"], Path(sys.argv[1]) / "a.png")
assert matplotlib.get_backend() == "svg", matplotlib.get_backend()
assert plt.get_fignums() == [mine.number] and plt.gcf() is mine
"""


def test_drawing_changes_neither_backend_nor_pyplot(tmp_path: Path) -> None:
    done = fresh_python(DRAWS, str(tmp_path))
    assert done.code == 0, done.printed
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_the_own_method_stands_out() -> None:
    styles = population_styles(["ours", "mixture", "third", "ippo", "mappo"], own=["ours", "mixture", "third"])
    assert [styles[name]["color"] for name in styles] == [*OWN, *OTHERS[:3]]
    assert styles["ours"]["linewidth"] > styles["ippo"]["linewidth"]
    assert styles["ours"]["zorder"] > styles["ippo"]["zorder"]
    assert len({(style["color"], style["linestyle"]) for style in styles.values()}) == 5


def test_colours_of_a_heat_map_can_be_those_of_the_measures_bounds(tmp_path: Path) -> None:
    values, nothing = np.array([[0.4, 0.5]] * 2), np.full((2, 2), np.nan)
    pictures = []
    for index, bounds in enumerate([None, (0.0, 1.0)]):
        heat_map(values, nothing, nothing, ["a", "b"], "share", tmp_path / f"{index}.png", bounds)
        pictures.append((tmp_path / f"{index}.png").read_bytes())
    assert pictures[0] != pictures[1]
