"""Every sensor that is known, and those that this machine has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from edgeseg.benchmarks.sensors import clock, ina, nvml, rapl, thermal, throttle
from edgeseg.benchmarks.sensors.reading import Absent, Reader


class Subject(Enum):
    """What a reader of a result asks for."""

    POWER = "power"
    CLOCK = "clock"
    TEMPERATURE = "temperature"
    THROTTLING = "throttling"


@dataclass(frozen=True)
class Source:
    """A known sensor: what it tells of, and how it is opened below a root folder."""

    subject: Subject
    open: Callable[[Path], Reader | Absent]


SENSORS = {
    "INA3221": Source(Subject.POWER, ina.open_ina3221),
    "INA3221 of JetPack 4": Source(Subject.POWER, ina.open_ina3221x),
    "INA238": Source(Subject.POWER, ina.open_ina238),
    "NVML": Source(Subject.POWER, nvml.open_power),
    "RAPL": Source(Subject.POWER, rapl.open_rapl),
    "cpufreq": Source(Subject.CLOCK, clock.open_cpu_clock),
    "cpufreq limit": Source(Subject.THROTTLING, clock.open_cpu_clock_limit),
    "devfreq": Source(Subject.CLOCK, clock.open_gpu_clock),
    "NVML clock": Source(Subject.CLOCK, nvml.open_clock),
    "thermal zones": Source(Subject.TEMPERATURE, thermal.open_zones),
    "processor sensors": Source(Subject.TEMPERATURE, thermal.open_cpu_chips),
    "NVML temperature": Source(Subject.TEMPERATURE, nvml.open_temperature),
    "x86 throttle counters": Source(Subject.THROTTLING, throttle.open_x86_counts),
    "Jetson over-current counters": Source(Subject.THROTTLING, throttle.open_jetson_overcurrent),
    "cooling devices": Source(Subject.THROTTLING, throttle.open_cooling),
    "NVML clock events": Source(Subject.THROTTLING, nvml.open_slowdown),
}


@dataclass(frozen=True)
class Sensors:
    """What this machine gives. ``absent`` has the reason for each name in ``SENSORS`` that it does not."""

    readers: dict[str, Reader]
    absent: dict[str, str]

    def why_not(self, subject: Subject) -> str:
        """Why nothing is known of a subject, in words; empty where a sensor of it is there."""
        names = [name for name, source in SENSORS.items() if source.subject is subject]
        if any(name in self.readers for name in names):
            return ""
        return "; ".join(f"{name}: {self.absent[name]}" for name in names if name in self.absent)


def open_sensors(root: Path = Path("/")) -> Sensors:
    """Open all that are there. ``root`` is the folder that holds ``sys`` and ``proc``."""
    readers: dict[str, Reader] = {}
    absent: dict[str, str] = {}
    for name, source in SENSORS.items():
        opened = source.open(root)
        if isinstance(opened, Absent):
            absent[name] = opened.reason
        else:
            readers[name] = opened
    return Sensors(readers, absent)
