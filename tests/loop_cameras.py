"""A drawn camera whose faults a test sets off while the loop runs; the loop's processes import it by name."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeseg.camera import Frame, Wanted
from edgeseg.camera.faults import FAULTS, Fault
from edgeseg.camera.pixels import DamagedPictureError, decode
from edgeseg.camera.synthetic import Options, SyntheticCamera, parse
from edgeseg.errors import CorruptFrameError
from scripted import Order, Script

OPEN = "loop_cameras:open_source"


def open_source(text: str, wanted: Wanted | None = None) -> SyntheticCamera:
    """``synthetic://…?script=FILE``: the faults of ``edgeseg.camera.faults`` and those of ``CHANGES``."""
    # EINTR: what this process waits for is interrupted by a signal that it handles.
    signal.signal(signal.SIGUSR1, lambda *_: None)
    path = re.search(r"script=([^&]*)", text)
    assert path is not None
    options = parse(re.sub(r"script=[^&]*&?", "", text), wanted or Wanted())
    return ScriptedCamera(options, Script(Path(path[1])))


class ScriptedCamera(SyntheticCamera):
    def __init__(self, options: Options, script: Script) -> None:
        # None before the loop goes: then it is opened again, with the moment at which it went.
        self._script, self._start_ns = script, options.t0_ns or time.monotonic_ns()
        self._done: dict[Order, int] = {}
        super().__init__(replace(options, t0_ns=self._start_ns, faults=self._scripted()))

    def read(self) -> Frame | None:
        self._faults = self._scripted()
        order = self._now(("storm",))
        if order is not None:
            return _storm(None)
        frame = super().read()
        order = self._now(tuple(CHANGES))
        return CHANGES[order.kind](frame) if order is not None and frame is not None else frame

    def _scripted(self) -> tuple[Fault, ...]:
        """The orders that the drawn camera itself knows, in seconds since it was first opened."""
        return tuple(
            Fault(o.kind, (o.begin_ns - self._start_ns) / 1e9, (o.end_ns - self._start_ns) / 1e9)
            for o in self._script.orders()
            if o.kind in FAULTS
        )

    def _now(self, kinds: tuple[str, ...]) -> Order | None:
        for order in self._script.orders():
            done = self._done.get(order, 0)
            if order.kind in kinds and order.holds_at(time.monotonic_ns()) and not 0 < order.once <= done:
                self._done[order] = done + 1
                return order
        return None


def _storm(_frame: Frame | None) -> Frame:
    """Damaged frames, as fast as they can be read."""
    raise CorruptFrameError("camera", expected="a frame", found="a storm of faults", next_step="None.")


def _truncated(frame: Frame) -> Frame:
    """A JPEG of which the cable has lost the second half."""
    _, jpeg = cv2.imencode(".jpg", frame.image)
    data = np.asarray(jpeg, np.uint8).ravel()
    height, width = frame.image.shape[:2]
    try:
        decode(data[: data.size // 2], "MJPG", height, width, 0)
    except DamagedPictureError as error:
        raise CorruptFrameError(
            "camera", expected="a whole JPEG", found=str(error), next_step="None."
        ) from error
    raise AssertionError("half a JPEG was decoded")


def _float(frame: Frame) -> Frame:
    return replace(frame, image=frame.image.astype(np.float32))  # type: ignore[arg-type]


def _huge(frame: Frame) -> Frame:
    """More pixels than there is room for, without the memory that they would take."""
    return replace(frame, image=np.broadcast_to(np.zeros(3, np.uint8), (9000, 9000, 3)))


def _arrival(frame: Frame) -> Frame:
    """A driver that stamps nothing."""
    return replace(frame, clock="arrival", captured_ns=time.monotonic_ns(), sequence=None)


_offset: list[int] = []


def _wrapped(frame: Frame) -> Frame:
    """Numbers that come to their 32 bits' end after twenty frames, and begin at 0 again."""
    assert frame.sequence is not None
    _offset.extend([2**32 - frame.sequence - 20] * (not _offset))
    return replace(frame, sequence=(frame.sequence + _offset[0]) % 2**32)


_noise = np.random.default_rng(5)
_still: list[np.ndarray] = []


def _parked(frame: Frame) -> Frame:
    """Nothing moves, and only the sensor's noise differs: by one level, in one pixel of twenty."""
    _still[1:] = []
    _still.extend([frame.image] * (not _still))
    grain = (_noise.random(frame.image.shape[:2]) < 0.05).astype(np.uint8)[..., None]
    return replace(frame, image=np.asarray(cv2.add(_still[0], np.repeat(grain, 3, axis=2)), np.uint8))


CHANGES: dict[str, Callable[[Frame], Any]] = {
    "truncated": _truncated,
    "float": _float,
    "huge": _huge,
    "arrival": _arrival,
    "parked": _parked,
    "wrapped": _wrapped,
}
