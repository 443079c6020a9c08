"""Trees of small files, as the kernel shows a machine's sensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PROC_STAT = "cpu  {0} 0 0 900 0 0 0 0 0 0\ncpu0 {0} 0 0 450 0 0 0 0 0 0\ncpu1 0 0 0 450 0 0 0 0 0 0\nintr 1\n"
"""``PROC_STAT.format(ticks)``: so many ticks of work on the first of two cores, none on the second."""


def write_tree(root: Path, files: Mapping[str, object]) -> Path:
    """Files by their path below ``root``, each with a line's end, as the kernel writes them."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def ina3221(number: int, rails: Mapping[int, tuple[str, int, int]]) -> dict[str, object]:
    """A chip: channel to label, mV and mA."""
    chip = f"sys/class/hwmon/hwmon{number}"
    files: dict[str, object] = {f"{chip}/name": "ina3221"}
    for channel, (label, millivolts, milliamperes) in rails.items():
        files[f"{chip}/in{channel}_label"] = label
        files[f"{chip}/in{channel}_input"] = millivolts
        files[f"{chip}/curr{channel}_input"] = milliamperes
    return files


def rapl(zone: str, name: str, microjoules: int, most: int = 262_143_328_850) -> dict[str, object]:
    """A zone of the powercap files."""
    folder = f"sys/class/powercap/{zone}"
    return {
        f"{folder}/name": name,
        f"{folder}/energy_uj": microjoules,
        f"{folder}/max_energy_range_uj": most,
    }


def cooling(number: int, kind: str, state: int) -> dict[str, object]:
    """A cooling device."""
    device = f"sys/class/thermal/cooling_device{number}"
    return {f"{device}/type": kind, f"{device}/cur_state": state, f"{device}/max_state": 10}


def cpufreq(*kilohertz: int, most: int = 3_000_000) -> dict[str, object]:
    """Cores with their clock now and the highest that they are allowed."""
    folder = "sys/devices/system/cpu/cpu{}/cpufreq/{}"
    return {
        **{folder.format(cpu, "scaling_cur_freq"): clock for cpu, clock in enumerate(kilohertz)},
        **{folder.format(cpu, "scaling_max_freq"): most for cpu in range(len(kilohertz))},
    }
