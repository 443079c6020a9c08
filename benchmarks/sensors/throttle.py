"""What the hardware and the kernel themselves say of slowing down."""

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

_SLOWING = ("cpufreq", "devfreq", "processor", "throttle", "powerclamp")
"""In the type of a cooling device that slows something down. Fans, screens and settings cool otherwise."""


def open_x86_counts(root: Path = Path("/")) -> Reader | Absent:
    """How often each Intel core, and its package, became too hot.

    ``Documentation/ABI/testing/sysfs-devices-system-cpu``. A package's counter is there once per core.
    """
    files = {
        f"{file.parent.parent.name} {file.name.removesuffix('_throttle_count')}": file
        for cpu in folders(root, "sys/devices/system/cpu/cpu[0-9]*")
        for file in folders(cpu, "thermal_throttle/*_throttle_count")
    }
    reader = FileReader("thermal_throttle", Quantity.EVENTS, files)
    return checked(reader, files.values(), "no thermal_throttle counter, which Intel's processors have")


def open_jetson_overcurrent(root: Path = Path("/")) -> Reader | Absent:
    """How often a Jetson slowed down for too low a voltage or too high a current.

    NVIDIA's Jetson Linux guide, on over-current events: ``oc*_event_cnt`` of the hwmon device
    ``soctherm_oc``.
    """
    files = {
        file.name.removesuffix("_event_cnt"): file
        for chip in folders(root, "sys/class/hwmon/hwmon*")
        if read_text(chip / "name") == "soctherm_oc"
        for file in folders(chip, "oc*_event_cnt")
    }
    reader = FileReader("soctherm_oc", Quantity.EVENTS, files)
    return checked(reader, files.values(), "no soctherm_oc counter, which Jetson Orin and Thor have")


def open_cooling(root: Path = Path("/")) -> Reader | Absent:
    """The state of each cooling device that slows something down; powerclamp says -1 when it does nothing."""
    files = by_name(
        (kind, device / "cur_state")
        for device in folders(root, "sys/class/thermal/cooling_device*")
        if any(word in (kind := read_text(device / "type")).lower() for word in _SLOWING)
    )
    reader = FileReader("cooling device", Quantity.COOLING, files)
    return checked(reader, files.values(), "no cooling device that slows a processor down")
