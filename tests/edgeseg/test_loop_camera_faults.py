"""What becomes of the loop when its camera fails: one loop, in its own processes, survives everything."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.loop.capture_worker import VIEW_NS
from running_loop import (
    ALLOWANCE_S,
    BACK_S,
    FROZEN_S,
    GOOD,
    PERIOD_S,
    STALL_S,
    START_S,
    RunningLoop,
    check_failed,
    check_no_mask_is_valid_while_failed,
    check_numbers,
)
from toys import write_bundle

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(300)]

VIEW_S = VIEW_NS / 1e9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("camera-faults")


@pytest.fixture(scope="module")
def loop(folder: Path) -> Iterator[RunningLoop]:
    """The loop that all faults of this file happen to, one after the other; an event recorder listens."""
    bundle = write_bundle(folder / "toy.edgeseg")
    sinks = (str(folder / "loop" / "masks.jsonl"), f"record:{folder / 'recorded'}")
    with RunningLoop(folder / "loop", bundle, sinks=sinks) as running:
        yield running
        # Whatever order the tests ran in, and whichever of them: what must hold for the whole run.
        report = running.stop()
        assert report.error is None
        check_numbers(running)
        check_no_mask_is_valid_while_failed(running)
        epochs = [e["epoch"] for e in running.events if e["event"] == "epoch"]
        assert epochs == list(range(2, report.epochs + 1))
        assert {m["epoch"] for m in running.masks()} <= {1, *epochs}
        assert report.collections == 0


@pytest.fixture
def settled(loop: RunningLoop) -> RunningLoop:
    loop.settle()
    return loop


FAILURES = [
    # Fault, its seconds, what the reason says, the budget that it has.
    ("unplug", 1.0, "it was unplugged", 0.0),
    ("stall", 1.0, "no frame for", STALL_S),
    ("same", 1.0, "no frame for", STALL_S),
    ("freeze", 1.5, "the picture is frozen", FROZEN_S),
    ("corrupt", 1.0, "no frame for", STALL_S),
    ("truncated", 1.0, "no frame for", STALL_S),
    ("float", 1.0, "no frame for", STALL_S),
    ("huge", 1.0, "no frame for", STALL_S),
    ("black", 1.0, "the picture is black", VIEW_S),
    ("white", 1.0, "the picture is saturated", VIEW_S),
    ("covered", 1.0, "the picture is covered", VIEW_S),
]


@pytest.mark.parametrize(("fault", "seconds", "reason", "budget_s"), FAILURES, ids=lambda value: str(value))
def test_it_fails_in_time_says_why_and_comes_back(
    settled: RunningLoop, fault: str, seconds: float, reason: str, budget_s: float
) -> None:
    order = settled.camera.order(fault, seconds)
    check_failed(settled, order, f"camera: {reason}", budget_s)


def test_a_read_that_never_returns_is_ended(settled: RunningLoop) -> None:
    """Its process is, and the next opens the camera once more, when it lets itself be opened."""
    before, epoch = settled.pid("capture"), settled.health()["epoch"]
    order = settled.camera.order("block", 1000.0)
    settled.state(("FAILED",), order.begin_ns, 10, "no frame for")
    settled.event(
        lambda e: e["event"] == "log" and e["heard_ns"] > order.begin_ns and "its process ended" in e["text"],
        10,
    )
    ended = replace(order, end_ns=settled.camera.end())
    check_failed(settled, ended, "camera: no frame for", STALL_S, START_S)
    settled.settle()
    settled.event(lambda e: e["event"] == "epoch" and e["epoch"] > epoch, START_S)
    time.sleep(0.6)  # the health file's own period
    assert settled.pid("capture") != before
    assert settled.health()["restarts"]["capture"] >= 1


def test_a_stall_and_then_a_burst(settled: RunningLoop) -> None:
    """Frames that were held back come at once: those are old, and none of them becomes a mask."""
    order = settled.camera.order("burst", 1.0)
    check_failed(settled, order, "camera: no frame for", STALL_S)
    settled.settle()
    # The last frame before the end is young enough; on a busy machine the clock may have gone on a little.
    held = [m for m in settled.masks() if order.begin_ns <= m["captured_ns"] < order.end_ns - 0.2e9]
    assert not held


@pytest.mark.parametrize(
    ("fault", "counted", "said"),
    [("duplicate", "duplicate", "given twice"), ("reorder", "reordered", "out of order")],
)
def test_frames_that_are_no_news_are_thrown_out_and_told_of(
    settled: RunningLoop, fault: str, counted: str, said: str
) -> None:
    before = settled.health()["frames"][counted]
    order = settled.camera.order(fault, 1.5)
    settled.state(("DEGRADED",), order.begin_ns, 10, said)
    assert "FAILED" not in settled.states_between(order.begin_ns, order.end_ns)
    settled.settle()
    time.sleep(0.6)
    assert settled.health()["frames"][counted] - before >= 10


@pytest.mark.parametrize("fault", ["parked", "resize", "arrival", "wrapped"])
def test_what_is_no_failure(settled: RunningLoop, fault: str) -> None:
    """A still scene with a sensor's noise; frames of another size; a driver without a clock; numbers whose
    32 bits come to their end."""
    before = settled.health()["frames"]
    order = settled.camera.order(fault, 2 * FROZEN_S + 0.5)
    time.sleep(max(0.0, (order.end_ns - time.monotonic_ns()) / 1e9) + 0.3)
    assert "FAILED" not in settled.states_between(order.begin_ns, time.monotonic_ns())
    during = [m for m in settled.masks() if order.begin_ns < m["captured_ns"] < order.end_ns]
    assert sum(m["valid"] for m in during) > 10
    clock = "arrival" if fault == "arrival" else "driver"
    assert {m["clock"] for m in during[2:-2]} == {clock}
    time.sleep(0.6)
    after = settled.health()["frames"]
    assert after["unusable"] == before["unusable"]
    assert after["lost"] - before["lost"] < 10_000, "numbers that begin anew are no loss of four milliards"


def test_interrupted_system_calls_are_no_fault(settled: RunningLoop) -> None:
    """EINTR in whatever the capture process waits for, by a signal that it handles."""
    begin_ns, epoch = time.monotonic_ns(), settled.health()["epoch"]
    for _ in range(200):
        os.kill(settled.pid("capture"), signal.SIGUSR1)
        time.sleep(0.005)
    assert "FAILED" not in settled.states_between(begin_ns, time.monotonic_ns())
    time.sleep(0.6)
    health = settled.health()
    assert health["epoch"] == epoch
    assert health["state"] in GOOD


def test_a_process_that_was_stopped_for_a_moment_goes_on(settled: RunningLoop) -> None:
    pid, begin_ns = settled.pid("capture"), time.monotonic_ns()
    os.kill(pid, signal.SIGSTOP)
    try:
        failed = settled.state(("FAILED",), begin_ns, 10, "no frame for")
    finally:
        os.kill(pid, signal.SIGCONT)
    went_on_ns = time.monotonic_ns()
    assert failed["monotonic_ns"] - begin_ns <= (2 * PERIOD_S + STALL_S + ALLOWANCE_S) * 1e9
    back = settled.state(("OK", "DEGRADED"), went_on_ns, BACK_S + ALLOWANCE_S + 5)
    assert back["monotonic_ns"] - went_on_ns <= (BACK_S + ALLOWANCE_S) * 1e9


def test_ten_thousand_equal_faults_are_a_line_a_second(settled: RunningLoop) -> None:
    before, order = settled.health()["frames"]["corrupt"], settled.camera.order("storm", 600.0)
    deadline = time.monotonic() + 60
    while settled.health()["frames"]["corrupt"] - before < 10_000:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    end_ns = settled.camera.end()
    settled.settle()
    time.sleep(1.2)  # what was left out is told a second later
    logs = [e for e in settled.events if e["event"] == "log" and "storm" in e["text"]]
    seconds = (end_ns - order.begin_ns) / 1e9
    assert 1 <= len(logs) <= seconds + 3
    assert "more like it" in logs[-1]["text"]
    told = sum(
        1 + int(e["text"].rsplit("(and ", 1)[1].split()[0]) if "(and " in e["text"] else 1 for e in logs
    )
    # The pipe that carries them is not waited for: it may leave some out, and the account has them all.
    assert told > 1000


def test_what_happened_was_recorded(settled: RunningLoop, folder: Path) -> None:
    """The first failure of all, whichever test had it, is on the disk, whole."""
    order = settled.camera.order("unplug", 0.5)
    settled.state(("FAILED",), order.begin_ns, 10, "it was unplugged")
    deadline = time.monotonic() + 60
    while not (events := [*(folder / "recorded").glob("event-*/event.json")]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert "FAILED" in events[0].read_text()
