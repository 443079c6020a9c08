"""What makes numbers less than they seem is seen, and said beside them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeseg.benchmarks import conditions
from edgeseg.benchmarks.conditions import Conditions, Watch
from edgeseg.benchmarks.intervals import intervals
from edgeseg.benchmarks.markdown import to_markdown
from edgeseg.benchmarks.marks import marks_of
from edgeseg.benchmarks.pareto import pareto_set
from edgeseg.benchmarks.protocol import WarmedUp

QUIET = Conditions(10.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("seen", "mark"),
    [
        ({"others": 0.2}, "noisy: other processes took 20 %"),
        ({"stolen": 0.1}, "noisy: other virtual machines took 10 %"),
        ({"clock_jump_seconds": -3600.0}, "clock: the wall clock was set back by 3600 s"),
        ({"clock_jump_seconds": 5.0}, "clock: the wall clock was set forward by 5 s"),
    ],
)
def test_what_the_machine_did_meanwhile(make_result, seen: dict[str, float], mark: str) -> None:
    host = make_result().host
    assert marks_of(host, QUIET, []) == ()
    [found] = marks_of(host, replace(QUIET, **seen), [])
    assert found.startswith(mark)


def test_a_machine_that_was_busy_before(make_result) -> None:
    [mark] = marks_of(replace(make_result().host, load=7.0), QUIET, [])
    assert "busy before the start, load average 7.0 on 2 cores" in mark


def test_what_a_model_showed_itself(make_result) -> None:
    result = make_result()
    latency = result.models[0].latency
    p50 = latency.total.p50
    cases = {
        "did not hold still in 1000 frames": {"warmed_up": WarmedUp(1000, stable=False)},
        "not sure to 3 %": {"intervals": {"p50": (p50, 1.04 * p50)}},
        "medians of its rounds lie between": {"round_p50": (p50, 1.2 * p50)},
        "it ended after 2 rounds: killed": {"failure": "killed"},
    }
    still = replace(latency, round_p50=(p50, p50), intervals={"p50": (p50, 1.02 * p50)})
    assert marks_of(result.host, QUIET, [("it", still)]) == ()
    for text, change in cases.items():
        [mark] = marks_of(result.host, QUIET, [("it", replace(still, **change))])
        assert text in mark
        assert mark.startswith("it: ")


def test_marks_come_before_the_numbers(make_result) -> None:
    result = make_result()
    assert "with care" not in to_markdown(result)
    text = to_markdown(replace(result, marks=("noisy: so it was",), state="partial"))
    assert text.index("- noisy: so it was") < text.index("| model |")
    assert text.index("- incomplete: the run was stopped") < text.index("| model |")


def test_other_processes_are_told_from_ones_own(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    hertz = os.sysconf("SC_CLK_TCK")
    stat.write_text("cpu  100 0 50 1000 0 0 0 10 7 0\ncpu0 1 2 3\n")
    watch = Watch([], stat)
    until = time.process_time() + 0.2
    while time.process_time() < until:
        pass
    # 4 s passed on all processors: 1 s busy, of which this process had 0.2 s; 1 s was stolen.
    stat.write_text(f"cpu  {100 + hertz} 0 50 {1000 + 2 * hertz} 0 0 0 {10 + hertz} 9 0\n")
    seen = watch.conditions()
    assert seen.stolen == pytest.approx(0.25)
    assert seen.others == pytest.approx(0.2, abs=0.02)
    assert abs(seen.clock_jump_seconds) < 0.5


def test_a_worker_that_died_does_not_turn_into_other_work() -> None:
    code = "import time; end = time.time() + 0.3\nwhile time.time() < end: pass\ninput()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        watch = Watch([child.pid])
        time.sleep(0.5)
        used = watch._look().own_seconds
        child.communicate(b"\n")
    assert watch._look().own_seconds >= used - 0.02


def test_a_clock_that_was_set_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch([])
    real = time.time_ns
    monkeypatch.setattr(conditions.time, "time_ns", lambda: real() - 3600 * 10**9)
    assert watch.conditions().clock_jump_seconds == pytest.approx(-3600, abs=1)


def test_where_the_kernel_tells_nothing_nothing_is_claimed(tmp_path: Path) -> None:
    seen = Watch([], tmp_path / "none").conditions()
    assert (seen.stolen, seen.others) == (None, None)


def test_intervals_hold_what_they_promise() -> None:
    """Of 200 series whose rounds differ, the true median lies within the interval about 95 times in 100."""
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(200):
        rounds = [10 + generator.normal(0, 0.5) + generator.normal(0, 0.3, 60) for _ in range(12)]
        low, high = intervals(rounds)["p50"]
        inside += low <= 10 <= high
    assert 170 <= inside <= 200
    frames_alone = [np.concatenate(rounds)]
    assert intervals(frames_alone) == {}


def test_rounds_that_agree_are_sure_and_rounds_that_do_not_are_not() -> None:
    generator = np.random.default_rng(2)
    same = [10 + generator.normal(0, 0.1, 100) for _ in range(10)]
    apart = [times + shift for times, shift in zip(same, np.linspace(0, 5, 10), strict=True)]
    low, high = intervals(same)["p50"]
    assert high - low < 0.1
    low, high = intervals(apart)["p50"]
    assert high - low > 1


def test_the_pareto_set() -> None:
    points = [(10, 0.7), (20, 0.8), (25, 0.75), (10, 0.6), (30, float("nan")), (20, 0.8)]
    assert pareto_set(points) == [True, True, False, False, False, True]
