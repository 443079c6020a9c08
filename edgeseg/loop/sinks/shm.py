"""The newest mask in shared memory, for other processes on the vehicle, in C or Python, without a lock."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import re
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.errors import SinkError
from edgeseg.labels import LabelSet, Mask
from edgeseg.loop.sinks.address import Address, wants_model_size
from edgeseg.loop.sinks.base import Published
from edgeseg.loop.sinks.shm_layout import (
    CLOCKS,
    FOLDER,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    NAMES_OFFSET,
    SLOT,
    SLOT_HEADER_SIZE,
    SLOTS,
    VERSION,
    is_little_endian,
    own_identity,
    start_of,
)
from edgeseg.loop.states import STATES

# Room for a mask of 8K video. Memory is taken only for what is written: the file has holes.
_MOST_PIXELS = 7680 * 4320
_SLOT_SIZE = SLOT_HEADER_SIZE + _MOST_PIXELS
_SIZE = HEADER_SIZE + SLOTS * _SLOT_SIZE
_NAMES_SIZE = HEADER_SIZE - NAMES_OFFSET


class ShmSink:
    """Writes each mask into the next of four slots of ``/dev/shm/NAME``, and then says that it is the newest.

    Nobody is waited for: a reader that is overtaken sees it by the slot's counter and reads again. A file
    that a writer which was killed has left is taken over. Closing removes the file.

    Args:
        name: The file's name: letters, digits and ``_.-``.
        model_size: Write the mask at the model's size instead of the frame's.

    Raises:
        SinkError: Another process writes there, the file is no segment of masks, or it cannot be made.
    """

    def __init__(self, name: str, *, model_size: bool = False) -> None:
        self.name = f"shm://{name}"
        self.output: Path | None = None
        self._path = path_of(name)
        self._model_size = model_size
        self._fence = threading.Lock()
        self._labels: LabelSet | None = None
        self._reserved = 0
        self._map: mmap.mmap | None = None
        try:
            self._file = self._create()
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        self._attach()

    @classmethod
    def open(cls, address: Address) -> ShmSink:
        """Of ``shm://NAME?mask=model``."""
        address.check_options(("mask",))
        return cls(address.place, model_size=wants_model_size(address))

    def write(self, published: Published) -> None:
        if self._map is None:
            return
        segmentation = published.segmentation
        mask = segmentation.model_mask if self._model_size else segmentation.mask
        self._reserve(mask.size)
        if segmentation.labels is not self._labels:
            self._write_names(segmentation.labels)
        count = int(self._header["newest"])
        slot = self._slots[count % SLOTS]
        slot["counter"] += 1
        self._order()
        self._fill(slot, published, mask)
        pixels = self._pixels[count % SLOTS]
        pixels[: mask.size] = mask.reshape(-1)
        self._order()
        slot["counter"] += 1
        self._order()
        self._header["newest"] = count + 1
        self._tell(published.stamp.state)

    def event(self, event: Mapping[str, Any]) -> None:
        if self._map is not None and event.get("event") == "state":
            self._tell(str(event.get("state")))

    def finish(self, positions: int) -> None:
        """There is nothing to complete."""

    def close(self) -> None:
        if self._map is None:
            return
        self._header["closed"] = 1
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        del self._header, self._slots, self._pixels
        self._map.close()
        self._map = None
        os.close(self._file)

    def _fill(self, slot: Any, published: Published, mask: Mask) -> None:
        stamp = published.stamp
        slot["sequence"] = stamp.sequence
        slot["epoch"] = stamp.epoch
        slot["captured_ns"] = published.segmentation.captured_ns
        slot["published_ns"] = published.published_ns
        slot["age_ns"] = round(published.age_ms * 1e6)
        slot["height"], slot["width"] = mask.shape
        slot["state"] = STATES.index(stamp.state)
        slot["valid"] = published.segmentation.valid
        slot["late"] = stamp.late
        slot["clock"] = CLOCKS.index(stamp.clock) if stamp.clock in CLOCKS else 0
        digest = bytes.fromhex(stamp.digest) if re.fullmatch("[0-9a-f]{64}", stamp.digest) else bytes(32)
        slot["digest"] = np.frombuffer(digest, np.uint8)

    def _tell(self, state: str) -> None:
        if state in STATES:
            self._header["state"] = STATES.index(state)
        self._header["heartbeat_ns"] = time.monotonic_ns()

    def _order(self) -> None:
        """Let no other core see what comes after before what came before.

        Python has no fence. A lock that is released and taken again is one: what came before cannot sink
        below the first release, what comes after cannot rise above the second acquisition.
        """
        for _ in range(2):
            self._fence.acquire()
            self._fence.release()

    def _reserve(self, size: int) -> None:
        """Take the memory for masks of a size now: writing where there is none would end the process."""
        if size <= self._reserved:
            return
        if size > _MOST_PIXELS:
            raise self._error(f"a mask of {size} pixels, where {_MOST_PIXELS} are the most")
        try:
            for i in range(SLOTS):
                os.posix_fallocate(self._file, HEADER_SIZE + i * _SLOT_SIZE, SLOT_HEADER_SIZE + size)
        except OSError as error:
            raise self._error(error.strerror or str(error)) from error
        self._reserved = size

    def _write_names(self, labels: LabelSet) -> None:
        names = b"".join(n.encode() + b"\0" for n in labels.names)
        if self._map is None or len(names) > _NAMES_SIZE:
            raise self._error(f"class names of {len(names)} bytes, where {_NAMES_SIZE} are the most")
        self._map[NAMES_OFFSET : NAMES_OFFSET + len(names)] = names
        self._header["names_size"] = len(names)
        self._header["class_count"] = len(labels)
        self._header["ignore_index"] = labels.ignore_index
        self._labels = labels

    def _create(self) -> int:
        """A new file under the name, locked for as long as this process lives."""
        if not is_little_endian():
            raise self._error("a processor that stores numbers the other way round")
        self._take_over()
        pid, start = own_identity()
        staging = self._path.with_name(f".{self._path.name}.{pid}.part")
        file = os.open(staging, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, _SIZE)
            os.posix_fallocate(file, 0, HEADER_SIZE)
            os.pwrite(file, _first_header(pid, start), 0)
            # Not renamed, which would replace what another process has put there in the meantime.
            os.link(staging, self._path)
        except OSError:
            os.close(file)
            raise
        finally:
            staging.unlink(missing_ok=True)
        return file

    def _take_over(self) -> None:
        """Remove what a dead writer has left.

        Raises:
            SinkError: Its writer lives, or it is something else.
        """
        for leftover in self._path.parent.glob(f".{self._path.name}.*.part"):
            if not start_of(int(leftover.suffixes[-2][1:]) if leftover.suffixes[-2][1:].isdigit() else 0):
                leftover.unlink(missing_ok=True)
        if self._path.exists() and not remove_stale(self._path.name):
            raise self._error("another process that writes there", "Stop it, or choose another name.")

    def _attach(self) -> None:
        self._map = mmap.mmap(self._file, _SIZE)
        self._header: Any = np.ndarray((), HEADER, self._map)
        offsets = [HEADER_SIZE + i * _SLOT_SIZE for i in range(SLOTS)]
        self._slots: list[Any] = [np.ndarray((), SLOT, self._map, offset) for offset in offsets]
        self._pixels = [
            np.ndarray((_MOST_PIXELS,), np.uint8, self._map, offset + SLOT_HEADER_SIZE) for offset in offsets
        ]

    def _error(
        self, found: str, next_step: str = "Check /dev/shm: its permissions and free space."
    ) -> SinkError:
        return SinkError(self.name, expected="shared memory to write to", found=found, next_step=next_step)


def path_of(name: str) -> Path:
    """The file of a segment.

    Raises:
        SinkError: The name is none.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name):
        raise SinkError(
            f"shm://{name}",
            expected="a name of letters, digits and _.- that begins with no dot",
            found=repr(name),
            next_step="Choose such a name, as shm://masks.",
        )
    return FOLDER / name


def remove_stale(name: str) -> bool:
    """Remove a segment whose writer is dead, as one that was killed leaves it; readers see that it is closed.

    Returns:
        Whether there is no such segment now.

    Raises:
        SinkError: There is a file of that name that is no segment of masks.
    """
    path = path_of(name)
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    try:
        header = np.frombuffer(os.pread(file, HEADER.itemsize, 0).ljust(HEADER.itemsize, b"\0"), HEADER)[0]
        if header["magic"] != MAGIC:
            raise SinkError(
                f"shm://{name}",
                expected="no such file, or a segment of masks",
                found=f"something else at {path}",
                next_step="Choose another name.",
            )
        if not _is_abandoned(file, int(header["writer_pid"]), int(header["writer_start"])):
            return False
        fields: Mapping[str, Any] = HEADER.fields or {}
        os.pwrite(file, np.uint32(1).tobytes(), fields["closed"][1])
        path.unlink(missing_ok=True)
        return True
    finally:
        os.close(file)


def _is_abandoned(file: int, pid: int, start: int) -> bool:
    """No process holds the writer's lock, which ends with it, and the one that the header names is gone."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return start_of(pid) != start or pid == os.getpid()


def _first_header(pid: int, start: int) -> bytes:
    header = np.zeros((), HEADER)
    header["magic"], header["version"] = MAGIC, VERSION
    header["header_size"], header["slot_header_size"] = HEADER_SIZE, SLOT_HEADER_SIZE
    header["slot_count"], header["slot_size"] = SLOTS, _SLOT_SIZE
    header["names_offset"] = NAMES_OFFSET
    header["writer_pid"], header["writer_start"] = pid, start
    header["heartbeat_ns"] = time.monotonic_ns()
    return header.tobytes()
