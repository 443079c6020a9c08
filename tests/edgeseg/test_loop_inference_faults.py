"""What becomes of the loop when its model fails, hangs, crashes or slows down: one loop survives it all."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from edgeseg.loop.facts import SLOWER
from running_loop import (
    ALLOWANCE_S,
    BACK_S,
    HANG_S,
    PERIOD_S,
    START_S,
    RunningLoop,
    check_failed,
    check_no_mask_is_valid_while_failed,
    check_numbers,
)
from toys import write_bundle

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

INFER_S = 0.02
"""What the model takes: more than the noise of a busy machine, less than a period."""


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLoop]:
    """The loop that all faults of this file happen to, one after the other."""
    folder = tmp_path_factory.mktemp("inference-faults")
    with RunningLoop(folder / "loop", write_bundle(folder / "toy.edgeseg"), sleep=INFER_S) as running:
        yield running
        report = running.stop()
        assert report.error is None
        check_numbers(running)
        check_no_mask_is_valid_while_failed(running)
        assert report.epochs == 1, "a fault of the model is none of the camera's"


@pytest.fixture
def settled(loop: RunningLoop) -> RunningLoop:
    loop.settle()
    # It compares inference with its first thirty: those must not lie in the fault.
    loop.wait_masks(50)
    return loop


def test_one_slow_frame_is_no_alarm(settled: RunningLoop) -> None:
    begin_ns, overdue = time.monotonic_ns(), settled.health()["frames"]["overwritten"]
    order = settled.inference.order("slow", 5.0, once=1)
    time.sleep(1.2)
    assert settled.alarms_between(begin_ns, time.monotonic_ns()) == []
    settled.inference.end()
    time.sleep(0.6)
    # Nothing of it but frames that newer ones have replaced, and no mask that is older than it has to be.
    assert settled.health()["frames"]["overwritten"] - overdue >= 5
    after = [m for m in settled.masks() if m["captured_ns"] > order.begin_ns]
    assert after
    assert max(m["age_ms"] for m in after) < 300 + 1000 * (2 * PERIOD_S + INFER_S + ALLOWANCE_S)


@pytest.mark.parametrize("fault", ["twice", "fallback", "ramp"])
def test_a_model_that_slows_down(settled: RunningLoop, fault: str) -> None:
    """For three seconds; by an accelerator that is lost without a word; with heat, little by little."""
    order = settled.inference.order(fault, 3.0 if fault == "twice" else 1000.0)
    degraded = settled.state(("DEGRADED",), order.begin_ns, 30, "times slower than at first")
    times = float(degraded["reason"].split(" times")[0].split()[-1])
    assert times >= SLOWER
    settled.inference.end()
    assert "FAILED" not in settled.states_between(order.begin_ns, time.monotonic_ns())
    settled.state(("OK",), degraded["monotonic_ns"], 15)


@pytest.mark.parametrize("fault", ["raise", "class", "shape", "nan"])
def test_a_frame_without_a_mask(settled: RunningLoop, fault: str) -> None:
    """An exception, ids that are no classes, another shape, numbers that are none: one frame is borne, told
    of, and never published."""
    failed = settled.health()["frames"]["failed"]
    order = settled.inference.order(fault, 5.0, once=1)
    settled.state(("DEGRADED",), order.begin_ns, 10, "1 frame(s) failed in a second")
    settled.settle()
    settled.inference.end()
    assert "FAILED" not in settled.states_between(order.begin_ns, time.monotonic_ns())
    time.sleep(0.6)
    assert settled.health()["frames"]["failed"] == failed + 1


def test_two_in_a_row_are_a_failure_until_good_ones_come(settled: RunningLoop) -> None:
    order = settled.inference.order("raise", 5.0, once=2)
    failed = settled.state(("FAILED",), order.begin_ns, 10, "2 frames failed in a row")
    back = settled.state(("OK", "DEGRADED"), failed["monotonic_ns"], BACK_S + ALLOWANCE_S)
    assert back["monotonic_ns"] - failed["monotonic_ns"] <= (BACK_S + ALLOWANCE_S) * 1e9
    settled.inference.end()


DEATHS = [
    # Fault, and what is said of it.
    ("hang", "no answer for"),
    ("segfault", "SIGSEGV"),
    ("killed", "SIGKILL"),
    ("memory", "exit status 1"),
    ("other", "exit status 1"),
]


@pytest.mark.parametrize(("fault", "reason"), DEATHS)
def test_a_process_that_hangs_or_dies_is_started_anew(settled: RunningLoop, fault: str, reason: str) -> None:
    """A hang that holds the interpreter's lock, a crash in native code, the killer of processes that take
    too much memory, no memory, and an exception that nobody expects."""
    before = settled.pid("inference")
    order = settled.inference.order(fault, 0.2)
    failed = check_failed(settled, order, reason, HANG_S if fault == "hang" else 0.0, START_S)
    assert failed["reason"].startswith("inference: ")
    settled.settle()
    time.sleep(0.6)
    assert settled.pid("inference") != before
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)


def test_a_model_that_fails_again_and_again_is_loaded_anew(settled: RunningLoop) -> None:
    restarts = settled.health()["restarts"]["inference"]
    order = settled.inference.order("raise", 0.5)
    check_failed(settled, order, "frames failed in a row", 0.0, START_S)
    settled.settle()
    time.sleep(0.6)
    assert settled.health()["restarts"]["inference"] > restarts


def test_a_process_that_is_stopped_and_goes_on(settled: RunningLoop) -> None:
    """For less than a hang's budget: then it is the same process, and no state was wrong."""
    pid = settled.pid("inference")
    for _ in range(10):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.02)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    settled.settle()
    assert settled.pid("inference") == pid


def test_a_collection_that_happens_is_counted(settled: RunningLoop) -> None:
    """Last, for the report is of the whole run: the count of none in other tests would see one."""
    settled.inference.order("collect", 0.3)
    time.sleep(1.0)
    assert settled.stop().collections > 0
