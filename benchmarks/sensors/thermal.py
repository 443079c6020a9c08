"""Temperatures: the kernel's thermal zones, and the sensors in x86 processors."""

from __future__ import annotations

from pathlib import Path

from edgeseg.benchmarks.sensors.reading import (
    Absent,
    FileReader,
    Quantity,
    Reader,
    by_name,
    checked,
    folders,
    read_text,
)

_CPU_CHIPS = ("coretemp", "k10temp", "zenpower")
_FIXED_ZONES = ("PMIC-Die",)
"""Zones of older Jetsons that say 100 °C whatever happens."""
_COLDEST = -100.0
"""A Jetson gives -256 °C for a part that is switched off."""


def open_zones(root: Path = Path("/")) -> Reader | Absent:
    """Every thermal zone, by its type. One that is switched off now may give a value later."""
    zones = by_name(
        (kind, zone / "temp")
        for zone in folders(root, "sys/class/thermal/thermal_zone*")
        if (kind := read_text(zone / "type") or zone.name) not in _FIXED_ZONES
    )
    reader = FileReader("thermal zone", Quantity.TEMPERATURE, zones, 1e-3, _COLDEST)
    return checked(reader, zones.values(), "no thermal zone")


def open_cpu_chips(root: Path = Path("/")) -> Reader | Absent:
    """Intel's and AMD's own sensors, which are often no thermal zones."""
    files = by_name(
        (f"{chip_name} {read_text(Path(str(path)[: -len('input')] + 'label')) or path.name}", path)
        for chip in folders(root, "sys/class/hwmon/hwmon*")
        if (chip_name := read_text(chip / "name")) in _CPU_CHIPS
        for path in folders(chip, "temp*_input")
    )
    reader = FileReader("hwmon", Quantity.TEMPERATURE, files, 1e-3, _COLDEST)
    return checked(reader, files.values(), f"no sensor of {', '.join(_CPU_CHIPS)}")
