"""Readers of clocks, temperatures and throttling, and what a whole machine gives, on trees of files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edgeseg.benchmarks.sensors import SENSORS, Subject, open_sensors
from edgeseg.benchmarks.sensors.clock import open_cpu_clock, open_cpu_clock_limit, open_gpu_clock
from edgeseg.benchmarks.sensors.reading import Absent, Reader
from edgeseg.benchmarks.sensors.thermal import open_cpu_chips, open_zones
from edgeseg.benchmarks.sensors.throttle import open_cooling, open_jetson_overcurrent, open_x86_counts
from sysfs_tree import PROC_STAT, cooling, cpufreq, ina3221, rapl, write_tree


def test_the_clock_is_that_of_the_cores_that_worked(tmp_path: Path) -> None:
    write_tree(tmp_path, {**cpufreq(2_800_000, 800_000), "proc/stat": PROC_STAT.format(100)})
    reader = _opened(open_cpu_clock(tmp_path))
    assert reader.read() == {}, "nothing ran since it was opened"
    write_tree(tmp_path, {"proc/stat": PROC_STAT.format(160)})
    assert reader.read() == {"cpu": 2800.0}, "the idle core's 800 MHz do not count"
    stat = "cpu0 190 0 0 450 0 0 0 0\ncpu1 0 0 10 450 0 0 0 0"
    write_tree(tmp_path, {"proc/stat": stat})
    assert reader.read() == {"cpu": pytest.approx((30 * 2800 + 10 * 800) / 40)}


def test_time_that_a_core_waited_or_was_stolen_is_no_work(tmp_path: Path) -> None:
    write_tree(tmp_path, {**cpufreq(1_000_000), "proc/stat": "cpu0 5 0 0 10 10 0 0 10"})
    reader = _opened(open_cpu_clock(tmp_path))
    write_tree(tmp_path, {"proc/stat": "cpu0 5 0 0 99 99 0 0 99"})
    assert reader.read() == {}


def test_without_cpufreq_no_clock_is_made_up(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/stat": PROC_STAT.format(1), "proc/cpuinfo": "cpu MHz : 2600.000"})
    for found in (open_cpu_clock(tmp_path), open_cpu_clock_limit(tmp_path)):
        assert isinstance(found, Absent)
        assert "cpufreq" in found.reason


def test_the_gpu_is_found_among_the_devices_with_a_clock(tmp_path: Path) -> None:
    devfreq = "sys/class/devfreq"
    tree = {f"{devfreq}/17000000.gpu/cur_freq": 918_000_000, f"{devfreq}/15340000.vic/cur_freq": 115_200_000}
    assert _opened(open_gpu_clock(write_tree(tmp_path, tree))).read() == {"17000000.gpu": 918.0}


def test_zones_that_are_off_or_fixed_are_left_out(tmp_path: Path) -> None:
    zones = [("cpu-thermal", 48_500), ("cv0-thermal", -256_000), ("PMIC-Die", 100_000), ("acpitz", 27_800)]
    zones.append(("acpitz", 30_000))
    folder = "sys/class/thermal/thermal_zone{}/{}"
    tree = {folder.format(i, "type"): kind for i, (kind, _) in enumerate(zones)}
    tree |= {folder.format(i, "temp"): str(value) for i, (_, value) in enumerate(zones)}
    reader = _opened(open_zones(write_tree(tmp_path, tree)))
    assert reader.read() == {"cpu-thermal": 48.5, "acpitz 1": 27.8, "acpitz 2": 30.0}
    write_tree(tmp_path, {folder.format(1, "temp"): 50_250})
    assert reader.read()["cv0-thermal"] == 50.25


@pytest.mark.parametrize(
    ("chip", "label", "channel"),
    [
        ("coretemp", "Package id 0", "coretemp Package id 0"),
        ("k10temp", "Tctl", "k10temp Tctl"),
        ("k10temp", None, "k10temp temp1_input"),
    ],
)
def test_processor_sensors_keep_their_label(
    tmp_path: Path, chip: str, label: str | None, channel: str
) -> None:
    folder = "sys/class/hwmon/hwmon0"
    tree: dict[str, object] = {f"{folder}/name": chip, f"{folder}/temp1_input": 61_000}
    if label:
        tree[f"{folder}/temp1_label"] = label
    assert _opened(open_cpu_chips(write_tree(tmp_path, tree))).read() == {channel: 61.0}


def test_a_disk_is_no_processor(tmp_path: Path) -> None:
    tree = {"sys/class/hwmon/hwmon0/name": "nvme", "sys/class/hwmon/hwmon0/temp1_input": 40_000}
    assert isinstance(open_cpu_chips(write_tree(tmp_path, tree)), Absent)


def test_throttle_counters_of_x86_and_jetson(tmp_path: Path) -> None:
    counts = "sys/devices/system/cpu/cpu{}/thermal_throttle/{}_throttle_count"
    soctherm = "sys/class/hwmon/hwmon3"
    tree = {
        counts.format(0, "core"): 4,
        counts.format(0, "package"): 7,
        counts.format(10, "core"): 0,
        f"{soctherm}/name": "soctherm_oc",
        f"{soctherm}/oc1_event_cnt": 0,
        f"{soctherm}/oc3_event_cnt": 37,
        f"{soctherm}/oc3_throt_en": 1,
    }
    write_tree(tmp_path, tree)
    assert _opened(open_x86_counts(tmp_path)).read() == {"cpu0 core": 4, "cpu0 package": 7, "cpu10 core": 0}
    assert _opened(open_jetson_overcurrent(tmp_path)).read() == {"oc1": 0, "oc3": 37}


def test_fans_and_screens_are_no_throttling(tmp_path: Path) -> None:
    kinds = ("pwm-fan", "Processor", "cpufreq-cpu0", "devfreq-17000000.gpu", "cpu-throttle-alert", "LCD")
    tree = {k: v for i, kind in enumerate(kinds) for k, v in cooling(i, kind, i).items()}
    states = _opened(open_cooling(write_tree(tmp_path, tree))).read()
    assert states == {"Processor": 1, "cpufreq-cpu0": 2, "devfreq-17000000.gpu": 3, "cpu-throttle-alert": 4}


def test_a_machine_without_sensors_gives_reasons_and_no_reader(tmp_path: Path) -> None:
    sensors = open_sensors(tmp_path)
    assert not sensors.readers
    assert set(sensors.absent) == set(SENSORS)
    for subject in Subject:
        assert sensors.why_not(subject)
    assert "RAPL: no RAPL energy counter" in sensors.why_not(Subject.POWER)


def test_a_machine_with_some_sensors(tmp_path: Path) -> None:
    write_tree(tmp_path, {**ina3221(1, {1: ("VDD_IN", 5000, 2000)}), **cooling(0, "pwm-fan", 1)})
    sensors = open_sensors(tmp_path)
    assert set(sensors.readers) == {"INA3221"}
    assert sensors.why_not(Subject.POWER) == ""
    assert "no cooling device that slows" in sensors.why_not(Subject.THROTTLING)


def test_nothing_is_imported_or_read_beside_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    sensors = open_sensors(write_tree(tmp_path, rapl("intel-rapl:0", "package-0", 5)))
    assert set(sensors.readers) == {"RAPL"}
    assert open_sensors().absent["NVML"] == "the package nvidia-ml-py is not installed"


def _opened(found: Reader | Absent) -> Reader:
    assert not isinstance(found, Absent), found
    return found
