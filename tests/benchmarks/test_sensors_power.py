"""Readers of power and energy, on trees of files and a stand-in for NVML's module."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from edgeseg.benchmarks.sensors import nvml
from edgeseg.benchmarks.sensors.ina import open_ina238, open_ina3221, open_ina3221x
from edgeseg.benchmarks.sensors.rapl import open_rapl
from edgeseg.benchmarks.sensors.reading import Absent, Quantity, Reader
from sysfs_tree import ina3221, rapl, write_tree

ORIN_NANO = {1: ("VDD_IN", 5080, 1840), 2: ("VDD_CPU_GPU_CV", 5072, 360), 3: ("VDD_SOC", 5072, 420)}
RAPL_0 = "sys/class/powercap/intel-rapl:0/energy_uj"


def test_ina3221_rails_are_volts_by_amperes_under_their_labels(tmp_path: Path) -> None:
    reader = _opened(open_ina3221(write_tree(tmp_path, ina3221(2, ORIN_NANO))))
    assert reader.quantity is Quantity.POWER
    assert reader.read() == pytest.approx({"VDD_IN": 9.3472, "VDD_CPU_GPU_CV": 1.82592, "VDD_SOC": 2.13024})


def test_ina3221_leaves_out_what_is_no_rail(tmp_path: Path) -> None:
    tree = {
        **ina3221(3, {1: ("VDD_GPU_SOC", 10_000, 500), 2: ("NC", 0, 0), 3: ("OFF", 5000, 1000)}),
        **ina3221(4, {2: ("VDDQ_VDD2_1V8AO", 4968, 80)}),
        "sys/class/hwmon/hwmon3/in3_enable": 0,
        "sys/class/hwmon/hwmon3/in7_label": "sum of shunt voltages",
        "sys/class/hwmon/hwmon3/in7_input": 5,
        "sys/class/hwmon/hwmon3/in4_input": 40,
        "sys/class/hwmon/hwmon3/curr4_input": 1500,
        "sys/class/hwmon/hwmon5/name": "nvme",
        "sys/class/hwmon/hwmon5/in1_label": "other",
    }
    values = _opened(open_ina3221(write_tree(tmp_path, tree))).read()
    assert values == pytest.approx({"VDD_GPU_SOC": 5.0, "VDDQ_VDD2_1V8AO": 0.39744})


def test_a_rail_that_fails_later_is_left_out_and_not_zero(tmp_path: Path) -> None:
    reader = _opened(open_ina3221(write_tree(tmp_path, ina3221(0, ORIN_NANO))))
    (tmp_path / "sys/class/hwmon/hwmon0/curr1_input").unlink()
    assert set(reader.read()) == {"VDD_CPU_GPU_CV", "VDD_SOC"}


def test_ina238_gives_microwatts_under_the_boards_label(tmp_path: Path) -> None:
    chip = "sys/class/hwmon/hwmon1"
    tree = {f"{chip}/name": "ina238", f"{chip}/label": "VIN", f"{chip}/power1_input": 23_400_000}
    assert _opened(open_ina238(write_tree(tmp_path, tree))).read() == pytest.approx({"VIN": 23.4})
    (tmp_path / chip / "label").unlink()
    assert _opened(open_ina238(tmp_path)).read() == pytest.approx({"ina238": 23.4})


def test_jetpack_4_gives_milliwatts(tmp_path: Path) -> None:
    device = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    tree = {
        f"{device}/rail_name_0": "POM_5V_IN",
        f"{device}/in_power0_input": 2875,
        f"{device}/rail_name_1": "POM_5V_GPU",
        f"{device}/in_power1_input": 120,
        f"{device}/rail_name_2": "NC",
        f"{device}/in_power2_input": 0,
    }
    values = _opened(open_ina3221x(write_tree(tmp_path, tree))).read()
    assert values == pytest.approx({"POM_5V_IN": 2.875, "POM_5V_GPU": 0.12})


def test_rapl_counts_packages_once(tmp_path: Path) -> None:
    tree = {
        **rapl("intel-rapl:0", "package-0", 1_000_000),
        **rapl("intel-rapl:0:0", "core", 600_000),
        **rapl("intel-rapl:0:1", "dram", 300_000),
        **rapl("intel-rapl:1", "psys", 9_000_000),
        **rapl("intel-rapl:2", "package-1", 500_000),
        **rapl("intel-rapl-mmio:0", "package-0", 1_000_000),
    }
    reader = _opened(open_rapl(write_tree(tmp_path, tree)))
    assert reader.quantity is Quantity.ENERGY
    assert reader.read() == {"package-0": 0.0, "package-1": 0.0}
    (tmp_path / RAPL_0).write_text("4500000\n")
    assert reader.read() == pytest.approx({"package-0": 3.5, "package-1": 0.0})


def test_rapl_goes_on_where_the_counter_starts_again(tmp_path: Path) -> None:
    reader = _opened(
        open_rapl(write_tree(tmp_path, rapl("intel-rapl:0", "package-0", 9_000_000, 10_000_000)))
    )
    for counter, joules in ((9_500_000, 0.5), (1_500_000, 2.5), (2_500_000, 3.5), (0, 11.0)):
        (tmp_path / RAPL_0).write_text(f"{counter}\n")
        assert reader.read() == pytest.approx({"package-0": joules})


def test_rapl_of_unknown_range_does_not_invent_energy(tmp_path: Path) -> None:
    write_tree(tmp_path, rapl("intel-rapl:0", "package-0", 9_000_000))
    (tmp_path / "sys/class/powercap/intel-rapl:0/max_energy_range_uj").unlink()
    reader = _opened(open_rapl(tmp_path))
    (tmp_path / RAPL_0).write_text("1000000\n")
    assert reader.read()["package-0"] != reader.read()["package-0"], "NaN"


def test_a_counter_that_only_root_may_read_is_absent_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tree(tmp_path, rapl("intel-rapl:0", "package-0", 1))
    real = Path.read_text

    # By hand and not by chmod: the tests may run as root, who may read everything.
    def refuse(path: Path, *arguments: Any, **options: Any) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    found = open_rapl(tmp_path)
    assert isinstance(found, Absent)
    assert "permission denied" in found.reason
    assert "intel-rapl:0/energy_uj" in found.reason


def test_a_file_without_a_number_is_absent_and_shown(tmp_path: Path) -> None:
    found = open_rapl(write_tree(tmp_path, rapl("intel-rapl:0", "package-0", 1) | {RAPL_0: "busy"}))
    assert isinstance(found, Absent)
    assert "'busy'" in found.reason


def test_nvml_prefers_the_energy_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = _fake_nvml(monkeypatch)
    reader = _opened(nvml.open_power())
    assert reader.quantity is Quantity.ENERGY
    assert reader.read() == {"GPU 0 (H100)": 1234.5}
    gpu.energy = None
    reader = _opened(nvml.open_power())
    assert reader.quantity is Quantity.POWER
    assert reader.read() == {"GPU 0 (H100)": 98.7}


def test_nvml_gives_clock_temperature_and_what_slows_down(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_nvml(monkeypatch).reasons = 0x1 | 0x40
    assert _opened(nvml.open_clock()).read() == {"GPU 0 (H100)": 1980.0}
    assert _opened(nvml.open_temperature()).read() == {"GPU 0 (H100)": 41.0}
    slow = _opened(nvml.open_slowdown()).read()
    assert {name for name, value in slow.items() if value} == {"GPU 0 (H100) thermal slowdown in hardware"}
    assert "GPU 0 (H100) power cap" in slow


def test_nvml_that_fails_later_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = _fake_nvml(monkeypatch)
    reader = _opened(nvml.open_power())
    gpu.energy = None
    assert reader.read() == {}


def test_without_nvml_the_reason_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_nvml(monkeypatch).broken = "Driver Not Loaded"
    assert nvml.open_power() == Absent("NVML: Driver Not Loaded")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.open_power() == Absent("the package nvidia-ml-py is not installed")


def test_nvml_does_not_answer_for_another_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _fake_nvml(monkeypatch)
    assert isinstance(nvml.open_power(tmp_path), Absent)


def _opened(found: Reader | Absent) -> Reader:
    assert not isinstance(found, Absent), found
    return found


def _fake_nvml(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A module with one GPU, whose state is what is returned; ``None`` is what it does not give."""
    state = SimpleNamespace(energy=1_234_500, power=98_700, reasons=0, broken="")
    module: Any = ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def given(value: Any) -> Any:
        if value is None:
            raise NVMLError("Not Supported")
        return value

    def start() -> None:
        if state.broken:
            raise NVMLError(state.broken)

    module.NVMLError = NVMLError
    module.NVML_CLOCK_SM, module.NVML_TEMPERATURE_GPU = 1, 0
    module.nvmlInit = start
    module.nvmlDeviceGetCount = lambda: 1
    module.nvmlDeviceGetHandleByIndex = lambda index: f"handle {index}"
    module.nvmlDeviceGetName = lambda handle: b"H100"
    module.nvmlDeviceGetTotalEnergyConsumption = lambda handle: given(state.energy)
    module.nvmlDeviceGetPowerUsage = lambda handle: given(state.power)
    module.nvmlDeviceGetClockInfo = lambda handle, kind: {1: 1980}[kind]
    module.nvmlDeviceGetTemperature = lambda handle, kind: {0: 41}[kind]
    module.nvmlDeviceGetCurrentClocksEventReasons = lambda handle: state.reasons
    monkeypatch.setitem(sys.modules, "pynvml", module)
    return state
