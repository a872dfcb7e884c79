"""Experiments without BenchMARL's progress bar, where several run under one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import benchmarl.experiment.experiment as benchmarl_experiment


@contextmanager
def without_progress_bar() -> Iterator[None]:
    """Let experiments that run in here draw no bar.

    BenchMARL 1.5 has no option for it: its training loop draws one by the name ``tqdm`` of its module. The variable
    ``TQDM_DISABLE`` is no way around that, since tqdm reads it once, when it is imported, for the whole process.
    """
    shown = benchmarl_experiment.tqdm
    benchmarl_experiment.tqdm = partial(shown, disable=True)
    try:
        yield
    finally:
        benchmarl_experiment.tqdm = shown
