"""A loop that runs while a test watches it: its events, its masks, and faults set off in its processes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeseg.loop import Budgets, Health, LoopPlan, LoopReport, run_loop
from loop_cameras import OPEN
from loop_faults import LOAD
from scripted import Order, Script
from toys import write_bundle

PERIOD_S = 1 / 30
STALL_S, HANG_S, FROZEN_S = 0.5, 0.8, 0.5
ALLOWANCE_S = 2.0
"""What a machine that does other work may take beyond what the loop promises."""
START_S = 20.0
"""A process that is started anew has to load a model or open a camera, which nothing promises a time for."""
BACK_S = 2.0
GOOD = ("OK", "DEGRADED")
Event = Mapping[str, Any]


class RunningLoop:
    """``run_loop`` in a thread. Use it as a context; it waits until the loop says ``OK``.

    Attributes:
        camera, inference: The scripts of their faults.
        events: What the loop has told, each with ``heard_ns``.
        report: After the end.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Path,
        *,
        source: str = "synthetic://320x180@30",
        sleep: float = 0.0,
        wait: bool = True,
        **plan: Any,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.camera, self.inference = Script(folder / "camera"), Script(folder / "inference")
        self.lines, self.health_file = folder / "masks.jsonl", folder / "health.json"
        self.events: list[dict[str, Any]] = []
        self.report: LoopReport | None = None
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._wait = wait
        given: dict[str, Any] = {
            "sinks": (str(self.lines),),
            "budgets": Budgets(stall_ms=STALL_S * 1e3, hang_ms=HANG_S * 1e3, frozen_ms=FROZEN_S * 1e3),
            "parts": (OPEN, LOAD, "edgeseg.loop.sinks:open_sinks"),
        }
        if source.startswith("synthetic://"):
            source += f"{'&' if '?' in source else '?'}script={folder / 'camera'}"
        self._plan = LoopPlan(
            f"{bundle}?script={folder / 'inference'}&sleep={sleep}",
            source,
            **{**given, **plan},
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> RunningLoop:
        self._thread.start()
        if self._wait:
            try:
                self.state(("OK",), 0, 120)
            except BaseException:
                self.stop()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> LoopReport:
        """End it, and its report."""
        self._stop.set()
        self._thread.join(30)  # twice is harmless
        assert not self._thread.is_alive(), "the loop did not end"
        if self._error is not None:
            raise self._error
        assert self.report is not None
        return self.report

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def state(self, states: tuple[str, ...], since_ns: int, seconds: float, reason: str = "") -> Event:
        """The first word of one of the states, for that reason, at or after a moment; waits for it."""
        return self.event(
            lambda e: (
                e["event"] in ("state", "reason")
                and e["monotonic_ns"] >= since_ns
                and e["state"] in states
                and reason in e["reason"]
            ),
            seconds,
            f"{'/'.join(states)} {reason}",
        )

    def event(self, wanted: Callable[[Event], bool], seconds: float, name: str = "an event") -> Event:
        deadline = time.monotonic() + seconds
        while True:
            for event in [*self.events]:
                if wanted(event):
                    return event
            assert self.running, f"the loop ended: {self._error or self.report}"
            assert time.monotonic() < deadline, f"no {name} within {seconds} s of {self.events[-8:]}"
            time.sleep(0.01)

    def states_between(self, begin_ns: int, end_ns: int) -> list[str]:
        """States that the loop was in, from the one at ``begin_ns`` on."""
        changes = [e for e in self.events if e["event"] == "state" and e["monotonic_ns"] < end_ns]
        before = [e["state"] for e in changes if e["monotonic_ns"] < begin_ns][-1:]
        return before + [e["state"] for e in changes if e["monotonic_ns"] >= begin_ns]

    def alarms_between(self, begin_ns: int, end_ns: int) -> list[Event]:
        """What it said beside OK, but for frames that a busy machine made its camera lose."""
        told = [e for e in self.events if e["event"] in ("state", "reason")]
        between = [e for e in told if begin_ns <= e["monotonic_ns"] < end_ns]
        return [e for e in between if e["state"] != "OK" and not _lost(e)]

    def settle(self, seconds: float = 60.0) -> None:
        """Until it has been OK for a moment."""
        deadline = time.monotonic() + seconds
        while not self._calm():
            assert time.monotonic() < deadline, f"not OK again: {self.events[-8:]}"
            time.sleep(0.05)

    def _calm(self) -> bool:
        last = [e for e in self.events if e["event"] == "state"][-1]
        return last["state"] == "OK" and time.monotonic_ns() - last["monotonic_ns"] > 0.3e9

    def wait_masks(self, count: int, seconds: float = 60.0) -> None:
        """Until the inference process that is there now has made so many."""
        deadline, before = time.monotonic() + seconds, len(self.masks())
        while len(self.masks()) < before + count:
            assert time.monotonic() < deadline, f"no {count} masks within {seconds} s"
            time.sleep(0.05)

    def health(self) -> dict[str, Any]:
        """What the health file says."""
        values: dict[str, Any] = json.loads(self.health_file.read_text())
        return values

    def pid(self, role: str) -> int:
        return int(self.health()["processes"][role])

    def told(self) -> list[dict[str, Any]]:
        """The lines of JSON so far."""
        text = self.lines.read_text() if self.lines.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def masks(self) -> list[dict[str, Any]]:
        return [line for line in self.told() if line["event"] == "mask"]

    def _run(self) -> None:
        try:
            with Health(self.health_file) as health:
                self.report = run_loop(self._plan, on_event=self._hear, health=health, stop=self._stop)
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self._error = error

    def _hear(self, event: Event) -> None:
        self.events.append({**event, "heard_ns": time.monotonic_ns()})


def _lost(event: Event) -> bool:
    return event["state"] == "DEGRADED" and str(event["reason"]).startswith("camera:")


def check_failed(
    loop: RunningLoop, order: Order, reason: str, budget_s: float, start_s: float = 0.0
) -> Event:
    """The loop says FAILED, for the right reason and in time, and is back in time after the fault's end.

    ``start_s`` is what a process may take to start, where one must.
    """
    failed = loop.state(("FAILED",), order.begin_ns, (order.end_ns - order.begin_ns) / 1e9 + 10, reason)
    after_s = (failed["monotonic_ns"] - order.begin_ns) / 1e9
    assert after_s <= 2 * PERIOD_S + budget_s + ALLOWANCE_S, f"said after {after_s:.2f} s"
    since_ns = max(order.end_ns, failed["monotonic_ns"])
    back = last_back(loop, since_ns, start_s + BACK_S + ALLOWANCE_S)
    back_s = (back["monotonic_ns"] - since_ns) / 1e9
    assert back_s <= start_s + BACK_S + ALLOWANCE_S, f"back after {back_s:.2f} s"
    return failed


def last_back(loop: RunningLoop, since_ns: int, seconds: float) -> Event:
    """The change that ended the failure; it may lie before ``since_ns`` by a frame."""
    deadline = time.monotonic() + seconds + 5
    while True:
        changes = [e for e in loop.events if e["event"] == "state"]
        if changes[-1]["state"] in GOOD and time.monotonic_ns() > since_ns:
            return changes[-1]
        assert time.monotonic() < deadline, f"not back: {changes[-8:]}"
        time.sleep(0.01)


def check_no_mask_is_valid_while_failed(loop: RunningLoop) -> None:
    """By each mask's own stamp, and by the clock: made while FAILED from a frame taken while FAILED."""
    masks, changes = loop.masks(), [e for e in loop.events if e["event"] == "state"]
    assert masks
    assert not [m for m in masks if m["valid"] and m["state"] in ("FAILED", "STOPPING")]
    for failed, after in pairwise(changes):
        if failed["state"] != "FAILED":
            continue
        begin, end = failed["monotonic_ns"], after["monotonic_ns"]
        used = [m for m in masks if m["valid"] and m["captured_ns"] > begin and m["published_ns"] < end]
        assert not used, (failed, used[0])


def check_numbers(loop: RunningLoop) -> None:
    """No mask is published twice, none has an age below nothing, and the account balances."""
    numbers = [m["sequence"] for m in loop.masks()]
    assert all(a < b for a, b in pairwise(numbers))
    assert all(m["age_ms"] >= 0 for m in loop.masks())
    assert loop.report is not None
    check_ledger(loop.report)


def check_ledger(report: LoopReport) -> None:
    ledger = report.ledger
    parts = ledger.inferred + ledger.overwritten + ledger.stale + ledger.failed + ledger.unusable
    assert ledger.captured == parts + ledger.in_flight
    assert ledger.unusable == ledger.corrupt + ledger.duplicate + ledger.reordered
    assert 0 <= ledger.in_flight <= 4, ledger


def play(folder: Path, frames: int) -> LoopReport:
    """A file with a model of half a period, as the command plays it."""
    path = folder / "drive.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 30, (1280, 720))
    road = np.full((720, 1280, 3), 90, np.uint8)
    for index in range(frames):
        picture = road.copy()
        picture[300:420, index % 1180 : index % 1180 + 100] = (40, 40, 250)
        writer.write(picture)
    writer.release()
    bundle = write_bundle(folder / "toy.edgeseg")
    return run_loop(
        LoopPlan(
            f"{bundle}?sleep={0.5 / 30 - 0.001:.4f}",
            str(path),
            budgets=Budgets(),
            parts=("edgeseg.camera:open_source", "loop_faults:load", "edgeseg.loop.sinks:open_sinks"),
        )
    )
