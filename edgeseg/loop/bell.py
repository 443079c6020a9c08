"""How one process wakes another: a byte in a pipe, which nobody has to wait for and no lock guards."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Bell:
    """Rung by one process, heard by one other. Rung often before it is heard, it is heard once.

    A process that is killed at any moment leaves it usable, which a lock would not survive.
    """

    listen_fd: int
    ring_fd: int

    @classmethod
    def create(cls) -> Bell:
        listen, ring = os.pipe()
        os.set_blocking(listen, False)
        os.set_blocking(ring, False)
        return cls(listen, ring)

    @property
    def fds(self) -> tuple[int, int]:
        return self.listen_fd, self.ring_fd

    def ring(self) -> None:
        # A full pipe wakes as well as one with another byte in it.
        with suppress(BlockingIOError):
            os.write(self.ring_fd, b"\0")

    def wait(self, seconds: float) -> bool:
        """Until it is rung, at most so long; whether it was."""
        heard, _, _ = select.select([self.listen_fd], [], [], seconds)
        if heard:
            with suppress(BlockingIOError):
                os.read(self.listen_fd, 4096)
        return bool(heard)
