"""The sink thread: draws and writes masks without ever holding up inference."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace

from edgeseg.errors import EdgesegError, SinkError
from edgeseg.loop.channel import Channel, ChannelClosedError, Mailbox
from edgeseg.loop.report import Mode
from edgeseg.loop.sinks import Published, Sink
from edgeseg.loop.statistics import Durations
from edgeseg.segmenter import Segmentation

_IN_ORDER_MASKS = 2


@dataclass(frozen=True)
class Finished:
    """A mask that waits for the sink, its frame's place, and figures of the loop at that moment."""

    segmentation: Segmentation
    position: int
    figures: str


class Publisher:
    """Writes to ``sink`` in a thread of its own until :meth:`finish`.

    Args:
        max_age_ms: Masks older than this when the sink is given them are not valid; ``None``: all are.

    Attributes:
        error: What the sink failed with. No mask is written after it.
        written: Masks that the sink took.
        late: Masks that were not valid when the sink was given them.
        age: Milliseconds from capture to that moment.
        durations: Milliseconds that drawing and writing one took.
    """

    def __init__(self, sink: Sink, mode: Mode, max_age_ms: float | None) -> None:
        self.error: EdgesegError | None = None
        self.written = 0
        self.late = 0
        self.age = Durations()
        self.durations = Durations()
        self._sink = sink
        self._mode = mode
        self._max_age_ms = max_age_ms
        # One deep: a sink that is too slow for every mask must be given the newest, not one that queued.
        self._masks: Channel[Finished] = Channel(_IN_ORDER_MASKS) if mode == "every-frame" else Mailbox()
        self._positions = 0
        self._thread = threading.Thread(target=self._work, name="edgeseg-sink", daemon=True)

    def __enter__(self) -> Publisher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.finish(self._positions)

    def publish(self, finished: Finished) -> None:
        """Hand a mask over. Newest wins, except with ``every-frame``, which waits for the sink.

        Raises:
            EdgesegError: The sink has failed.
        """
        try:
            self._masks.put(finished)
        except ChannelClosedError:
            if self.error is not None:
                raise self.error from None
            raise

    def finish(self, positions: int) -> None:
        """Write what is left and complete the sink at ``positions`` frame periods; twice is harmless."""
        self._positions = positions
        self._masks.close()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._write_all()
            self._sink.finish(self._positions)
        except EdgesegError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a thread must not die unseen, whatever a driver throws
            self.error = _unexpected(self._sink.name, error)
        finally:
            self._masks.close()
            self._sink.close()

    def _write_all(self) -> None:
        while True:
            try:
                finished = self._masks.take()
            except ChannelClosedError:
                return
            if finished is None:
                continue
            published = self._published(finished)
            started = time.monotonic_ns()
            self._sink.write(published)
            self.durations.add((time.monotonic_ns() - started) / 1e6)
            self.written += 1

    def _published(self, finished: Finished) -> Published:
        """The mask as the sink is given it, with the age it has now; it is counted."""
        segmentation = finished.segmentation
        age_ms = (time.monotonic_ns() - segmentation.captured_ns) / 1e6
        self.age.add(age_ms)
        if self._max_age_ms is not None and age_ms > self._max_age_ms:
            self.late += 1
            segmentation = replace(segmentation, valid=False)
        # Frames of a file that waits have no age that means anything to who looks at the picture.
        age = "" if self._mode == "every-frame" else f"age {age_ms:.0f} ms   "
        return Published(segmentation, finished.position, age_ms, age + finished.figures)


def _unexpected(name: str, error: Exception) -> SinkError:
    return SinkError(
        name,
        expected="to be written",
        found=f"{type(error).__name__}: {error}",
        next_step="Check the free space and the permissions there.",
    )
