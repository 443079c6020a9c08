"""The pace at which a source is read: in order, as a camera gives frames, or a file as if it were one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edgeseg.camera import Frame, Source
from edgeseg.errors import CorruptFrameError
from edgeseg.loop.report import Mode

Stopping = Callable[[], bool]
_LONGEST_SLEEP = 0.05


@dataclass(frozen=True)
class Read:
    """A frame, or that there was one which is damaged, and its place in frame periods from 0."""

    frame: Frame | None
    position: int
    damage: str = ""


class Pace:
    """Reads a source at its pace until its end.

    Args:
        first_ns: When the first frame of a live source was captured, where that was in an earlier epoch:
            places go on from there. 0: it is still to come.

    Attributes:
        first_ns: The same, once it is known.
        position: Of what was read or passed over last; -1 at first.
        skipped: Frames of a file that were passed over undecoded, since reading them was late.
    """

    def __init__(self, source: Source, mode: Mode, stopping: Stopping, first_ns: int = 0) -> None:
        self.position = -1
        self.skipped = 0
        self.first_ns = first_ns
        self._source, self._stopping = source, stopping
        self._read_all = {"every-frame": self._in_order, "real-time": self._paced, "live": self._live}[mode]

    def __iter__(self) -> Iterator[Read]:
        return self._read_all()

    def _next(self) -> Frame | str | None:
        """A frame, what is wrong with it, or ``None`` at the end."""
        try:
            return self._source.read()
        except CorruptFrameError as error:
            return error.found

    def _in_order(self) -> Iterator[Read]:
        while not self._stopping() and (frame := self._next()) is not None:
            self.position += 1
            yield _as_read(frame, self.position)

    def _live(self) -> Iterator[Read]:
        while not self._stopping() and (frame := self._next()) is not None:
            if isinstance(frame, Frame):
                self.first_ns = self.first_ns or frame.captured_ns
                since_first_ns = frame.captured_ns - self.first_ns
                self.position = max(self.position, round(since_first_ns * self._source.fps / 1e9))
            yield _as_read(frame, self.position)

    def _paced(self) -> Iterator[Read]:
        """Each frame appears when its time has come, and not before."""
        period_ns = 1e9 / self._source.fps
        start_ns: float | None = None
        while not self._stopping():
            position = self.position + 1
            if start_ns is not None and time.monotonic_ns() > start_ns + (position + 1) * period_ns:
                # More than a period behind: a camera would have lost this frame.
                if not self._source.skip():
                    return
                self.skipped += 1
                self.position = position
                continue
            frame = self._next()
            if frame is None:
                return
            start_ns = float(time.monotonic_ns()) if start_ns is None else start_ns
            due_ns = start_ns + position * period_ns
            self._sleep_until(due_ns)
            if isinstance(frame, Frame):
                # A file's frame is born when its time has come, or when it could be read if that was later.
                frame = replace(frame, captured_ns=round(max(due_ns, frame.captured_ns)))
            self.position = position
            yield _as_read(frame, position)

    def _sleep_until(self, due_ns: float) -> None:
        while not self._stopping():
            left = (due_ns - time.monotonic_ns()) / 1e9
            if left <= 0:
                return
            time.sleep(min(left, _LONGEST_SLEEP))


def _as_read(frame: Frame | str, position: int) -> Read:
    return Read(None, position, frame) if isinstance(frame, str) else Read(frame, position)
