"""A replay buffer that keeps a uniform sample of all that it was ever given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.data.replay_buffers.writers import Writer


class ReservoirWriter(Writer):
    """A TorchRL writer by which a replay buffer holds a uniform sample of all that it was extended by.

    Reservoir sampling (Vitter 1985, "Random Sampling with a Reservoir", ACM TOMS 11:1): while there is room, all is
    kept; after that the ``n``-th element takes the place of a random one with probability ``capacity / n``.

    Examples:
        >>> from tensordict import TensorDict
        >>> from torchrl.data import LazyTensorStorage, ReplayBuffer
        >>> buffer = ReplayBuffer(storage=LazyTensorStorage(4), writer=ReservoirWriter())
        >>> for number in range(100):
        ...     _ = buffer.extend(TensorDict({"number": torch.full((10,), number)}, [10]))
        >>> len(buffer), buffer.writer.seen
        (4, 1000)
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def add(self, data: TensorDictBase) -> Tensor:
        """Take in one element; returns its index, none if it was left out."""
        return self.extend(data.unsqueeze(0))

    def extend(self, data: TensorDictBase) -> Tensor:
        """Take in elements ``[n]``.

        Args:
            data (TensorDictBase): the elements.

        Returns:
            Tensor: integers ``[m]``, ``m <= n``: where those that were kept are now.
        """
        held = len(self._storage)
        free = self._storage.max_size - held
        early, late = data[:free], data[free:]
        index = torch.arange(held, held + len(early), device=data.device)
        if len(early):
            self._storage.set(index, early)
        if len(late):
            # All that were ever seen have the same chance of being in the buffer.
            seen = self.seen + len(early) + 1 + torch.arange(len(late), device=data.device)
            slot = (torch.rand(len(late), device=data.device) * seen).long()
            stays = slot < len(self._storage)
            if stays.any():
                self._storage.set(slot[stays], late[stays], set_cursor=False)
            index = torch.cat([index, slot[stays]])
        self.seen += len(data)
        return index

    def _empty(self, empty_write_count: bool = True) -> None:
        self.seen = 0

    def state_dict(self) -> dict[str, Any]:
        """How many elements were seen."""
        return {"seen": self.seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state that :meth:`state_dict` gave."""
        self.seen = state_dict["seen"]

    def dumps(self, path: str | Path) -> None:
        """Write the state into the folder ``path``."""
        Path(path).mkdir(exist_ok=True)
        (Path(path) / "metadata.json").write_text(json.dumps(self.state_dict()))

    def loads(self, path: str | Path) -> None:
        """Read the state from the folder ``path``."""
        self.load_state_dict(json.loads((Path(path) / "metadata.json").read_text()))
