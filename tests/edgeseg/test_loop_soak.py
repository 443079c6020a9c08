"""The loop for minutes and hours: ``make soak``. EDGESEG_SOAK_MINUTES says for how many (20)."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgeseg.loop import LoopReport
from edgeseg.loop.capture_worker import VIEW_NS
from process_figures import descriptors, growth_mb, memory_mb
from running_loop import (
    FROZEN_S,
    HANG_S,
    STALL_S,
    START_S,
    RunningLoop,
    check_failed,
    check_ledger,
    check_no_mask_is_valid_while_failed,
    check_numbers,
    play,
)
from toys import write_bundle

MINUTES = float(os.environ.get("EDGESEG_SOAK_MINUTES", "20"))
ROLES = ("capture", "inference", "sinks")
VIEW_S = VIEW_NS / 1e9
FLAT_MB = 8.0
"""A straight line through a process's memory rises by less than this over the whole run."""
LEAST_SAMPLES = 12


@dataclass(frozen=True)
class Fault:
    """One that the soak sets off: in which script, for how long, what is to be said of it, and how soon."""

    script: str
    kind: str
    shortest: float
    longest: float
    reason: str
    budget_s: float
    starts: bool = False
    """Whether a process has to start anew."""


FAULTS = (
    Fault("camera", "unplug", 0.1, 3.0, "camera: it was unplugged", 0.0),
    Fault("camera", "stall", 0.8, 1.2, "camera: no frame for", STALL_S),
    Fault("camera", "block", 0.8, 4.0, "camera: no frame for", STALL_S, starts=True),
    Fault("camera", "burst", 0.8, 1.2, "camera: no frame for", STALL_S),
    Fault("camera", "same", 0.8, 1.2, "camera: no frame for", STALL_S),
    Fault("camera", "freeze", 1.0, 3.0, "camera: the picture is frozen", FROZEN_S),
    Fault("camera", "corrupt", 0.8, 3.0, "camera: no frame for", STALL_S),
    Fault("camera", "truncated", 0.8, 3.0, "camera: no frame for", STALL_S),
    Fault("camera", "black", 0.8, 3.0, "camera: the picture is black", VIEW_S),
    Fault("camera", "white", 0.8, 3.0, "camera: the picture is saturated", VIEW_S),
    Fault("camera", "covered", 0.8, 3.0, "camera: the picture is covered", VIEW_S),
    Fault("inference", "raise", 0.3, 1.0, "inference:", 0.0, starts=True),
    Fault("inference", "class", 0.3, 1.0, "inference:", 0.0, starts=True),
    Fault("inference", "segfault", 0.2, 0.2, "inference: its process ended (SIGSEGV)", 0.0, starts=True),
    Fault("inference", "killed", 0.2, 0.2, "inference: its process ended (SIGKILL)", 0.0, starts=True),
    Fault("inference", "hang", 0.2, 0.2, "no answer for", HANG_S, starts=True),
)

pytestmark = [pytest.mark.soak, pytest.mark.timeout(0)]


class Memory:
    """Samples of each process's memory; a process that was started anew begins anew."""

    def __init__(self, loop: RunningLoop) -> None:
        self._loop = loop
        self._samples: dict[int, list[tuple[float, float]]] = {}

    def sample(self) -> None:
        for pid in (os.getpid(), *(self._loop.pid(role) for role in ROLES)):
            try:
                self._samples.setdefault(pid, []).append((time.monotonic(), memory_mb(pid)))
            except FileNotFoundError:
                continue

    def growth(self) -> dict[int, float]:
        """Megabytes, of those processes that lived long enough to tell."""
        return {
            pid: round(growth_mb(*zip(*samples, strict=True)), 2)
            for pid, samples in self._samples.items()
            if len(samples) >= LEAST_SAMPLES
        }


def test_random_faults(tmp_path: Path) -> None:
    """Each fault longer than its budget is told of, with its reason, and each has an end."""
    chance = random.Random(int(os.environ.get("EDGESEG_SOAK_SEED", "5")))
    missed: list[str] = []
    happened: Counter[str] = Counter()
    until = time.monotonic() + 60 * MINUTES
    with RunningLoop(tmp_path / "loop", write_bundle(tmp_path / "toy.edgeseg"), sleep=0.01) as loop:
        memory = Memory(loop)
        while time.monotonic() < until:
            fault = chance.choice(FAULTS)
            loop.settle()
            memory.sample()
            script = getattr(loop, fault.script)
            script.forget()
            order = script.order(fault.kind, chance.uniform(fault.shortest, fault.longest))
            happened[fault.kind] += 1
            try:
                check_failed(loop, order, fault.reason, fault.budget_s, START_S if fault.starts else 0.0)
            except AssertionError as error:
                missed.append(f"{fault.kind}: {str(error)[:2000]}")
            time.sleep(chance.uniform(0, 1.5))
        growth = memory.growth()
        report = loop.stop()
    say(f"{sum(happened.values())} faults {dict(happened)}", report, growth)
    assert not missed, "\n".join(missed)
    assert report.error is None
    check_numbers(loop)
    check_no_mask_is_valid_while_failed(loop)
    assert max(growth.values(), default=0.0) < FLAT_MB


def test_five_hundred_reconnections(tmp_path: Path) -> None:
    with RunningLoop(tmp_path / "loop", write_bundle(tmp_path / "toy.edgeseg")) as loop:
        memory, counts = Memory(loop), []
        for number in range(500):
            epochs = sum(e["event"] == "epoch" for e in loop.events)
            loop.camera.forget()
            order = loop.camera.order("unplug", 0.05, lead=0.1)
            loop.event(lambda e, n=epochs: e["event"] == "epoch" and e["epoch"] > n + 1, 30, "epoch")  # type: ignore[misc]
            loop.state(("OK", "DEGRADED"), order.end_ns, 30)
            if number % 20 == 10:
                memory.sample()
                counts.append([descriptors(loop.pid(role)) for role in ROLES])
        growth = memory.growth()
        report = loop.stop()
    say(f"descriptors {counts[0]} to {counts[-1]}", report, growth)
    assert (report.epochs, report.restarts, report.collections) == (501, {}, 0)
    assert all(each == counts[0] for each in counts)
    assert max(growth.values()) < FLAT_MB
    check_numbers(loop)


def test_a_hundred_thousand_frames(tmp_path: Path) -> None:
    source = "synthetic://160x90@200"
    with RunningLoop(tmp_path / "loop", write_bundle(tmp_path / "toy.edgeseg"), source=source) as loop:
        memory, counts = Memory(loop), []
        while loop.health()["frames"]["captured"] < 100_000:
            memory.sample()
            counts.append([descriptors(loop.pid(role)) for role in ROLES])
            time.sleep(5)
        growth = memory.growth()
        report = loop.stop()
    say(f"descriptors {counts[0]} to {counts[-1]}", report, growth)
    assert (report.epochs, report.restarts, report.collections) == (1, {}, 0)
    assert all(each == counts[0] for each in counts)
    assert max(growth.values()) < FLAT_MB
    check_numbers(loop)


def test_ten_thousand_frames_of_a_file_in_real_time(tmp_path: Path) -> None:
    """30 frames a second of 1280x720, and a model that takes half a period: none is dropped."""
    report = play(tmp_path, 10_000)
    say("real time", report, {})
    assert report.ledger.captured == 10_000
    assert (report.ledger.dropped, report.ledger.inferred) == (0, 10_000)
    assert report.age.p999 < 2 * 1000 / 30
    assert report.collections == 0


def say(what: str, report: LoopReport, growth: dict[int, float]) -> None:
    check_ledger(report)
    print(  # noqa: T201 - what a long run is for
        f"\n{what}\n{report.seconds:.0f} s, {report.fps:.1f} fps, states {report.states}, "
        f"epochs {report.epochs}, restarts {report.restarts}\n{report.ledger}\n"
        f"age {report.age}\nmemory grew by {growth} MB"
    )
