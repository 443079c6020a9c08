"""One process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other process holds the lock of ``folder``, then hold it.

    The lock is a file beside the folder, there while it is held. The system frees it when a process dies.
    """
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is_same_file(path, file.fileno()):
                continue
            try:
                yield
            finally:
                path.unlink()
            return


def _is_same_file(path: Path, descriptor: int) -> bool:
    """Whether nobody removed the lock's file while it was waited for: then others lock another file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
