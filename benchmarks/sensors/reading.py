"""What a sensor gives, and how the kernel's small files are read."""

from __future__ import annotations

import errno
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol


class Quantity(Enum):
    """What a channel's numbers are; the value is its name and unit in results."""

    POWER = "power_w"
    ENERGY = "energy_j"
    """Joules since the reader was opened: a counter, its wrap-arounds taken out."""
    CPU_CLOCK = "cpu_clock_mhz"
    CPU_CLOCK_LIMIT = "cpu_clock_limit_mhz"
    GPU_CLOCK = "gpu_clock_mhz"
    TEMPERATURE = "temperature_c"
    EVENTS = "throttle_events"
    """A counter of times that the hardware slowed down."""
    COOLING = "cooling_state"
    """How far a part is slowed down to cool it; 0 is not at all."""


class Reader(Protocol):
    """One source of one quantity.

    Attributes:
        source: Its name in results.
    """

    @property
    def source(self) -> str: ...

    @property
    def quantity(self) -> Quantity: ...

    def read(self) -> dict[str, float]:
        """Channel to value, now. A channel that cannot be read is left out; nothing is ever replaced by 0."""


@dataclass(frozen=True)
class Absent:
    """A source that this machine does not give, and why, in words."""

    reason: str


@dataclass(frozen=True)
class FileReader:
    """Channels that are a file with a number each.

    Args:
        files: Channel to its file.
        scale: From the file's unit to the quantity's.
        least: A value below it is a driver's way to say that there is none, in the quantity's unit.
    """

    source: str
    quantity: Quantity
    files: Mapping[str, Path]
    scale: float = 1.0
    least: float = -math.inf

    def read(self) -> dict[str, float]:
        numbers = {channel: read_number(path) for channel, path in self.files.items()}
        values = {channel: self.scale * number for channel, number in numbers.items() if number is not None}
        return {channel: value for channel, value in values.items() if value >= self.least}


def checked(reader: Reader, files: Iterable[Path], missing: str) -> Reader | Absent:
    """The reader, if it reads something now; else why it does not.

    Args:
        files: What it reads.
        missing: What is not there, where there are no files.
    """
    paths = list(files)
    if not paths:
        return Absent(missing)
    return reader if reader.read() else Absent(_refusal(paths[0]))


def folders(root: Path, pattern: str) -> list[Path]:
    """The folders below ``root`` that a pattern names, ``hwmon2`` before ``hwmon10``."""
    return sorted(root.glob(pattern), key=lambda path: (len(path.name), path.name))


def read_text(path: Path) -> str:
    """A file's text without its line end; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip().strip("\0")
    except OSError:
        return ""


def read_number(path: Path) -> float | None:
    """A file's number; ``None`` where it cannot be read or holds none."""
    try:
        return float(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def by_name(named: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Names to paths, with a number behind each name that comes twice."""
    pairs = list(named)
    counts = Counter(name for name, _ in pairs)
    seen: Counter[str] = Counter()
    result = {}
    for name, path in pairs:
        seen[name] += 1
        result[name if counts[name] == 1 else f"{name} {seen[name]}"] = path
    return result


def _refusal(path: Path) -> str:
    try:
        text = path.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            return f"permission denied for {path}: run as root, or let this user read it"
        return f"{path}: {error.strerror or type(error).__name__}"
    return f"{path} holds {text[:40]!r}, no usable number"
