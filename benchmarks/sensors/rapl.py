"""Energy counters of x86 processors (RAPL), through the kernel's powercap files.

``Documentation/power/powercap/powercap.rst``: a zone ``intel-rapl:N`` is a package, or ``psys``, the whole
platform, in which the packages are counted again; ``intel-rapl:N:M`` are parts of a package, and
``intel-rapl-mmio:N`` is the same package another way. Only the packages are read, so nothing counts twice;
AMD's processors are served by the same driver. Memory, board, disk and fans are not in it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeseg.benchmarks.sensors.reading import (
    Absent,
    Quantity,
    Reader,
    checked,
    folders,
    read_number,
    read_text,
)


@dataclass(frozen=True)
class Zone:
    """A package's counter in µJ, and the value after which it starts again from 0; NaN: unknown."""

    energy: Path
    range_uj: float


class RaplReader:
    """Joules of each package since it was first read here.

    A counter wraps after minutes to hours, at most once between two samples: a value below the last one has
    gone once through its range. Where that is unknown the sum is NaN from then on, which counts as not read.
    """

    source = "rapl"
    quantity = Quantity.ENERGY

    def __init__(self, zones: Mapping[str, Zone]) -> None:
        self._zones = zones
        self._last: dict[str, float] = {}
        self._sum: dict[str, float] = dict.fromkeys(zones, 0.0)

    def read(self) -> dict[str, float]:
        values = {}
        for package, zone in self._zones.items():
            counter = read_number(zone.energy)
            if counter is None:
                continue
            step = counter - self._last.get(package, counter)
            self._sum[package] += step if step >= 0 else step + zone.range_uj
            self._last[package] = counter
            values[package] = self._sum[package] / 1e6
        return values


def open_rapl(root: Path = Path("/")) -> Reader | Absent:
    """Every processor package."""
    zones = {
        name: Zone(folder / "energy_uj", _range(folder))
        for folder in folders(root, "sys/class/powercap/intel-rapl:*")
        if (name := read_text(folder / "name")).startswith("package")
    }
    reader = RaplReader(zones)
    return checked(reader, (zone.energy for zone in zones.values()), "no RAPL energy counter")


def _range(folder: Path) -> float:
    found = read_number(folder / "max_energy_range_uj")
    return math.nan if found is None else found
