"""What every source of frames does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from edgeseg.resize import Image


@dataclass(frozen=True)
class Frame:
    """One picture of a source.

    Args:
        image: ``uint8 [H, W, 3]`` RGB.
        index: Its place in the source, from 0.
        captured_ns: When the process received it, on the clock of :func:`time.monotonic_ns`. Exposure and
            transport lie before that and are not seen.
        decode_ms: Milliseconds that decoding and the change to RGB took.
    """

    image: Image
    index: int
    captured_ns: int
    decode_ms: float


class Source(Protocol):
    """An open source. It is read from one thread at a time.

    Attributes:
        name: For messages and reports; a password in an address is left out.
        live: Whether frames come at their own time, and are lost when nobody reads them.
        fps: Frames a second, as the source says or, for a folder of images, as is assumed.
        frame_size: (height, width) of its frames.
        frame_count: How many frames there will be, or ``None`` where nobody knows.
    """

    name: str
    live: bool
    fps: float
    frame_size: tuple[int, int]
    frame_count: int | None

    def read(self) -> Frame | None:
        """The next frame, or ``None`` at the end.

        Raises:
            SourceError: A frame cannot be read, or a live source stopped giving frames.
        """

    def skip(self) -> bool:
        """Pass over the next frame as cheaply as possible; ``False`` at the end."""

    def close(self) -> None:
        """Release the device or file; calling twice is harmless."""


def to_rgb(bgr: Image) -> Image:
    """OpenCV's channel order to ours: ``uint8 [H, W, 3]``."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
