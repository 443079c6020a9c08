"""Clocks: the CPU's through cpufreq, a Jetson GPU's through devfreq."""

from __future__ import annotations

from collections.abc import Mapping
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

_BUSY_FIELDS = (0, 1, 2, 5, 6)
"""Of a line of /proc/stat: user, nice, system, irq and softirq; not idle, waiting or stolen by a guest."""
_GPU_NAMES = ("gpu", "gp10b", "gv11b", "ga10b")
_NO_CPUFREQ = "the kernel has no cpufreq here, as on most virtual machines"


class CpuClockReader:
    """The clock that the load saw: the mean over all cores, each with the weight of its work since last time.

    An idle core's clock says nothing, and on a machine with many cores most are idle. ``scaling_cur_freq`` is
    measured by the hardware on recent x86 and, with many Arm drivers, what the kernel asked for last.

    Args:
        clocks: Number of the core to its file, in kHz.
        stat: ``/proc/stat``.
    """

    source = "cpufreq"
    quantity = Quantity.CPU_CLOCK

    def __init__(self, clocks: Mapping[int, Path], stat: Path) -> None:
        self._clocks, self._stat = clocks, stat
        self._before = _busy_ticks(stat)

    def read(self) -> dict[str, float]:
        now = _busy_ticks(self._stat)
        work = {cpu: ticks - self._before.get(cpu, ticks) for cpu, ticks in now.items()}
        self._before = now
        weighted = [
            (clock, work[cpu])
            for cpu, path in self._clocks.items()
            if work.get(cpu, 0) > 0 and (clock := read_number(path)) is not None
        ]
        total = sum(weight for _, weight in weighted)
        # Nothing ran since the last time: there is no clock under load to give.
        return {"cpu": sum(clock * weight for clock, weight in weighted) / total / 1e3} if total else {}


def open_cpu_clock(root: Path = Path("/")) -> Reader | Absent:
    """The CPU's clock under load; its first value needs work since the opening."""
    clocks = {int(folder.parent.name[3:]): folder / "scaling_cur_freq" for folder in _cpufreq(root)}
    plain = FileReader("cpufreq", Quantity.CPU_CLOCK, {str(cpu): path for cpu, path in clocks.items()})
    found = checked(plain, clocks.values(), _NO_CPUFREQ)
    if isinstance(found, Absent):
        return found
    stat = root / "proc/stat"
    return (
        CpuClockReader(clocks, stat) if _busy_ticks(stat) else Absent(f"{stat} does not say which core works")
    )


def open_cpu_clock_limit(root: Path = Path("/")) -> Reader | Absent:
    """The highest clock that each core is allowed now: a thermal daemon lowers it, as a power mode does."""
    files = {f"cpu{folder.parent.name[3:]}": folder / "scaling_max_freq" for folder in _cpufreq(root)}
    return checked(
        FileReader("cpufreq limit", Quantity.CPU_CLOCK_LIMIT, files, 1e-3), files.values(), _NO_CPUFREQ
    )


def open_gpu_clock(root: Path = Path("/")) -> Reader | Absent:
    """The clock of a Jetson's integrated GPU."""
    files = {
        device.name: device / "cur_freq"
        for device in folders(root, "sys/class/devfreq/*")
        if any(name in device.name for name in _GPU_NAMES)
    }
    return checked(
        FileReader("devfreq", Quantity.GPU_CLOCK, files, 1e-6), files.values(), "no GPU under devfreq"
    )


def _cpufreq(root: Path) -> list[Path]:
    return [
        cpu / "cpufreq"
        for cpu in folders(root, "sys/devices/system/cpu/cpu[0-9]*")
        if (cpu / "cpufreq").is_dir()
    ]


def _busy_ticks(stat: Path) -> dict[int, float]:
    """Ticks of work of each core since the start of the machine."""
    lines = [line.split() for line in read_text(stat).splitlines()]
    return {
        int(name[3:]): sum(float(fields[i]) for i in _BUSY_FIELDS)
        for name, *fields in filter(None, lines)
        if name.startswith("cpu") and name[3:].isdigit() and len(fields) > max(_BUSY_FIELDS)
    }
