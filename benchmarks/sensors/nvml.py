"""NVIDIA GPUs through NVML: energy, clock, temperature and what holds the clock down.

Through the module ``pynvml`` of the package ``nvidia-ml-py``, where it is installed; nothing needs it. Every
GPU of the machine is read, also one that the run does not use.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.benchmarks.sensors.reading import Absent, Quantity, Reader

_SLOWDOWNS = {
    "power cap": 0x04,
    "hardware slowdown": 0x08,
    "thermal slowdown in software": 0x20,
    "thermal slowdown in hardware": 0x40,
    "power brake": 0x80,
}
"""Bits of NVML's clock event reasons that hold a clock down. Idling, and clocks set by the user, do not."""

Query = Callable[[Any], Mapping[str, float]]


@dataclass(frozen=True)
class NvmlReader:
    """One query, asked of every GPU.

    Args:
        devices: Name to NVML's handle.
        query: A handle to values; the key is put behind the GPU's name.
        failure: NVML's exception.
    """

    source: str
    quantity: Quantity
    devices: Mapping[str, Any]
    query: Query
    failure: type[Exception]

    def read(self) -> dict[str, float]:
        values = {}
        for name, handle in self.devices.items():
            try:
                found = self.query(handle)
            except self.failure:
                continue
            values.update({f"{name} {key}".strip(): value for key, value in found.items()})
        return values


def open_power(root: Path = Path("/")) -> Reader | Absent:
    """The energy counter, from Volta on; before, the power, which some drivers average over a second."""

    def energy(nvml: Any) -> Query:
        return lambda handle: {"": nvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3}

    def power(nvml: Any) -> Query:
        return lambda handle: {"": nvml.nvmlDeviceGetPowerUsage(handle) / 1e3}

    counter = _open(root, Quantity.ENERGY, energy, "energy counter")
    return _open(root, Quantity.POWER, power, "power") if isinstance(counter, Absent) else counter


def open_clock(root: Path = Path("/")) -> Reader | Absent:
    """The clock of the multiprocessors."""
    return _open(
        root,
        Quantity.GPU_CLOCK,
        lambda nvml: lambda handle: {"": float(nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM))},
        "clock",
    )


def open_temperature(root: Path = Path("/")) -> Reader | Absent:
    """The GPU's own temperature, not its memory's."""
    return _open(
        root,
        Quantity.TEMPERATURE,
        lambda nvml: (
            lambda handle: {"": float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU))}
        ),
        "temperature",
    )


def open_slowdown(root: Path = Path("/")) -> Reader | Absent:
    """What holds the clock down now: 1 for each reason that does, else 0."""

    def slowdowns(nvml: Any) -> Query:
        # Renamed in 2023; older packages know the older name alone.
        ask = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
        ask = ask or nvml.nvmlDeviceGetCurrentClocksThrottleReasons

        def query(handle: Any) -> dict[str, float]:
            reasons = ask(handle)
            return {name: float(bool(reasons & bit)) for name, bit in _SLOWDOWNS.items()}

        return query

    return _open(root, Quantity.COOLING, slowdowns, "clock event reasons")


def _open(root: Path, quantity: Quantity, query: Callable[[Any], Query], what: str) -> Reader | Absent:
    # A fixture's tree has no GPU in it: the library would answer for this machine.
    if root != Path("/"):
        return Absent("NVML knows this machine alone, and another root was named")
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return Absent("the package nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
        handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
        devices = {f"GPU {i} ({_name(nvml, handle)})": handle for i, handle in enumerate(handles)}
    except nvml.NVMLError as error:
        return Absent(f"NVML: {error}")
    if not devices:
        return Absent("NVML finds no GPU")
    reader = NvmlReader("nvml", quantity, devices, query(nvml), nvml.NVMLError)
    return reader if reader.read() else Absent(f"no GPU gives its {what}")


def _name(nvml: Any, handle: Any) -> str:
    name = nvml.nvmlDeviceGetName(handle)
    return name.decode() if isinstance(name, bytes) else str(name)
