"""Sampling, energy, throttling and time: from recordings whose numbers are counted by hand."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from edgeseg.benchmarks.sensors import Quantity, Recording, Sampler, Sensors, open_sensors, sensor_report
from edgeseg.benchmarks.sensors.energy import find_supply
from edgeseg.benchmarks.sensors.reading import FileReader
from edgeseg.benchmarks.sensors.sampler import Clocks, Track
from edgeseg.benchmarks.sensors.throttling import find_throttling
from edgeseg.benchmarks.sensors.timekeeping import time_problems
from sysfs_tree import cooling, cpufreq, ina3221, write_tree

SECOND = 1_000_000_000
NAN = float("nan")
NOTHING = Sensors({}, {})


def test_energy_of_power_is_its_area() -> None:
    supply = find_supply(_recording(_watts("VDD_IN", 10, 10, 20, 20, 20)))
    assert supply is not None
    # 10 + 15 + 20 + 20, by trapezoids.
    assert supply.joules_in([(0, 4 * SECOND)]) == pytest.approx(65)
    assert supply.joules_in([(0, SECOND), (2 * SECOND, 3 * SECOND)]) == pytest.approx(30)
    assert supply.watts_in([(2 * SECOND, 4 * SECOND)]) == pytest.approx(20)


def test_energy_per_frame_with_and_without_idle() -> None:
    recording = _recording(_watts("VDD_IN", 10, 10, 20, 20, 20))
    report = sensor_report(
        recording, [(2 * SECOND, 4 * SECOND)], frames=50, sensors=NOTHING, idle=[(0, SECOND)]
    )
    assert report.power is not None
    assert report.power.joules_per_frame == pytest.approx(40 / 50)
    assert report.power.idle_watts == pytest.approx(10)
    assert report.power.joules_per_frame_above_idle == pytest.approx((40 - 20) / 50)
    assert report.power.scope.startswith("the whole module: VDD_IN")


def test_without_an_idle_time_nothing_is_said_above_it() -> None:
    report = sensor_report(_recording(_watts("VDD_IN", *[5] * 4)), [(0, 3 * SECOND)], 10, NOTHING)
    assert report.power is not None
    assert report.power.joules_per_frame_above_idle is None
    assert report.to_dict()["power"]["idle_watts"] == "not measured"


def test_a_counters_energy_is_its_difference() -> None:
    packages = [_track("rapl", f"package-{i}", Quantity.ENERGY, 0, 30 + i, 60, 90) for i in (0, 1)]
    supply = find_supply(_recording(*packages))
    assert supply is not None
    assert supply.joules_in([(SECOND, 3 * SECOND)]) == pytest.approx(60 + 59)
    assert "package-0 + package-1 (rapl)" in supply.scope


def test_the_rail_that_supplies_the_rest_counts_alone() -> None:
    rails = _recording(_watts("VDD_IN", 10, 10), _watts("VDD_SOC", 3, 3), _watts("VDD_CPU_GPU_CV", 5, 5))
    assert _watts_of(rails) == pytest.approx(10)
    module_and_board = _recording(_watts("VIN", 30, 30), _watts("VDD_IN", 10, 10))
    assert _watts_of(module_and_board) == pytest.approx(10)


def test_rails_behind_another_do_not_count_twice() -> None:
    orin = {"VDD_GPU_SOC": 4.0, "VDD_CPU_CV": 3.0, "VIN_SYS_5V0": 5.0, "VDDQ_VDD2_1V8AO": 1.0}
    assert _watts_of(_recording(*(_watts(name, v, v) for name, v in orin.items()))) == pytest.approx(12)


def test_a_jetsons_gpu_counts_once_and_a_pcs_beside_the_processor() -> None:
    gpu = _track("nvml", "GPU 0", Quantity.POWER, 50, 50)
    assert _watts_of(_recording(_watts("VDD_GPU", 40, 40), gpu)) == pytest.approx(40)
    package = _track("rapl", "package-0", Quantity.ENERGY, 0, 15)
    assert _watts_of(_recording(package, gpu)) == pytest.approx(65)


def test_a_part_that_could_not_be_read_leaves_no_sum() -> None:
    gone = _track("rapl", "package-1", Quantity.ENERGY, 0, NAN, NAN)
    there = _track("rapl", "package-0", Quantity.ENERGY, 0, 10, 20)
    assert find_supply(_recording(there)) is not None
    assert find_supply(_recording(there, gone)) is None
    assert find_supply(_recording()) is None


def test_a_sensor_that_stopped_gives_no_energy_after() -> None:
    recording = _recording(_watts("VDD_IN", 10, 10, 10, NAN, NAN, NAN))
    supply = find_supply(recording)
    assert supply is not None
    assert np.isnan(supply.watts_in([(3 * SECOND, 5 * SECOND)]))
    assert sensor_report(recording, [(3 * SECOND, 5 * SECOND)], 10, NOTHING).power is None
    # Half of it was seen: its power stands for the rest.
    assert supply.joules_in([(SECOND, 3 * SECOND)]) == pytest.approx(20)


def test_a_quiet_machine_is_not_throttled() -> None:
    verdict = find_throttling(
        _recording(
            _clock(*[3000] * 9, *[2800] * 31),
            _track("thermal_throttle", "cpu0 core", Quantity.EVENTS, *[7] * 40),
            _track("cooling device", "Processor", Quantity.COOLING, *[0] * 40),
            _track("cooling device", "intel_powerclamp", Quantity.COOLING, *[-1] * 40),
            _track("cpufreq limit", "cpu0", Quantity.CPU_CLOCK_LIMIT, *[3000] * 40),
        )
    )
    assert verdict.throttled is False
    assert len(verdict.watched) == 4


@pytest.mark.parametrize(
    ("track", "sign"),
    [
        ("counter", "cpu0 core by 3"),
        ("cooling", "cooling device: cpufreq-cpu0"),
        ("cooling from the start", "gpu-throttle-alert from the start"),
        ("limit", "cpu0 from 3000 to 2400 MHz"),
        ("clock", "fell from 3000 to 2500 MHz, below 90 %"),
    ],
)
def test_each_sign_of_throttling_marks_a_run(track: str, sign: str) -> None:
    tracks = {
        "counter": _track("thermal_throttle", "cpu0 core", Quantity.EVENTS, *[7] * 10, *[10] * 10),
        "cooling": _track("cooling device", "cpufreq-cpu0", Quantity.COOLING, *[0] * 15, 2, *[0] * 4),
        "cooling from the start": _track("cooling device", "gpu-throttle-alert", Quantity.COOLING, *[1] * 20),
        "limit": _track("cpufreq limit", "cpu0", Quantity.CPU_CLOCK_LIMIT, *[3000] * 9, 2400, *[3000] * 10),
        "clock": _clock(*[3000] * 10, *[2500] * 14, *[3000] * 16),
    }
    recording = _recording(tracks[track])
    verdict = find_throttling(recording)
    assert verdict.throttled is True
    assert sign in verdict.signs[0]
    report = sensor_report(recording, [(SECOND, 38 * SECOND)], 10, NOTHING)
    assert report.marks[0].startswith("throttled: ")
    assert report.to_dict()["throttled"] is True


def test_one_slow_sample_is_no_throttling() -> None:
    assert find_throttling(_recording(_clock(*[3000] * 15, 800, *[3000] * 14))).throttled is False


def test_the_clocks_ends_are_tenths_and_its_bounds_are_samples() -> None:
    recording = _recording(_clock(100, *[3000] * 14, *[2900] * 14, 50))
    clock = sensor_report(recording, [(0, 29 * SECOND)], 10, NOTHING).cpu_clock
    assert clock is not None
    assert (clock.first, clock.last, clock.lowest, clock.highest) == (3000, 2900, 50, 3000)


def test_too_few_clocks_decide_nothing() -> None:
    assert find_throttling(_recording(_clock(*[3000] * 15, *[800] * 14))).throttled is None
    assert find_throttling(_recording(_clock(*[3000] * 15, *[800] * 15))).throttled is True


def test_what_happened_before_a_run_is_not_its_own() -> None:
    recording = _recording(_track("thermal_throttle", "cpu0 core", Quantity.EVENTS, 1, 5, 5, 5, 5))
    report = sensor_report(recording, [(2 * SECOND, 4 * SECOND)], 10, NOTHING)
    assert report.throttling.throttled is False
    whole = sensor_report(recording, [(SECOND, 4 * SECOND)], 10, NOTHING)
    assert whole.throttling.throttled is True


def test_where_nothing_can_be_read_nothing_is_claimed(tmp_path: Path) -> None:
    sensors = open_sensors(tmp_path)
    with Sampler(sensors, 0.01) as sampler:
        time.sleep(0.03)
    recording = sampler.recording()
    window = int(recording.times_ns[0]), int(recording.times_ns[-1])
    values = sensor_report(recording, [window], 10, sensors).to_dict()
    for key in ("power", "cpu_clock_mhz", "gpu_clock_mhz", "temperature_c", "throttled"):
        assert values[key] == "not measured"
    assert set(values["why_not_measured"]) == {"power", "clock", "temperature", "throttling"}
    assert "no RAPL" in values["why_not_measured"]["power"]
    assert values["marks"] == []
    json.dumps(values, allow_nan=False)


def test_steady_clocks_have_no_problem() -> None:
    assert time_problems(_recording(_clock(*[1] * 20))) == ()


def test_a_wall_clock_that_jumped_is_said_with_its_size() -> None:
    recording = _recording(_clock(*[1] * 4), wall=[0, 1, 3602, 3603])
    assert time_problems(recording) == ("the wall clock jumped by +3600.000 s against the monotonic one",)
    back = _recording(_clock(*[1] * 4), wall=[0, 1, -5, -4])
    assert "by -7.000 s" in time_problems(back)[0]


def test_a_monotonic_clock_that_went_back_marks_the_run() -> None:
    recording = _recording(_clock(*[1] * 4), times=[0, 1, 0.5, 1.5], wall=[0, 1, 2, 3])
    assert time_problems(recording) == ("the monotonic clock went back by 0.500 s",)
    report = sensor_report(recording, [(0, 2 * SECOND)], 10, NOTHING)
    assert report.marks == ("the monotonic clock went back by 0.500 s",)


def test_a_machine_that_slept_is_noticed() -> None:
    recording = _recording(_clock(*[1] * 3), times=[0, 1, 31], wall=[0, 1, 31])
    assert "no sensor was read for 30.0 s" in time_problems(recording)[0]


def test_the_sampler_reads_files_as_they_change(tmp_path: Path) -> None:
    write_tree(tmp_path, {**ina3221(0, {1: ("VDD_IN", 5000, 1000)}), **cooling(0, "cpufreq-cpu0", 0)})
    current = tmp_path / "sys/class/hwmon/hwmon0/curr1_input"
    with Sampler(open_sensors(tmp_path), 0.01) as sampler:
        assert sampler.latest(Quantity.POWER) == {"ina3221: VDD_IN": 5.0}
        _wait_for_samples(sampler, 5)
        current.unlink()
        _wait_for_samples(sampler, 5)
        current.write_text("3000\n")
        _wait_for_samples(sampler, 5)
    recording = sampler.recording()
    [power] = recording.of(Quantity.POWER)
    assert power.values[0] == 5.0
    assert power.values[-1] == 15.0
    assert np.isnan(power.values).any()
    assert not (power.values == 0).any()
    assert (np.diff(recording.times_ns) > 0).all()
    assert 0 < recording.cpu_share < 0.5
    assert not time_problems(recording)


def test_the_sampler_notices_its_clocks(tmp_path: Path) -> None:
    ahead = [0]
    clocks = Clocks(wall_ns=lambda: time.time_ns() + ahead[0])
    with Sampler(open_sensors(tmp_path), 0.01, clocks) as sampler:
        _wait_for_samples(sampler, 3)
        ahead[0] = -7200 * SECOND
        _wait_for_samples(sampler, 3)
    [problem] = time_problems(sampler.recording())
    assert "jumped by -7200." in problem


def test_a_reader_that_breaks_is_not_kept_quiet() -> None:
    class Broken(FileReader):
        def read(self) -> dict[str, float]:
            reads.append(1)
            if len(reads) == 2:
                raise ZeroDivisionError
            return {}

    reads: list[int] = []
    reader = Broken("broken", Quantity.POWER, {})
    with pytest.raises(ZeroDivisionError), Sampler(Sensors({"broken": reader}, {}), 0.01):
        time.sleep(0.3)


def test_a_part_of_a_recording_has_its_neighbours() -> None:
    part = _recording(_clock(*range(10))).between(3 * SECOND, 5 * SECOND)
    assert list(part.tracks[0].values) == [2, 3, 4, 5, 6]
    whole = _recording(_clock(*range(10))).between(-SECOND, 99 * SECOND)
    assert len(whole.tracks[0].values) == 10


def test_the_clock_is_sampled_as_a_track(tmp_path: Path) -> None:
    stat = "cpu0 {} 0 0 9 0 0 0 0"
    write_tree(tmp_path, {**cpufreq(2_000_000), "proc/stat": stat.format(1)})
    with Sampler(open_sensors(tmp_path), 0.01) as sampler:
        write_tree(tmp_path, {"proc/stat": stat.format(50)})
        _wait_for_samples(sampler, 3)
    recording = sampler.recording()
    [clock], [limit] = recording.of(Quantity.CPU_CLOCK), recording.of(Quantity.CPU_CLOCK_LIMIT)
    assert np.nanmax(clock.values) == np.nanmin(clock.values) == 2000
    assert set(limit.values) == {3000}


def _wait_for_samples(sampler: Sampler, count: int) -> None:
    wanted = len(sampler.recording().times_ns) + count
    deadline = time.monotonic() + 20
    while len(sampler.recording().times_ns) < wanted:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def _recording(
    *tracks: Track, times: list[float] | None = None, wall: list[float] | None = None
) -> Recording:
    """A sample each second, unless ``times`` and ``wall`` say otherwise."""
    count = len(tracks[0].values) if tracks else 3
    seconds = np.array(times if times is not None else range(count))
    walls = np.array(wall) if wall is not None else seconds
    return Recording(
        (seconds * SECOND).astype(np.int64), (walls * SECOND).astype(np.int64), tracks, 1.0, 0.001
    )


def _track(source: str, channel: str, quantity: Quantity, *values: float) -> Track:
    return Track(source, channel, quantity, np.array(values, np.float64))


def _watts(channel: str, *values: float) -> Track:
    return _track("ina3221", channel, Quantity.POWER, *values)


def _clock(*values: float) -> Track:
    return _track("cpufreq", "cpu", Quantity.CPU_CLOCK, *values)


def _watts_of(recording: Recording) -> float:
    supply = find_supply(recording)
    assert supply is not None
    return supply.watts_in([(0, SECOND)])
