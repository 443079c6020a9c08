"""One process at a time on a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseg.errors import UsageError


@contextmanager
def alone(folder: Path, work: str) -> Iterator[None]:
    """Hold a folder that two processes would spoil for one another.

    Args:
        folder: It has to be there: the lock lies in it, for what is around it may not be ours to write.
        work: What is done there, for the message: ``a sweep``.

    Raises:
        UsageError: Another process holds it.
    """
    refusal = UsageError(
        folder,
        expected=f"{work} that nobody works on",
        found="one that another process works on",
        next_step="Wait for its end, or begin another in another folder.",
    )
    with only_one(folder / "folder", refusal):
        yield


@contextmanager
def only_one(folder: Path, refusal: Exception | None = None) -> Iterator[None]:
    """Wait until no other process holds the lock of ``folder``, then hold it.

    The lock is a file beside the folder, there while it is held. The system frees it when a process dies.

    Args:
        folder: Need not be there.
        refusal: Where given, raised instead of waiting.
    """
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        with path.open("w") as file:
            _lock(file.fileno(), refusal)
            if not _is_same_file(path, file.fileno()):
                continue
            try:
                yield
            finally:
                path.unlink()
            return


def _lock(descriptor: int, refusal: Exception | None) -> None:
    if refusal is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise refusal from None


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Whether nobody removed the lock's file while it was waited for: then others lock another file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
