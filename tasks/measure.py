"""Which of a task's metrics is its measure of cooperation."""

from __future__ import annotations

from typing import NamedTuple


class CooperationMeasure(NamedTuple):
    """The one metric by which tables and figures tell how far agents cooperate on a task.

    Args:
        metric (str): its name among the task's ``metrics``; also ``agent_<i>_<metric>`` where it is known by agent.
        label (str): what tables and axes call it.
        low (float): its least possible value.
        high (float): its largest possible value.
    """

    metric: str
    label: str
    low: float = 0.0
    high: float = 1.0
