"""The capture thread: reads a source at its pace and hands its frames on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from edgeseg.camera import Frame, Source
from edgeseg.errors import EdgesegError, SourceError
from edgeseg.loop.channel import Channel, ChannelClosedError, Mailbox
from edgeseg.loop.report import Mode

_IN_ORDER_FRAMES = 2
_JOIN_SECONDS = 2.0


@dataclass(frozen=True)
class Captured:
    """A frame, its place on the source's time line in frame periods from 0, and when it could be taken."""

    frame: Frame
    position: int
    ready_ns: int


class Capture:
    """Reads ``source`` in a thread of its own, from ``__enter__`` to the source's end or ``__exit__``.

    Attributes:
        frames: Where the frames are taken from. It is closed when the source has ended.
        error: What ended the source, where that was not its end.
        captured, skipped: Frames read, and frames passed over since reading was late.
        positions: How many frame periods of the source have gone by.
    """

    def __init__(self, source: Source, mode: Mode) -> None:
        self.frames: Channel[Captured] = Channel(_IN_ORDER_FRAMES) if mode == "every-frame" else Mailbox()
        self.error: EdgesegError | None = None
        self.captured = 0
        self.skipped = 0
        self.positions = 0
        self._source = source
        self._stop = threading.Event()
        self._read = self._reader(mode)
        self._thread = threading.Thread(target=self._work, name="edgeseg-capture", daemon=True)

    def __enter__(self) -> Capture:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask the thread to end, and wait a little: a camera may never give the frame that it waits for."""
        self._stop.set()
        self.frames.close()
        self._thread.join(_JOIN_SECONDS)

    @property
    def running(self) -> bool:
        """Whether the thread still reads, so that the source must not be closed yet."""
        return self._thread.is_alive()

    def _work(self) -> None:
        try:
            for frame, position in self._read():
                self.captured += 1
                self.positions = position + 1
                self.frames.put(Captured(frame, position, time.monotonic_ns()))
        except ChannelClosedError:
            pass  # the loop was stopped while a frame waited for room
        except EdgesegError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a thread must not die unseen, whatever a driver throws
            self.error = _unexpected(self._source.name, error)
        finally:
            self.frames.close()

    def _reader(self, mode: Mode) -> Callable[[], Iterator[tuple[Frame, int]]]:
        readers = {"every-frame": self._in_order, "real-time": self._paced, "live": self._live}
        return readers[mode]

    def _in_order(self) -> Iterator[tuple[Frame, int]]:
        while not self._stop.is_set() and (frame := self._source.read()) is not None:
            yield frame, frame.index

    def _live(self) -> Iterator[tuple[Frame, int]]:
        first_ns: int | None = None
        while not self._stop.is_set() and (frame := self._source.read()) is not None:
            first_ns = frame.captured_ns if first_ns is None else first_ns
            yield frame, round((frame.captured_ns - first_ns) * self._source.fps / 1e9)

    def _paced(self) -> Iterator[tuple[Frame, int]]:
        """A file as if it were a camera: each frame appears when its time has come, and not before."""
        period_ns = 1e9 / self._source.fps
        start_ns: float | None = None
        position = 0
        while not self._stop.is_set():
            if start_ns is not None and time.monotonic_ns() > start_ns + (position + 1) * period_ns:
                # More than a period behind: a camera would have lost this frame.
                if not self._source.skip():
                    return
                self.skipped += 1
                self.positions = position = position + 1
                continue
            frame = self._source.read()
            if frame is None:
                return
            start_ns = frame.captured_ns if start_ns is None else start_ns
            due_ns = start_ns + position * period_ns
            self._stop.wait(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))
            # A file's frame is born when its time has come, or when it could be read if that was later.
            yield replace(frame, captured_ns=round(max(due_ns, frame.captured_ns))), position
            position += 1


def _unexpected(name: str, error: Exception) -> SourceError:
    return SourceError(
        name,
        expected="another frame",
        found=f"{type(error).__name__}: {error}",
        next_step="Check the source with another program; report this if it works there.",
    )
