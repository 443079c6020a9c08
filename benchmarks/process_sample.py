"""What the kernel says that a process has used so far."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICK_SECONDS = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class ProcessSample:
    """A process at one moment.

    Args:
        cpu_seconds: Of all its threads, user and system.
        faults: Pages that it was given or shown without reading a disk; memory that is allocated and
            released for each frame shows here, though the process never grows.
        anonymous_bytes: Memory of its own that is resident: shared memory and files are not in it.
    """

    cpu_seconds: float
    faults: int
    anonymous_bytes: int


def sample(pid: int) -> ProcessSample | None:
    """The process now; ``None`` where it has ended."""
    try:
        # The name, in parentheses, may hold spaces and parentheses itself.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    anonymous = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")]
    if not anonymous:
        return None  # it has ended, and waits for its parent to notice
    cpu_ticks = int(fields[11]) + int(fields[12])
    return ProcessSample(cpu_ticks * TICK_SECONDS, int(fields[7]), int(anonymous[0]) * 1024)


def status_mib(field: str, pid: int | str = "self") -> float:
    """A field of ``/proc/PID/status``: ``VmRSS``, what it holds now, or ``VmHWM``, the most it ever held.

    Not getrusage: its peak survives exec, so that a child would report its parent's memory.
    """
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{field}:")).split()[1]) / 1024
