"""On which device agents play, and the random numbers that they draw there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from benchmarl_reciprocator.tasks.options import check_option, one_of


def devices_here() -> list[str]:
    """The devices of this machine by name, the CPU first."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        return ["cpu"]
    return ["cpu", accelerator.type, *(f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count()))]


def check_device(key: str, device: str) -> str:
    """``device``, if this machine has it.

    Args:
        key (str): the option, for the error.
        device (str): such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ValueError: if it has not, naming those that it has.
    """
    check_option(key, device, device in devices_here(), f"a device of this machine ({one_of(devices_here())})")
    return device


def device_here(device: str) -> str:
    """``device`` where this machine has it, else the CPU: what was trained elsewhere goes on with what there is."""
    return device if device in devices_here() else "cpu"


def on_device(device: torch.device | str) -> dict[str, str]:
    """The options of an experiment by which all of it is on one device."""
    return {f"{use}_device": str(device) for use in ("sampling", "train", "buffer")}


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from ``seed`` on every device, and leave the random numbers of the process as they were.

    Args:
        seed (int): what ``torch.manual_seed`` takes.
    """
    used = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=used):
        torch.manual_seed(seed)
        yield
