"""Published cross-play, each league beside the game that it was played in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from benchmarl_reciprocator.tasks.task import SocialDilemmaClass

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Published:
    """A published league.

    Args:
        name (str): of the league.
        source (str): where its numbers are from.
        task (str): the game, by its registered name.
        variants (list of str): of the game, whose rules are those of the source.
        n_agents (int): of the game.
        unit (str): of its numbers.
        difference (str): of its rules and players from ours.
        players (dict): by the name of its players that are scripted the name of ours.
        between (list): row, column, and the scores of both.
    """

    name: str
    source: str
    task: str
    variants: list[str]
    n_agents: int
    unit: str
    difference: str
    players: dict[str, str]
    between: list[tuple[str, str, float, float]]

    def played_in(self, task: SocialDilemmaClass) -> bool:
        """Whether ``task`` is the game of this league."""
        if task.name.lower() != self.task or task.config.get("variant") not in self.variants:
            return False
        return task.options.make_env(1, "cpu", seed=0).n_agents == self.n_agents

    @property
    def rows(self) -> list[str]:
        """Those whose numbers the source gives first; what others came to with them stands in their rows."""
        return list(dict.fromkeys(row for row, *_ in self.between))

    @property
    def digits(self) -> int:
        """After the point, as the source has them."""
        return 2 if all(round(score, 2) == score for *_, own, other in self.between for score in (own, other)) else 3

    def scores(self, row: str) -> dict[str, tuple[float, float]]:
        """What ``row`` and each that it met came to, by the other's name; itself included where they met."""
        own = {column: (ours, theirs) for one, column, ours, theirs in self.between if one == row}
        return {one: (ours, theirs) for one, column, theirs, ours in self.between if column == row} | own


def published(task: SocialDilemmaClass, file: Path = FILE) -> list[Published]:
    """The leagues that were played in the game of ``task``.

    Args:
        task (SocialDilemmaClass): the game, by its name, variant and number of agents.
        file (Path): a yaml like this package's ``published.yaml``.
    """
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    leagues = [Published(**{**entry, "between": [tuple(cells) for cells in entry["between"]]}) for entry in content]
    return [league for league in leagues if league.played_in(task)]
