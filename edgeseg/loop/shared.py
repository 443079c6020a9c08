"""Memory that several processes see, without a name: when the last of them is gone, so is the memory."""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np
import numpy.typing as npt


class SharedBlock:
    """A block of zeros that whoever has the descriptor can map; a process that is killed leaves nothing.

    Args:
        fd: Descriptor of the block. It is not closed here: a child is started with it.
        size: Bytes.
    """

    def __init__(self, fd: int, size: int) -> None:
        self.fd, self.size = fd, size
        # Never unmapped: arrays look into it for as long as the process runs.
        self._map = mmap.mmap(fd, size)

    @classmethod
    def create(cls, name: str, size: int) -> SharedBlock:
        """A new block; its pages take memory only once they are written to."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create(f"edgeseg-{name}")
        else:
            with tempfile.TemporaryFile(prefix=f"edgeseg-{name}-") as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, size)
        return cls(fd, size)

    def array(self, dtype: npt.DTypeLike, shape: tuple[int, ...], offset: int = 0) -> npt.NDArray[np.generic]:
        """A part of the block as an array that every process sees."""
        return np.ndarray(shape, dtype, buffer=self._map, offset=offset)
