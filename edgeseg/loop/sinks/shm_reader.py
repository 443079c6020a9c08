"""Reading the newest mask from shared memory, as another process on the vehicle does."""

from __future__ import annotations

import mmap
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.errors import SourceError
from edgeseg.labels import Mask
from edgeseg.loop.sinks.shm import path_of
from edgeseg.loop.sinks.shm_layout import CLOCKS, HEADER, MAGIC, SLOT, VERSION, start_of
from edgeseg.loop.states import STATES

_TRIES = 100


@dataclass(frozen=True)
class SharedMask:
    """A mask and its stamp, as :class:`~edgeseg.loop.sinks.base.Stamp` has it; times in nanoseconds."""

    mask: Mask
    sequence: int
    epoch: int
    captured_ns: int
    published_ns: int
    age_ns: int
    clock: str
    state: str
    valid: bool
    late: bool
    digest: str


class MaskReader:
    """Reads ``shm://NAME`` without ever holding its writer up; close it, or use it in a ``with`` block.

    After the writer has ended, a new one makes a new segment: open another reader then.

    Raises:
        SourceError: There is no such segment, or one of another layout.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        path = path_of(name)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        try:
            if os.fstat(file).st_size < HEADER.itemsize:
                raise self._error("a file that is too short")
            self._map: mmap.mmap | None = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(file)
        self._header: Any = np.ndarray((), HEADER, self._map)
        if self._header["magic"] != MAGIC or self._header["version"] != VERSION:
            raise self._error(f"layout {int(self._header['version'])}, where this reader knows {VERSION}")
        self._slot_count = int(self._header["slot_count"])
        self._slot_size = int(self._header["slot_size"])
        self._first = int(self._header["header_size"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the ids mean; empty before the first mask."""
        start, size = int(self._header["names_offset"]), int(self._header["names_size"])
        return tuple(self._whole_map()[start : start + size].decode().split("\0")[:-1])

    @property
    def state(self) -> str:
        """The loop's state at its last sign of life."""
        return STATES[int(self._header["state"])]

    @property
    def heartbeat_age_ms(self) -> float:
        """Milliseconds since the last mask or change of state."""
        return (time.monotonic_ns() - int(self._header["heartbeat_ns"])) / 1e6

    @property
    def writer_alive(self) -> bool:
        """Whether the process that writes is there. It may hang: see :attr:`heartbeat_age_ms`."""
        header = self._header
        return not header["closed"] and start_of(int(header["writer_pid"])) == int(header["writer_start"])

    def read(self) -> SharedMask | None:
        """A copy of the newest whole mask; ``None`` before the first."""
        for _ in range(_TRIES):
            newest = int(self._header["newest"])
            if not newest:
                return None
            mask = self._read_slot((newest - 1) % self._slot_count)
            if mask is not None:
                return mask
        raise self._error("a writer that overtakes every reading")

    def close(self) -> None:
        if self._map is not None:
            del self._header
            self._map.close()
            self._map = None

    def __enter__(self) -> MaskReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _read_slot(self, index: int) -> SharedMask | None:
        """``None`` where the slot was written meanwhile."""
        whole = self._whole_map()
        offset = self._first + index * self._slot_size
        slot: Any = np.ndarray((), SLOT, whole, offset)
        before = int(slot["counter"])
        copy = slot.copy()
        height, width = int(copy["height"]), int(copy["width"])
        if before % 2 or height * width > self._slot_size - SLOT.itemsize:
            return None
        mask = np.ndarray((height, width), np.uint8, whole, offset + SLOT.itemsize).copy()
        if int(slot["counter"]) != before:
            return None
        return _shared_mask(copy, mask)

    def _whole_map(self) -> mmap.mmap:
        if self._map is None:
            raise self._error("a reader that was closed")
        return self._map

    def _error(self, found: str) -> SourceError:
        return SourceError(
            f"shm://{self._name}",
            expected="a segment of masks",
            found=found,
            next_step=f"Start 'edgeseg run BUNDLE --source SOURCE --sink shm://{self._name}' first.",
        )


def _shared_mask(slot: Any, mask: Mask) -> SharedMask:
    return SharedMask(
        mask,
        sequence=int(slot["sequence"]),
        epoch=int(slot["epoch"]),
        captured_ns=int(slot["captured_ns"]),
        published_ns=int(slot["published_ns"]),
        age_ns=int(slot["age_ns"]),
        clock=CLOCKS[int(slot["clock"])],
        state=STATES[int(slot["state"])],
        valid=bool(slot["valid"]),
        late=bool(slot["late"]),
        digest=slot["digest"].tobytes().hex(),
    )
