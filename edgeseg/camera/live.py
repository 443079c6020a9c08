"""Cameras and network streams: sources whose frames come at their own time."""

from __future__ import annotations

import math
import os
import re
import time
from pathlib import Path

import cv2
import numpy as np

from edgeseg.camera.base import READ_TIMEOUT_S, Frame, Wanted, to_rgb
from edgeseg.errors import SourceError

STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp")
ASSUMED_FPS = 30.0
OPEN_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = round(READ_TIMEOUT_S * 1000)


class LiveCamera:
    """A V4L2 camera or a network stream; made by :meth:`device` and :meth:`stream`."""

    live = True
    frame_count: int | None = None

    def __init__(self, name: str, capture: cv2.VideoCapture) -> None:
        self.name = name
        self._capture = capture
        fps = float(capture.get(cv2.CAP_PROP_FPS))
        # Some cameras and most streams do not say, or say their clock's ticks.
        self.fps = fps if math.isfinite(fps) and 1 <= fps <= 240 else ASSUMED_FPS
        self.frame_size = (
            int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        )
        self.format = _four_letters(int(capture.get(cv2.CAP_PROP_FOURCC))) or "unknown"
        self._next = 0

    @classmethod
    def device(cls, path: str, wanted: Wanted) -> LiveCamera:
        """Open a camera by its device file.

        Raises:
            SourceError: There is none, or it cannot be opened.
        """
        device = Path(path)
        if not device.exists():
            there = ", ".join(sorted(str(p) for p in Path("/dev").glob("video*"))) or "no /dev/video* at all"
            raise SourceError(
                device,
                expected="a camera",
                found=there,
                next_step="Plug the camera in, or name another source.",
            )
        # In seconds, and read by OpenCV once in the life of a process.
        os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", f"{READ_TIMEOUT_S:.0f}")
        capture = cv2.VideoCapture(str(device), cv2.CAP_V4L2)
        # The driver's queue would hand out frames that are several periods old.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        _ask(capture, wanted)
        return cls(str(device), _opened(capture, str(device), "no permission, or another program has it"))

    @classmethod
    def stream(cls, address: str) -> LiveCamera:
        """Open a network stream.

        Raises:
            SourceError: Nothing answers there in time, or it is no video.
        """
        limits = [
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            OPEN_TIMEOUT_MS,
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            READ_TIMEOUT_MS,
        ]
        capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, limits)
        name = without_password(address)
        return cls(name, _opened(capture, name, f"no video there within {OPEN_TIMEOUT_MS // 1000} s"))

    def read(self) -> Frame | None:
        """The newest frame; waits for it. A live source has no end."""
        there = self._capture.grab()
        captured = time.monotonic_ns()
        there, bgr = self._capture.retrieve() if there else (False, None)
        if not there:
            raise SourceError(
                self.name,
                expected="another frame",
                found=f"none after {self._next} frames",
                next_step="Check the camera, its cable or the network.",
            )
        image = to_rgb(np.asarray(bgr, np.uint8))
        self._next += 1
        return Frame(image, self._next - 1, captured, (time.monotonic_ns() - captured) / 1e6)

    def skip(self) -> bool:
        there = bool(self._capture.grab())
        self._next += there
        return there

    def close(self) -> None:
        self._capture.release()


def _ask(capture: cv2.VideoCapture, wanted: Wanted) -> None:
    # In this order: the format decides which sizes there are, and both which rates.
    if wanted.format:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.format))
    if wanted.size:
        height, width = wanted.size
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
    if wanted.fps:
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)


def _opened(capture: cv2.VideoCapture, name: str, why_not: str) -> cv2.VideoCapture:
    if not capture.isOpened():
        raise SourceError(
            name,
            expected="a camera or stream that opens",
            found=why_not,
            next_step="Check that it is there and that this user may use it.",
        )
    return capture


def _four_letters(code: int) -> str:
    return "".join(
        letter for letter in (chr(code >> shift & 0xFF) for shift in (0, 8, 16, 24)) if letter.isalnum()
    )


def without_password(address: str) -> str:
    """The address or pipeline as it may be shown and written down; any other text as it is."""
    for pattern, shown in _SECRETS:
        address = pattern.sub(shown, address)
    return address


_SECRETS = (
    # To the last @ of the host part: a password may hold one itself. A synthetic camera has its rate there.
    (re.compile(r"(?<!synthetic)://[^/\s]*@", re.IGNORECASE), "://…@"),
    # A GStreamer element's user-pw=…, and the queries of network cameras.
    (
        re.compile(r"""((?:pw|pwd|pass|passwd|password|token)\s*=\s*)("[^"]*"|[^&\s"]+)""", re.IGNORECASE),
        r"\1…",
    ),
)
