"""The layout of a shared-memory segment of masks, version 1; ``templates/edgeseg_mask.h`` says it in C.

All numbers are little-endian and stand at multiples of their size. The segment is one header, then
``slot_count`` slots of ``slot_size`` bytes: a slot's own header, then the class ids, row by row. The newest
mask is in slot ``(newest - 1) % slot_count``. A slot's counter is odd while it is written; who
reads a slot and then finds another counter than before has read two masks, and tries again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

MAGIC = b"EDGEMASK"
VERSION = 1
SLOTS = 4
HEADER_SIZE = 32768
SLOT_HEADER_SIZE = 128
NAMES_OFFSET = 256
FOLDER = Path("/dev/shm")

CLOCKS = ("arrival", "driver")

HEADER = np.dtype(
    {
        "names": [
            "magic", "version", "header_size", "slot_count", "slot_header_size", "slot_size", "newest",
            "heartbeat_ns", "writer_pid", "writer_start", "state", "closed", "class_count", "ignore_index",
            "names_offset", "names_size",
        ],
        "formats": ["S8", "<u4", "<u4", "<u4", "<u4", "<u8", "<u8", "<i8", "<i8", "<u8", *["<u4"] * 6],
        "offsets": [0, 8, 12, 16, 20, 24, 32, 40, 48, 56, 64, 68, 72, 76, 80, 84],
        "itemsize": HEADER_SIZE,
    }
)  # fmt: skip
SLOT = np.dtype(
    {
        "names": [
            "counter", "sequence", "epoch", "captured_ns", "published_ns", "age_ns", "width", "height",
            "state", "valid", "late", "clock", "digest",
        ],
        "formats": ["<u8", "<u8", "<u8", "<i8", "<i8", "<i8", "<u4", "<u4", "<u4", "u1", "u1", "u1", "32u1"],
        "offsets": [0, 8, 16, 24, 32, 40, 48, 52, 56, 60, 61, 62, 64],
        "itemsize": SLOT_HEADER_SIZE,
    }
)  # fmt: skip


def is_little_endian() -> bool:
    return sys.byteorder == "little"


def start_of(pid: int) -> int:
    """When a process started, in clock ticks after the machine did; 0 where there is no such process.

    With its number it names a process for good: the number alone is given again to another one.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    # The second field is a name in brackets, and may hold anything; the start is the 22nd.
    fields = text.rpartition(")")[2].split()
    # A process that has ended and was not waited for yet writes no more.
    return 0 if fields[0] in "ZX" else int(fields[19])


def own_identity() -> tuple[int, int]:
    """This process's number and start."""
    return os.getpid(), start_of(os.getpid())
