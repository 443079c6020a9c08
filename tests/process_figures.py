"""What a process takes, as the kernel says, and whether it takes more and more."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1e6


def memory_mb(pid: int) -> float:
    """Resident memory that is not shared: pages of the loop's rings are not counted."""
    _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(resident) - int(shared)) * _PAGE_MB


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children(pid: int) -> set[int]:
    """Processes that it has started, ended ones that it has not waited for among them."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return {int(child) for file in lists for child in file.read_text().split()}


def growth_mb(seconds: Sequence[float], megabytes: Sequence[float]) -> float:
    """By how much a straight line through the samples rises from the first to the last; a first third, in
    which everything is touched for the first time, is left out."""
    first = len(seconds) // 3
    times, sizes = np.array(seconds[first:]), np.array(megabytes[first:])
    slope = float(np.polyfit(times - times[0], sizes, 1)[0])
    return slope * float(times[-1] - times[0])
