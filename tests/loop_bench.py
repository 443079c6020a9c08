"""The loop's own workers in one process, under a clock that a test turns: no waiting, no chance."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeseg.camera import Frame
from edgeseg.errors import InferenceError
from edgeseg.labels import LabelSet
from edgeseg.loop import capture_worker, inference_worker, ring
from edgeseg.loop.board import Board
from edgeseg.loop.capture_worker import CaptureWorker
from edgeseg.loop.facts import Known, Watch
from edgeseg.loop.inference_worker import InferenceWorker
from edgeseg.loop.pacing import Read
from edgeseg.loop.plan import FRAMES, MASKS, Budgets, LoopPlan, SourceFacts
from edgeseg.loop.ring import Ring, RingReader
from edgeseg.loop.states import StateMachine
from edgeseg.loop.worker import Worker
from edgeseg.segmenter import Segmentation, Timings
from toys import CLASSES

HEIGHT, WIDTH = 16, 24
FPS = 25.0
PERIOD_MS = 1000 / FPS
BUDGETS = Budgets(stall_ms=300, hang_ms=800, deadline_ms=150, frozen_ms=500)
MS = 1_000_000
LOOK_NS = 10 * MS


class KilledError(BaseException):
    """Where SIGKILL would have ended the process: nothing of the loop may catch it and go on."""


class Segmenter:
    """Takes as long as it is told to, and has the fault that it is told: ``raise``, ``class`` or ``kill``."""

    height, width = HEIGHT, WIDTH

    def __init__(self, advance: Callable[[float], None]) -> None:
        self.labels = LabelSet.from_dict(
            {
                "name": "toy",
                "ignore_index": 255,
                "classes": [{"id": i, "name": n, "color": c} for i, (n, c) in enumerate(CLASSES)],
            }
        )
        self.milliseconds, self.fault = 5.0, ""
        self._advance = advance

    def __call__(self, frame: Any, *, captured_ns: int, out: Any, adjust: Any) -> Segmentation:
        self._advance(self.milliseconds)
        if self.fault == "raise":
            raise InferenceError("frame", expected="a mask", found="a fault", next_step="None.")
        if self.fault == "kill":
            raise KilledError
        model_mask = np.full(
            (HEIGHT, WIDTH), 200 if self.fault == "class" else int(frame[0, 0, 0]) % 3, np.uint8
        )
        if adjust is not None:
            adjust(model_mask)
        out[:] = model_mask
        timings = Timings(0, self.milliseconds, 0, self.milliseconds)
        return Segmentation(frame, out, model_mask, None, self.labels, timings, captured_ns, 0)


class Bench:
    """Capture, inference and the supervisor's judgement over one board and two rings.

    Attributes:
        now_ns: The time, which :meth:`advance` alone moves on; the supervisor looks every 10 ms of it, and
            knows nothing of what happens between.
        board, machine: As the loop has them.
    """

    def __init__(self) -> None:
        self.now_ns = 10_000 * MS
        self._looks_next_ns = self.now_ns
        self._patch = pytest.MonkeyPatch()
        clock = SimpleNamespace(
            monotonic_ns=lambda: self.now_ns,
            monotonic=lambda: self.now_ns / 1e9,
            sleep=lambda seconds: self.advance(seconds * 1e3),
        )
        for module in (capture_worker, inference_worker, ring):
            self._patch.setattr(module, "time", clock)
        self.board = Board.create()
        self.rings = Ring.create("frames", FRAMES), Ring.create("masks", MASKS)
        source = SourceFacts("camera", True, FPS, (HEIGHT, WIDTH), None, "drawn", "live")
        self._watch = Watch(self.board, source, BUDGETS, self.now_ns)
        self.machine = StateMachine(self.now_ns)
        self.segmenter = Segmenter(self.advance)
        self._worker = Worker(
            plan=replace(LoopPlan("bundle", "camera", ("sink",)), budgets=BUDGETS),
            board=self.board,
            frames=self.rings[0],
            masks=self.rings[1],
            voice=SimpleNamespace(say=lambda *_, **__: None, error=lambda *_, **__: None),  # type: ignore[arg-type]
            told={"mode": "live", "live": True, "period_ms": PERIOD_MS, "fps": FPS},
        )
        self.sink = RingReader(self.rings[1])
        self.board.inference["ready"] = 1
        self.start_capture()
        self.open_camera()
        self.start_inference()

    def close(self) -> None:
        self._patch.undo()
        for fd in (self.board.block.fd, *self.rings[0].fds, *self.rings[1].fds):
            os.close(fd)

    def advance(self, milliseconds: float) -> None:
        end_ns = self.now_ns + round(milliseconds * MS)
        while self.now_ns < end_ns:
            self.now_ns = min(end_ns, max(self.now_ns, self._looks_next_ns))
            if self.now_ns == self._looks_next_ns:
                self._looks_next_ns += LOOK_NS
                self._judge()

    def _judge(self) -> None:
        """What the supervisor does at each of its looks."""
        self.machine.update(self.now_ns, self._watch.facts(self.now_ns, Known()))
        self.board.tell(self.machine.state, self.machine.reason)

    def start_capture(self) -> None:
        self.capture = CaptureWorker(self._worker)

    def start_inference(self) -> None:
        self.inference = InferenceWorker(self._worker, self.segmenter)  # type: ignore[arg-type]

    def open_camera(self) -> None:
        """A new epoch."""
        count = self.board.capture
        count["epoch"] += 1
        count["read_ns"] = count["tried_ns"] = self.now_ns
        count["open"] = 1
        self.capture._look_anew()

    def give(self, frame: Frame | None, damage: str = "") -> None:
        """What the camera gives reaches capture."""
        self.capture._take(Read(frame, 0, damage))

    def infer(self) -> None:
        """Inference takes what is there, if something is; whoever it kills is started anew."""
        try:
            self.inference._step(0)
        except (KilledError, InferenceError):
            self.start_inference()
