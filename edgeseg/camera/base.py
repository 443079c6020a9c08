"""What every source of frames does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np

from edgeseg.resize import Image

READ_TIMEOUT_S = 5.0
"""How long a live source waits for a frame before it gives up."""

Clock = Literal["driver", "arrival"]
"""Who says when a frame was captured: the camera's driver, or this process as it received the frame."""


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Args:
        image: ``uint8 [H, W, 3]`` RGB. It belongs to the reader: the source does not write to it again.
        index: Its place in the source, from 0.
        captured_ns: On the clock of :func:`time.monotonic_ns`, as ``clock`` says: the driver's own time of
            the frame, or when the process received it. In the second case exposure and transport lie before
            it and are not seen.
        decode_ms: Milliseconds that decoding and the change to RGB took.
        clock: Whose time ``captured_ns`` is.
        sequence: The driver's own number of the frame, an unsigned 32-bit integer that wraps; ``None`` where
            there is none.
    """

    image: Image
    index: int
    captured_ns: int
    decode_ms: float
    clock: Clock = "arrival"
    sequence: int | None = None


@dataclass(frozen=True)
class Wanted:
    """What a camera is asked for; what it gives instead, its ``frame_size``, ``fps`` and ``format`` say.

    Args:
        size: (height, width) in pixels.
        fps: Frames a second.
        format: Four letters of the pixel format, for instance ``MJPG`` or ``YUYV``.
    """

    size: tuple[int, int] | None = None
    fps: float | None = None
    format: str | None = None


class Source(Protocol):
    """An open source. It is read from one thread at a time.

    Attributes:
        name: For messages and reports; a password in an address is left out.
        live: Whether frames come at their own time, and are lost when nobody reads them.
        fps: Frames a second, as the source says or, for a folder of images, as is assumed.
        frame_size: (height, width) of its frames.
        frame_count: How many frames there will be, or ``None`` where nobody knows.
        format: How pictures arrive, in words for reports: ``MJPG``, ``video file``, ``images``.
    """

    name: str
    live: bool
    fps: float
    frame_size: tuple[int, int]
    frame_count: int | None
    format: str

    def read(self) -> Frame | None:
        """The next frame, or ``None`` at the end.

        Raises:
            CorruptFrameError: This frame is damaged; the next may be whole.
            SourceError: A frame cannot be read, or a live source stopped giving frames. It has to be opened
                anew.
        """

    def skip(self) -> bool:
        """Pass over the next frame as cheaply as possible; ``False`` at the end."""

    def close(self) -> None:
        """Release the device or file; calling twice is harmless."""


_OLDEST_STAMP_NS = 10_000_000_000


def capture_time(stamp_ns: int | None, arrived_ns: int) -> tuple[int, Clock]:
    """The driver's time of a frame where there is one on our clock that can be true, else its arrival's.

    The counter of a camera's own chip, or no stamp at all, lies outside of the last ten seconds.
    """
    if stamp_ns is not None and 0 <= arrived_ns - stamp_ns <= _OLDEST_STAMP_NS:
        return stamp_ns, "driver"
    return arrived_ns, "arrival"


def to_rgb(bgr: Image) -> Image:
    """OpenCV's channel order to ours: ``uint8 [H, W, 3]``."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
