"""Minutes of load, made short: a scripted worker on a tree of files, and a real one on a toy bundle."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import toys
from edgeseg.benchmarks.contenders import contenders_of
from edgeseg.benchmarks.frames import frames_from_images
from edgeseg.benchmarks.protocol import Round
from edgeseg.benchmarks.sensors import open_sensors
from edgeseg.benchmarks.sustained import RoundWorker, SustainedOptions, run_sustained
from edgeseg.benchmarks.sustained_markdown import HEADER, sustained_markdown, sustained_rows
from edgeseg.benchmarks.sustained_plot import plot_sustained
from edgeseg.benchmarks.sustained_results import Chunk, Sustained
from edgeseg.benchmarks.worker_process import Worker
from edgeseg.errors import InferenceError, UsageError
from sysfs_tree import PROC_STAT, cooling, cpufreq, ina3221, write_tree

FRAME_S = 0.01
LONG = SustainedOptions(minutes=1.2 / 60, warmup=2, idle_seconds=0.4, rest_seconds=0.4, period_s=0.03)
SHORT = replace(LONG, minutes=0.4 / 60, idle_seconds=0.0)


class ScriptedWorker:
    """Takes ``FRAME_S`` a frame; 20 W while it works, where the machine at rest takes 10.

    Args:
        hot: Also heats the machine, so that it slows down.
        dies: After so many answers.
        lies: Gives times that cannot be.
    """

    def __init__(self, root: Path, *, hot: bool = False, dies: int = 99, lies: float = 1.0) -> None:
        self._root, self._hot, self._dies, self._lies = root, hot, dies, lies
        self.asked: list[Round] = []

    def ask(self, message: Round) -> Any:
        self.asked.append(message)
        if len(self.asked) > self._dies:
            raise InferenceError("toy", expected="to finish", found="it ended with code -9", next_step="-")
        write_tree(self._root, _machine(milliamperes=4000, hot=self._hot, ticks=100 * len(self.asked)))
        time.sleep(FRAME_S * (message.warmup + message.frames))
        write_tree(self._root, _machine(milliamperes=2000, hot=self._hot, ticks=100 * len(self.asked) + 50))
        times = np.full((message.frames, 5), FRAME_S * 1000 * self._lies)
        times[0, 4] *= 0.9  # so that percentiles differ
        return times


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "machine", _machine(milliamperes=2000, hot=False, ticks=1))


def test_curves_power_and_energy_of_a_run(machine: Path) -> None:
    worker = ScriptedWorker(machine)
    seen: list[tuple[int, int]] = []
    sustained = run_sustained(
        {"toy": worker}, LONG, open_sensors(machine), lambda *progress: seen.append(progress)
    )
    [run] = sustained.runs
    assert worker.asked[0].warmup == 2
    assert all(asked.warmup == 0 for asked in worker.asked[1:])
    assert run.frames == sum(asked.frames for asked in worker.asked[1:])
    assert 1.15 < run.seconds < 5
    assert run.total.p50 == pytest.approx(10)
    assert seen[-1] == (1, 1)

    power = run.sensed.power
    assert power is not None
    # A busy machine reads late, so a little of one falls into the other.
    assert power.idle_watts is not None
    assert 10 <= power.idle_watts < power.watts <= 20
    assert power.watts > 14
    frame_s = run.seconds / run.frames
    assert power.joules_per_frame == pytest.approx(power.watts * frame_s)
    assert power.joules_per_frame_above_idle == pytest.approx((power.watts - power.idle_watts) * frame_s)

    curve = run.curve
    assert len(curve.seconds) == len(run.chunks) == len(curve.watts) == len(curve.p99_ms)
    assert curve.seconds[0] > 0
    assert (np.diff(curve.seconds) > 0).all()
    # A sample at the edge of a chunk may still be of the idle machine.
    assert 15 < max(curve.watts) < 20.001
    assert curve.temperature_c["thermal zone: cpu-thermal"][0] == pytest.approx(50)
    assert np.nanmedian(curve.cpu_clock_mhz) == pytest.approx(2800)
    assert run.marks == ()
    assert run.sensed.throttling.throttled is False


def test_a_run_that_throttled_is_marked_everywhere(machine: Path, tmp_path: Path) -> None:
    sustained = _run({"toy": ScriptedWorker(machine, hot=True)}, machine)
    assert any("cpufreq-cpu0" in mark for mark in sustained.runs[0].marks)
    values = json.loads(json.dumps(sustained.to_dict(), allow_nan=False))
    assert values["runs"][0]["throttled"] is True
    assert sustained_rows(sustained)[0][-1] == "**yes**"
    text = sustained_markdown(sustained)
    assert "**toy: throttled: slowed down to cool" in text
    assert "toy: throttling judged by states of cooling device" in text


def test_several_run_one_after_another_with_a_rest_between(machine: Path) -> None:
    first, second = ScriptedWorker(machine), ScriptedWorker(machine)
    sustained = _run({"a": first, "b": second}, machine)
    a, b = sustained.runs
    assert a.chunks[-1].end_ns < b.chunks[0].start_ns
    assert a.rest.seconds == 0
    assert b.rest.ended.startswith("as cool as before")
    assert b.rest.seconds < SHORT.rest_seconds
    text = sustained_markdown(sustained)
    assert "One bundle after another" in text
    assert "b: rested" in text


def test_a_machine_that_stays_warm_is_said_to_be(machine: Path) -> None:
    sustained = _run({"a": ScriptedWorker(machine, hot=True), "b": ScriptedWorker(machine)}, machine)
    assert sustained.runs[1].rest.ended == "not as cool as before the first"
    assert sustained.runs[1].rest.seconds == SHORT.rest_seconds


def test_no_rest_is_longer_than_the_load_before_it(tmp_path: Path) -> None:
    workers: dict[str, RoundWorker] = {name: ScriptedWorker(tmp_path / "elsewhere") for name in ("a", "b")}
    options = replace(SHORT, rest_seconds=180.0)
    sustained = run_sustained(workers, options, open_sensors(tmp_path / "empty"))
    assert sustained.runs[1].rest.seconds == pytest.approx(0.4)
    assert "for at most 0.4 s" in sustained_markdown(sustained)


def test_a_machine_without_sensors_still_gives_its_latency(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    workers = {name: ScriptedWorker(tmp_path / "elsewhere") for name in ("a", "b")}
    sustained = _run(workers, empty)
    assert sustained.runs[1].rest.ended == "temperature not measured"
    row = dict(zip(HEADER, sustained_rows(sustained)[0], strict=True))
    for column in ("CPU MHz, first to last", "°C, first to highest", "W", "J per frame", "throttled"):
        assert row[column] == "not measured"
    text = sustained_markdown(sustained)
    assert "a: power not measured (INA3221: no INA3221 power monitor" in text
    values = sustained.to_dict()["runs"][0]
    assert values["throttled"] == "not measured"
    assert set(values["curve"]["watts"]) == {None}
    json.dumps(values, allow_nan=False)


def test_a_worker_that_dies_minutes_in_leaves_what_it_had(machine: Path) -> None:
    options = replace(SHORT, minutes=2.4 / 60)
    sustained = run_sustained({"toy": ScriptedWorker(machine, dies=2)}, options, open_sensors(machine))
    [run] = sustained.runs
    assert run.frames > 0
    assert re.match(r"ended after \d+ s: it ended with code -9", run.marks[0])
    with pytest.raises(InferenceError):
        run_sustained({"toy": ScriptedWorker(machine, dies=1)}, options, open_sensors(machine))


def test_one_that_dies_at_once_does_not_take_the_others_minutes(machine: Path) -> None:
    kept: list[Sustained] = []
    workers = {
        "dead": ScriptedWorker(machine, dies=0),
        "toy": ScriptedWorker(machine),
        "gone": ScriptedWorker(machine, dies=1),
    }
    sustained = run_sustained(workers, SHORT, open_sensors(machine), on_partial=kept.append)
    assert [run.name for run in sustained.runs] == ["toy"]
    assert sustained.failures == dict.fromkeys(("dead", "gone"), "it ended with code -9")
    assert "gone, sustained: nothing was measured: it ended with code -9" in sustained.marks
    assert "- dead: nothing was measured" in sustained_markdown(sustained)
    assert sustained.to_dict()["ended"] == sustained.failures
    [before] = kept
    assert (before.runs[0].frames, list(before.ended)) == (sustained.runs[0].frames, ["dead"])


@pytest.mark.parametrize(
    ("lies", "said"), [(3.0, "took longer than the time that passed"), (-1.0, "stood still or went back")]
)
def test_times_that_cannot_be_mark_the_run(machine: Path, lies: float, said: str) -> None:
    sustained = _run({"toy": ScriptedWorker(machine, lies=lies)}, machine)
    assert any(said in mark for mark in sustained.runs[0].marks)
    assert said in sustained_markdown(sustained)


def test_first_and_last_tenth_show_the_drift(machine: Path) -> None:
    [run] = _run({"toy": ScriptedWorker(machine)}, machine).runs
    chunks = tuple(Chunk(i, i + 1, np.full(4, 10.0 + i)) for i in range(20))
    drifted = replace(run, chunks=chunks)
    assert (drifted.first_p50, drifted.last_p50) == (10.5, 28.5)
    short = replace(run, chunks=chunks[:1])
    assert short.first_p50 == short.last_p50 == 10


def test_the_table_is_whole_and_the_plot_has_a_panel_for_what_was_measured(
    machine: Path, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    full = _run({"a": ScriptedWorker(machine), "b": ScriptedWorker(machine, hot=True)}, machine)
    table = next(block for block in sustained_markdown(full).split("\n\n") if block.startswith("|"))
    assert len({line.count("|") for line in table.splitlines()}) == 1
    plot_sustained(full, tmp_path / "full.png")
    bare = _run({"a": ScriptedWorker(machine)}, tmp_path / "empty")
    plot_sustained(bare, tmp_path / "bare.png")
    tall, low = (cv2.imread(str(tmp_path / f"{name}.png")) for name in ("full", "bare"))
    assert tall.shape[0] > 2 * low.shape[0]
    assert min(tall.std(), low.std()) > 5


@pytest.mark.parametrize("minutes", [0, -1, float("inf"), float("nan")])
def test_minutes_out_of_range_name_the_flag(minutes: float) -> None:
    with pytest.raises(UsageError, match="--minutes"):
        SustainedOptions(minutes=minutes)


def test_a_real_worker_on_this_machine(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    bundle = toys.write_bundle(tmp_path / "toy.edgeseg")
    image = np.random.default_rng(0).integers(0, 256, (64, 128, 3)).astype(np.uint8)
    [contender] = contenders_of([bundle], [1])
    with Worker(contender.job(frames_from_images([image], "noise").encoded)) as worker:
        sustained = run_sustained({"toy": worker}, SHORT)
    [run] = sustained.runs
    assert run.frames > 20
    assert 0 < run.total.p50 <= run.total.p99 <= run.total.max
    assert float(sum(chunk.totals.sum() for chunk in run.chunks)) / 1e3 <= run.seconds
    assert sustained.sampling < 0.2
    json.dumps(sustained.to_dict(), allow_nan=False)


def _run(workers: dict[str, RoundWorker], root: Path) -> Sustained:
    return run_sustained(workers, SHORT, open_sensors(root))


def _machine(milliamperes: int, hot: bool, ticks: int) -> dict[str, object]:
    zone = "sys/class/thermal/thermal_zone0"
    return {
        **ina3221(0, {1: ("VDD_IN", 5000, milliamperes)}),
        **cpufreq(2_800_000, 800_000),
        **cooling(0, "cpufreq-cpu0", 3 if hot else 0),
        f"{zone}/type": "cpu-thermal",
        f"{zone}/temp": 95_000 if hot else 50_000,
        "proc/stat": PROC_STAT.format(ticks),
    }
