"""Which of a task's metrics measures cooperation."""

from __future__ import annotations

from typing import NamedTuple


class CooperationMeasure(NamedTuple):
    """The one metric by which tables and figures say how much agents cooperate in a task.

    Args:
        metric (str): its name among the task's ``metrics``; ``agent_<i>_<metric>`` is that of one agent.
        label (str): what tables and axes call it.
        low (float): its lower bound.
        high (float): its upper bound, which play need not come near.
    """

    metric: str
    label: str
    low: float = 0.0
    high: float = 1.0
