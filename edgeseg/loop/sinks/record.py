"""The seconds around what went wrong, kept on the disk: frames, masks and stamps."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeseg.errors import SinkError, UsageError
from edgeseg.loop.sinks.base import Published
from edgeseg.loop.sinks.record_folder import EventFolder, Moment

_JPEG_QUALITY = 85
_PNG_COMPRESSION = 1
# As many masks in a row that missed the deadline are an event; fewer are a hiccup.
_LATE_RUN = 10
_MEMORY_BYTES = 256_000_000
# What happens while an event is being recorded prolongs it, up to this many times its own length.
_LONGEST = 3
_UNEVENTFUL = (
    ("STARTING", "OK"),
    *((state, "STOPPING") for state in ("STARTING", "OK", "DEGRADED", "FAILED")),
)


class Recorder:
    """A sink that keeps the last seconds in memory, and writes those around an event to a folder.

    An event is a change of the loop's state, a run of late masks, or :meth:`trigger`. Its folder
    ``DIR/event-TIME-REASON/`` holds ``SEQUENCE.jpg`` (the frame), ``SEQUENCE.png`` (the class ids at the
    model's size) and ``event.json`` (why, when, and every stamp), and is there whole or not at all. A thread
    writes it, so that masks go on being taken. When the events take more than ``max_mb``, the oldest go.

    Args:
        folder: Where the events' folders go; it may hold those of former runs, which count too.
        seconds: How much before and after an event is kept.
        max_mb: Megabytes that all events may take.

    Attributes:
        recorded: Folders written by this run.

    Raises:
        UsageError: A number is not positive.
        SinkError: The folder cannot be written.
    """

    def __init__(self, folder: Path, seconds: float = 10, max_mb: float = 500) -> None:
        for name, value in (("seconds", seconds), ("max_mb", max_mb)):
            if not 0 < value < float("inf"):
                raise UsageError(name, expected="more than 0", found=str(value), next_step="Correct it.")
        self.name = f"record:{folder}"
        self.output: Path | None = None
        self._disk = EventFolder(folder, round(max_mb * 1e6))
        self._seconds = seconds
        self._ring: deque[Moment] = deque()
        self._ring_bytes = 0
        self._event: _Event | None = None
        self._state = ""
        self._late = 0
        self._lock = threading.RLock()
        self._saving: threading.Thread | None = None
        self._failure: SinkError | None = None
        self._stopped = False

    @property
    def recorded(self) -> list[Path]:
        return self._disk.written

    def write(self, published: Published) -> None:
        """Take a mask.

        Raises:
            SinkError: Once, after an event could not be written; nothing is recorded from then on.
        """
        if self._failed():
            return
        moment = _encode(published)
        with self._lock:
            self._keep(moment)
            self._late = self._late + 1 if published.stamp.late else 0
            if self._late == _LATE_RUN:
                self.trigger("late masks")
            self._see_state(published.stamp.state, published.stamp.reason)
            self._save_if_over()

    def event(self, event: Mapping[str, Any]) -> None:
        if self._failed():
            return
        with self._lock:
            if event.get("event") == "state":
                self._see_state(str(event.get("state", "")), str(event.get("reason", "")))
            if self._event is not None:
                self._event.events.append(dict(event))
            self._save_if_over()

    def trigger(self, reason: str) -> None:
        """Keep the seconds before and after now."""
        with self._lock:
            if self._stopped:
                return
            now = time.monotonic()
            if self._event is None:
                self._event = _Event(reason, now, list(self._ring))
                self._save_later(self._event)
            self._event.reasons.append(reason)
            self._event.until = min(now + self._seconds, self._event.started + _LONGEST * self._seconds)

    def finish(self, positions: int) -> None:  # noqa: ARG002 - what every sink is given
        """Write the event that is being recorded, as far as it has come.

        Raises:
            SinkError: It could not be written.
        """
        self._save()
        self._wait()
        self._failed()
        self.output = self._disk.path if self._disk.written else None

    def close(self) -> None:
        self._save()
        self._wait()
        with self._lock:
            self._stopped = True
            self._ring.clear()

    def _keep(self, moment: Moment) -> None:
        self._ring.append(moment)
        self._ring_bytes += moment.size
        oldest = moment.taken - self._seconds
        while self._ring[0].taken < oldest or self._ring_bytes > _MEMORY_BYTES:
            self._ring_bytes -= self._ring.popleft().size
            if not self._ring:
                break
        event = self._event
        if event is not None and moment.taken <= event.until:
            event.add(moment)

    def _see_state(self, state: str, reason: str) -> None:
        old, self._state = self._state, state
        if old and state != old and (old, state) not in _UNEVENTFUL:
            self.trigger(f"{state} {reason}".strip())

    def _save_later(self, event: _Event) -> None:
        """An event must end, too, when neither masks nor events come any more."""
        timer = threading.Timer(_LONGEST * self._seconds + 0.5, self._save, (event,))
        timer.daemon = True
        timer.start()
        event.timer = timer

    def _save_if_over(self) -> None:
        if self._event is not None and time.monotonic() >= self._event.until:
            self._save()

    def _save(self, only: _Event | None = None) -> None:
        """Hand the event to a thread that writes it."""
        with self._lock:
            event = self._event
            if event is None or self._stopped or only not in (None, event):
                return
            self._event = None
            if event.timer is not None:
                event.timer.cancel()
            before = self._saving
            self._saving = threading.Thread(target=self._write_out, args=(event, before), daemon=True)
            self._saving.start()

    def _write_out(self, event: _Event, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()
        if self._failure is not None:
            return
        try:
            self._disk.save(event.name(), event.moments, event.describe())
        except OSError as error:
            self._failure = SinkError(
                self.name,
                expected="a folder that can be written",
                found=error.strerror or type(error).__name__,
                next_step="Free space there and start again; nothing more is recorded until then.",
            )

    def _wait(self) -> None:
        with self._lock:
            saving = self._saving
        if saving is not None:
            saving.join()

    def _failed(self) -> bool:
        """Whether recording has stopped; the first to ask after a failure gets it as an error."""
        with self._lock:
            if self._failure is not None and not self._stopped:
                self._stopped = True
                self._event = None
                self._ring.clear()
                raise self._failure
            return self._stopped


class _Event:
    """One that is being recorded."""

    def __init__(self, reason: str, started: float, moments: list[Moment]) -> None:
        self.reason = reason
        self.reasons: list[str] = []
        self.started = started
        self.until = started
        self.time = datetime.now(timezone.utc)
        self.moments = moments
        self.events: list[dict[str, Any]] = []
        self.timer: threading.Timer | None = None
        self._bytes = sum(m.size for m in moments)

    def add(self, moment: Moment) -> None:
        """One more, while there is memory for it."""
        if self._bytes + moment.size <= 2 * _MEMORY_BYTES:
            self.moments.append(moment)
            self._bytes += moment.size

    def name(self) -> str:
        reason = re.sub("[^a-z0-9]+", "-", self.reason.lower()).strip("-")[:40] or "event"
        return f"event-{self.time:%Y%m%dT%H%M%S}.{self.time.microsecond // 1000:03d}Z-{reason}"

    def describe(self) -> dict[str, Any]:
        return {
            "time": self.time.isoformat(timespec="milliseconds"),
            "reasons": self.reasons,
            "events": self.events,
            "masks": [m.stamp for m in self.moments],
        }


def _encode(published: Published) -> Moment:
    segmentation = published.segmentation
    bgr = np.asarray(cv2.cvtColor(segmentation.frame, cv2.COLOR_RGB2BGR), np.uint8)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    _, png = cv2.imencode(".png", segmentation.model_mask, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION])
    return Moment(time.monotonic(), published.describe(), jpeg.tobytes(), png.tobytes())
