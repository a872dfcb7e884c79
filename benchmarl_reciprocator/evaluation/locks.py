"""One process at a time: what is being written is locked, and whoever comes second is told by whom."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

LOCK, OWNER = ".lock", ".lock_owner"


class InUseError(ValueError):
    """A folder into which another process is writing."""


@contextmanager
def locked(folder: Path, what: str = "--output") -> Iterator[None]:
    """Keep other processes that ask for the same out of ``folder`` for as long as this lasts.

    The operating system holds the lock and lets go of it when the process ends, however it ends. So it is on network
    file systems that support locks, as NFS 4 does between machines.

    Args:
        folder (Path): is made where it is not there.
        what (str): what names the folder, for the error.

    Raises:
        InUseError: if another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Stays where it is: whoever deletes a lock's file takes it from under another that waits for it.
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InUseError(f"{what} must be a folder that nobody writes to, but {folder} {in_use(folder)}") from None
    try:
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        (folder / OWNER).write_text(f"process {os.getpid()} of {platform.node()} since {now}", encoding="utf-8")
        yield
        (folder / OWNER).unlink(missing_ok=True)
    finally:
        lock.release()


def in_use(folder: Path) -> str | None:
    """By whom ``folder`` is locked, as the end of a sentence; ``None`` where it is not."""
    if not (folder / LOCK).is_file():
        return None
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        try:
            owner = (folder / OWNER).read_text(encoding="utf-8")
        except OSError:
            owner = "another process"
        return f"is in use by {owner}"
    lock.release()
    return None
