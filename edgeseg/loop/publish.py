"""One sink and its thread: masks are drawn and written without ever holding up anything else."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgeseg.errors import EdgesegError, SinkError
from edgeseg.loop.board import Board
from edgeseg.loop.channel import Channel, ChannelClosedError, Mailbox
from edgeseg.loop.sinks import Figures, Published, Sink, Stamp, send_event
from edgeseg.segmenter import Segmentation

_IN_ORDER_MASKS = 2
_MOST_EVENTS = 100
_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Finished:
    """A mask that waits for the sinks, its frame's place, and what is known of it and the loop."""

    segmentation: Segmentation
    position: int
    stamp: Stamp
    figures: Figures


class Publisher:
    """Writes to one sink in a thread of its own until :meth:`finish`.

    Args:
        sink: It is finished and closed at the end.
        board: Where its masks are counted.
        index: Its place there.
        in_order: Wait for the sink rather than leave out a mask.
        deadline_ms: Masks older than this when the sink is given them are not valid; 0: no limit.

    Attributes:
        error: What the sink failed with. No mask is written after it.
    """

    def __init__(self, sink: Sink, board: Board, index: int, *, in_order: bool, deadline_ms: float) -> None:
        self.error: EdgesegError | None = None
        self.sink = sink
        self._board = board
        self._count: Any = board.sink(index)
        self._age, self._time = board.sink_age(index), board.sink_time(index)
        self._in_order = in_order
        self._deadline_ms = deadline_ms
        # One deep: a sink that is too slow for every mask must be given the newest, not one that queued.
        self._masks: Channel[tuple[int, Finished]] = Channel(_IN_ORDER_MASKS) if in_order else Mailbox()
        # Each with the number of the mask before it: told first, that one's older state would undo it.
        self._events: deque[tuple[int, Mapping[str, Any]]] = deque(maxlen=_MOST_EVENTS)
        self._put = self._took = 0
        self._positions = 0
        self._thread = threading.Thread(target=self._work, name="edgeseg-sink", daemon=True)
        self._thread.start()

    def publish(self, finished: Finished) -> None:
        """Hand a mask over; one that has failed gets none, nor one that is stuck when the loop ends."""
        self._put += 1
        try:
            while not self._masks.put((self._put, finished), _POLL_SECONDS) and not self._board.stopping:
                pass
        except ChannelClosedError:
            return

    def tell(self, event: Mapping[str, Any]) -> None:
        """Hand an event of the loop over."""
        self._events.append((self._put, event))

    def finish(self, positions: int, seconds: float | None = None) -> bool:
        """Write what is left, complete the sink at ``positions`` frame periods; whether that is done."""
        self._positions = positions
        self._masks.close()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            self._write_all()
            self.sink.finish(self._positions)
        except EdgesegError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - a thread must not die unseen, whatever a library throws
            self.error = _unexpected(self.sink.name, error)
        finally:
            self._count["failed"] = self.error is not None
            self._masks.close()
            self.sink.close()

    def _write_all(self) -> None:
        while True:
            try:
                taken = self._masks.take(_POLL_SECONDS)
            except ChannelClosedError:
                self._took = self._put
                self._tell_events()
                return
            if taken is not None:
                self._took, finished = taken
                self._write(finished)
            self._tell_events()

    def _tell_events(self) -> None:
        """Those that no mask has still to come before."""
        while self._events and self._events[0][0] <= self._took:
            send_event(self.sink, self._events.popleft()[1])

    def _write(self, finished: Finished) -> None:
        """The mask as the sink is given it, with the age it has now; it is counted."""
        segmentation, stamp, started = finished.segmentation, finished.stamp, time.monotonic_ns()
        age_ms = (started - segmentation.captured_ns) / 1e6
        self._age.add(age_ms)
        if self._deadline_ms and age_ms > self._deadline_ms:
            self._count["late"] += 1
            segmentation, stamp = replace(segmentation, valid=False), replace(stamp, late=True)
        if not self._in_order and self._board.state == "FAILED":
            segmentation = replace(segmentation, valid=False)
        figures = replace(finished.figures, sink_ms=self._time.last)
        caption = _caption(finished, None if self._in_order else age_ms)
        self.sink.write(Published(segmentation, finished.position, age_ms, caption, stamp, figures))
        self._time.add((time.monotonic_ns() - started) / 1e6)
        self._count["written"] += 1


def _caption(finished: Finished, age_ms: float | None) -> str:
    """Frames of a file that waits have no age that means anything to who looks at the picture."""
    age = "" if age_ms is None else f"age {age_ms:.0f} ms   "
    state = "" if finished.stamp.state in ("OK", "STARTING") else f"{finished.stamp.state}   "
    infer_ms, fps = finished.segmentation.timings.infer_ms, finished.figures.fps or 0.0
    return f"{state}{age}inference {infer_ms:.0f} ms   {fps:.1f} fps"


def _unexpected(name: str, error: Exception) -> SinkError:
    return SinkError(
        name,
        expected="to be written",
        found=f"{type(error).__name__}: {error}",
        next_step="Check the free space and the permissions there.",
    )
