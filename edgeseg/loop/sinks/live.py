"""A page for people, in a browser on the vehicle: the road with its classes, and how the loop is doing."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeseg.errors import SinkError
from edgeseg.loop.sinks.address import Address, host_and_port, positive, warn_of_network
from edgeseg.loop.sinks.base import Published
from edgeseg.loop.sinks.live_server import LiveServer
from edgeseg.overlay import draw_caption

_JPEG_QUALITY = 80
_PICTURES_PER_SECOND = 15.0


class LiveSink:
    """Serves ``/`` (the page), ``/stream.mjpg``, ``/frame.jpg`` and ``/status.json`` at ``http://HOST:PORT``.

    :meth:`write` copies the frame and its mask and is done: pictures are drawn and encoded in the threads
    that answer browsers, once for all of them, and only while somebody looks. No browser holds the loop up.

    Args:
        host: Where to listen. Anything but a loopback address shows the camera to the network; that is
            warned of.
        port: 0 takes any free one; :attr:`name` says which.
        fps: Most pictures a second that are drawn.

    Raises:
        SinkError: The address cannot be listened on.
    """

    def __init__(self, host: str, port: int, fps: float = _PICTURES_PER_SECOND) -> None:
        self.output: Path | None = None
        self._board = Board()
        try:
            self._server: LiveServer | None = LiveServer(host, port, self._board, fps)
        except OSError as error:
            raise SinkError(
                f"--sink http://{host}:{port}",
                expected="an address to listen on",
                found=error.strerror or str(error),
                next_step="Choose another port, or 0 for any free one.",
            ) from error
        self.name = self._server.url
        warn_of_network(self.name, host)

    @classmethod
    def open(cls, address: Address) -> LiveSink:
        """Of ``http://HOST:PORT?fps=15``."""
        address.check_options(("fps",))
        return cls(*host_and_port(address), address.option("fps", positive, _PICTURES_PER_SECOND))

    def write(self, published: Published) -> None:
        self._board.put(published)

    def event(self, event: Mapping[str, Any]) -> None:
        if event.get("event") == "state":
            self._board.put_state(str(event.get("state", "")), str(event.get("reason", "")))

    def finish(self, positions: int) -> None:
        """Nothing is left to complete."""

    def close(self) -> None:
        self._board.close()
        if self._server is not None:
            self._server.close()
            self._server = None


class Board:
    """The newest mask, for any number of threads that look at it; one writes.

    Frames come in buffers that the loop uses again, so they are copied: into one of three copies, of which at
    most one is the newest and one is being drawn.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._drawing = threading.Lock()
        self._copies: list[Published | None] = [None, None, None]
        self._newest = -1
        self._drawn = -1
        self._state: tuple[str, str] | None = None
        self._received = 0.0
        self._jpeg: tuple[int, bytes] = (0, b"")
        self.closed = False

    def put(self, published: Published) -> None:
        """A new mask."""
        free = next(i for i in range(3) if i not in (self._newest, self._drawn))
        copy = _copied(published, self._copies[free])
        with self._changed:
            self._copies[free] = copy
            self._newest = free
            self._state = None
            self._received = time.monotonic()
            self._changed.notify_all()

    def put_state(self, state: str, reason: str) -> None:
        """The loop's state has changed without a mask."""
        with self._changed:
            self._state = (state, reason)

    def close(self) -> None:
        """Let everybody who waits go."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def wait(self, after: int, seconds: float) -> bool:
        """Wait for a mask whose sequence is not ``after``; whether there is one."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self.closed or self._sequence() not in (0, after), seconds
            ) and (not self.closed)

    def jpeg(self) -> tuple[int, bytes]:
        """The newest picture and its sequence; sequence 0 and no bytes before the first mask."""
        with self._drawing:
            with self._changed:
                published = self._copies[self._newest] if self._newest >= 0 else None
                if published is None or published.stamp.sequence == self._jpeg[0]:
                    return self._jpeg
                self._drawn = self._newest
            self._jpeg = (published.stamp.sequence, _encode(published))
            self._drawn = -1
            return self._jpeg

    def status(self) -> dict[str, Any]:
        """What ``/status.json`` gives."""
        with self._changed:
            # The newest copy is written to again only once it is not the newest: not before this is done.
            return self._describe(self._copies[self._newest] if self._newest >= 0 else None)

    def _describe(self, published: Published | None) -> dict[str, Any]:
        if published is None:
            state, reason = self._state or ("STARTING", "")
            return {"sequence": 0, "state": state, "reason": reason}
        values = {
            **published.describe(),
            "since_ms": round((time.monotonic() - self._received) * 1000),
            "fps": round(published.figures.fps or 0.0, 1),
            "dropped": published.figures.dropped,
            "size": [published.segmentation.frame.shape[1], published.segmentation.frame.shape[0]],
            "latency_ms": _latency(published),
            "classes": _classes(published),
        }
        if self._state is not None:
            values["state"], values["reason"] = self._state
        return values

    def _sequence(self) -> int:
        published = self._copies[self._newest] if self._newest >= 0 else None
        return published.stamp.sequence if published else 0


def _copied(published: Published, into: Published | None) -> Published:
    """A copy of a mask whose arrays are those of ``into``, where they have the right sizes."""
    segmentation = published.segmentation
    old = into.segmentation if into else None
    return replace(
        published,
        segmentation=replace(
            segmentation,
            frame=_copy(segmentation.frame, old.frame if old else None),
            mask=_copy(segmentation.mask, old.mask if old else None),
            model_mask=_copy(segmentation.model_mask, old.model_mask if old else None),
            confidence=None,
        ),
    )


def _copy(
    array: np.ndarray[Any, np.dtype[np.uint8]], into: np.ndarray[Any, np.dtype[np.uint8]] | None
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    if into is None or into.shape != array.shape:
        return array.copy()
    np.copyto(into, array)
    return into


def _encode(published: Published) -> bytes:
    picture = published.segmentation.overlay(legend=False)
    if not published.segmentation.valid:
        draw_caption(picture, "NOT VALID", warn=True)
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR, picture)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return encoded.tobytes()


def _latency(published: Published) -> dict[str, float | None]:
    timings, figures = published.segmentation.timings, published.figures
    stages = {
        "decode": figures.decode_ms,
        "wait": figures.wait_ms,
        "resize": timings.resize_ms,
        "infer": timings.infer_ms,
        "post": timings.post_ms,
        "sink": figures.sink_ms,
    }
    return {name: None if value is None else round(value, 2) for name, value in stages.items()}


def _classes(published: Published) -> list[dict[str, Any]]:
    shares = published.shares()
    return [
        {"name": c.name, "color": list(c.color), "share": shares[c.name]}
        for c in published.segmentation.labels.classes
    ]
