"""The power monitors of NVIDIA Jetson boards: INA3221 and INA238 chips, through sysfs.

Files and units are those of the kernel's documentation (``Documentation/hwmon/ina3221.rst``, ``ina238.rst``)
and, for the driver of JetPack 4, of NVIDIA's L4T guide. Every supply rail is a channel under its own name;
which of them make the total is :mod:`edgeseg.benchmarks.sensors.energy`'s to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeseg.benchmarks.sensors.reading import (
    Absent,
    FileReader,
    Quantity,
    Reader,
    checked,
    folders,
    read_number,
    read_text,
)

_CHANNELS = (1, 2, 3)
"""From 4 on an INA3221 has shunt voltages and their sum, which are no rails."""
_NOT_CONNECTED = ("NC", "")
_INA238_FAMILY = ("ina228", "ina237", "ina238")


@dataclass(frozen=True)
class VoltAmpereReader:
    """Rails whose power is not given: it is the product of voltage, in mV, and current, in mA.

    Args:
        rails: Name to the files of voltage and current.
    """

    source: str
    rails: Mapping[str, tuple[Path, Path]]
    quantity: Quantity = Quantity.POWER

    def read(self) -> dict[str, float]:
        values = {}
        for rail, (voltage, current) in self.rails.items():
            millivolts, milliamperes = read_number(voltage), read_number(current)
            if millivolts is not None and milliamperes is not None:
                values[rail] = millivolts * milliamperes / 1e6
        return values


def open_ina3221(root: Path = Path("/")) -> Reader | Absent:
    """All connected rails of all INA3221 chips."""
    rails = {
        rail: (chip / f"in{number}_input", chip / f"curr{number}_input")
        for chip in _chips(root, ("ina3221",))
        for number in _CHANNELS
        if (rail := _rail(chip, number)) not in _NOT_CONNECTED
    }
    reader = VoltAmpereReader("ina3221", rails)
    return checked(reader, (file for pair in rails.values() for file in pair), "no INA3221 power monitor")


def open_ina238(root: Path = Path("/")) -> Reader | Absent:
    """INA238 chips, and their relatives with the same files; one rail each, in µW."""
    named = [
        (read_text(chip / "label") or read_text(chip / "name"), chip) for chip in _chips(root, _INA238_FAMILY)
    ]
    files = {name: chip / "power1_input" for name, chip in named}
    reader = FileReader("ina238", Quantity.POWER, files, 1e-6)
    return checked(reader, files.values(), "no INA238 power monitor")


def open_ina3221x(root: Path = Path("/")) -> Reader | Absent:
    """INA3221 chips under the driver of JetPack 4 and before, which gives milliwatts."""
    # One device under two names on some releases: the rail's name makes it one again.
    devices = folders(root, "sys/bus/i2c/drivers/ina3221x/*/iio[:_]device*")
    files = {
        rail: device / f"in_power{number}_input"
        for device in devices
        for number in range(len(_CHANNELS))
        if (rail := read_text(device / f"rail_name_{number}")) not in _NOT_CONNECTED
    }
    reader = FileReader("ina3221x", Quantity.POWER, files, 1e-3)
    return checked(reader, files.values(), "no INA3221 under JetPack 4's driver")


def _chips(root: Path, names: tuple[str, ...]) -> Iterator[Path]:
    for chip in folders(root, "sys/class/hwmon/hwmon*"):
        if read_text(chip / "name") in names:
            yield chip


def _rail(chip: Path, number: int) -> str:
    """A channel's name; empty where it is switched off or not there."""
    if read_number(chip / f"in{number}_enable") == 0 or not (chip / f"curr{number}_input").exists():
        return ""
    label = chip / f"in{number}_label"
    return read_text(label) if label.exists() else f"{chip.name} channel {number}"
