"""Pictures from one process to the next through shared memory: one writes, one reads, nobody waits for a
lock.

The writer never touches the slot that was published last nor the one that the reader holds, so the reader
works on the picture where it lies. Each slot has a guard, odd while it is written to; a reader that finds it
changed knows that what it read was torn. Both sides may be killed at any moment and started anew.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.loop.bell import Bell
from edgeseg.loop.channel import ChannelClosedError
from edgeseg.loop.shared import SharedBlock

SLOTS = 4
"""One is being written to, one is the newest, one is held by the reader; the fourth is for the moment in
which the reader changes."""

_PAGE = 4096
_NONE = -1
_CONTROL = np.dtype([("newest", "i8"), ("held", "i8"), ("taken", "i8"), ("closed", "i8")])


@dataclass(frozen=True)
class RingLayout:
    """What a ring's slots hold: fields of numbers, and payloads of bytes up to a size each."""

    fields: tuple[tuple[str, str], ...]
    payloads: tuple[tuple[str, int], ...]

    @property
    def record(self) -> np.dtype[Any]:
        return np.dtype([("guard", "i8"), ("sequence", "i8"), *self.fields])

    @property
    def slot_bytes(self) -> int:
        return sum(_pages(size) for _, size in self.payloads)

    @property
    def header_bytes(self) -> int:
        return _pages(_CONTROL.itemsize + SLOTS * self.record.itemsize)

    @property
    def size(self) -> int:
        return self.header_bytes + SLOTS * self.slot_bytes


class Ring:
    """One ring in a block of shared memory, with the bells of both sides."""

    def __init__(self, layout: RingLayout, block: SharedBlock, wake: Bell, taken: Bell) -> None:
        self.layout = layout
        self.block, self.wake, self.taken = block, wake, taken
        self.control: Any = block.array(_CONTROL, ())
        self.records: Any = block.array(layout.record, (SLOTS,), _CONTROL.itemsize)

    @classmethod
    def create(cls, name: str, layout: RingLayout) -> Ring:
        ring = cls(layout, SharedBlock.create(name, layout.size), Bell.create(), Bell.create())
        ring.control["newest"] = ring.control["held"] = _NONE
        return ring

    @property
    def sequence(self) -> int:
        """Of what was published last; 0 at first."""
        newest = int(self.control["newest"])
        return int(self.records[newest]["sequence"]) if newest != _NONE else 0

    @property
    def fds(self) -> tuple[int, ...]:
        """What a child must inherit to attach: :meth:`attach` takes them in this order."""
        return self.block.fd, *self.wake.fds, *self.taken.fds

    @classmethod
    def attach(cls, layout: RingLayout, fds: tuple[int, ...]) -> Ring:
        block, wake, heard, taken, acknowledged = fds
        return cls(layout, SharedBlock(block, layout.size), Bell(wake, heard), Bell(taken, acknowledged))

    def payload(self, slot: int, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """The place of one payload of a slot, ``uint8`` of that shape."""
        offset = self.layout.header_bytes + slot * self.layout.slot_bytes
        for each, size in self.layout.payloads:
            if each == name:
                array: Any = self.block.array(np.uint8, shape, offset)
                return array  # type: ignore[no-any-return]
            offset += _pages(size)
        raise KeyError(name)


class RingWriter:
    """The writing side. Made anew after its process was killed, it goes on where that one was."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._control = ring.control
        torn = np.flatnonzero(ring.records["guard"] % 2)
        ring.records["guard"][torn] += 1
        self._slot = int(self._control["newest"])

    @property
    def sequence(self) -> int:
        """Of what was published last; 0 at first."""
        return self._ring.sequence

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """A slot to fill; it is published when the block ends well."""
        index = self._free()
        record = self._ring.records[index]
        record["guard"] += 1
        slot = Slot(self._ring, index)
        try:
            yield slot
        except BaseException:
            record["guard"] += 1
            raise
        for name, value in slot.fields.items():
            record[name] = value
        record["sequence"] = self._ring.sequence + 1
        record["guard"] += 1
        # One store makes it the newest: whoever is killed before or after it leaves a whole ring.
        self._control["newest"] = self._slot = index
        self._ring.wake.ring()

    def wait_taken(self, seconds: float) -> bool:
        """Wait until the reader has taken what was published last; whether it has."""
        deadline = time.monotonic() + seconds
        while int(self._control["taken"]) < self.sequence:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._ring.taken.wait(left)
        return True

    def close(self) -> None:
        """Nothing more will come; what is there can still be taken."""
        self._control["closed"] = 1
        self._ring.wake.ring()

    def _free(self) -> int:
        used = {int(self._control["newest"]), int(self._control["held"])}
        return next(i % SLOTS for i in range(self._slot + 1, self._slot + 1 + SLOTS) if i % SLOTS not in used)


class Slot:
    """A slot that is being filled.

    Attributes:
        fields: Set the layout's fields here.
    """

    def __init__(self, ring: Ring, index: int) -> None:
        self.fields: dict[str, Any] = {}
        self._ring, self._index = ring, index

    def payload(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """Where that payload is written to."""
        return self._ring.payload(self._index, name, shape)


@dataclass(frozen=True)
class Taken:
    """What the reader holds until it takes the next.

    Args:
        sequence: The ring's own number of it, from 1, without a gap.
        passed: How many were overwritten since the one that was taken before.
        fields: The values of the layout's fields.
    """

    sequence: int
    passed: int
    fields: Mapping[str, Any]
    ring: Ring
    slot: int
    guard: int

    def payload(self, name: str, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """A payload where it lies: copy what is to be kept."""
        return self.ring.payload(self.slot, name, shape)

    @property
    def intact(self) -> bool:
        """Whether nothing was written over it so far."""
        return int(self.ring.records[self.slot]["guard"]) == self.guard


class RingReader:
    """The reading side; made anew after its process was killed, it goes on with the newest."""

    def __init__(self, ring: Ring) -> None:
        self._ring = ring
        self._control = ring.control
        self._control["held"] = _NONE

    @property
    def taken(self) -> int:
        """The number of what was taken last, by this reader or one before it; 0 at first."""
        return int(self._control["taken"])

    def take(self, seconds: float) -> Taken | None:
        """The newest that was not taken yet, or ``None`` when so many seconds have passed without one.

        Raises:
            ChannelClosedError: Everything was taken and nothing more will come.
        """
        deadline = time.monotonic() + seconds
        while True:
            taken = self._newest()
            if taken is not None:
                return taken
            if int(self._control["closed"]) and int(self._control["taken"]) == self._ring.sequence:
                raise ChannelClosedError
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._ring.wake.wait(left)

    def _newest(self) -> Taken | None:
        control, before = self._control, int(self._control["taken"])
        slot = int(control["newest"])
        if slot == _NONE or int(self._ring.records[slot]["sequence"]) <= before:
            return None
        control["held"] = slot
        record = self._ring.records[slot]
        guard, sequence = int(record["guard"]), int(record["sequence"])
        fields = {name: record[name].item() for name, _ in self._ring.layout.fields}
        # The writer may have gone on between any two of these lines: it rings, and the newer one is taken.
        if guard % 2 or int(control["newest"]) != slot or int(record["guard"]) != guard:
            return None
        control["taken"] = sequence
        self._ring.taken.ring()
        return Taken(sequence, sequence - before - 1, fields, self._ring, slot, guard)


def _pages(size: int) -> int:
    return -(-size // _PAGE) * _PAGE
