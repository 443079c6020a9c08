"""A video file as a source."""

from __future__ import annotations

import math
import time
from pathlib import Path

import cv2
import numpy as np

from edgeseg.camera.base import Frame, to_rgb
from edgeseg.errors import SourceError

# Containers may count a few frames that do not decode; more missing than this is a damaged file.
_MISSING_SHARE = 0.05


class VideoFile:
    """Every frame of a video file, in order.

    Raises:
        SourceError: The file is missing, is no video that FFmpeg reads, or does not tell its frame rate.
    """

    live = False
    format = "video file"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._capture = _open(path)
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.frame_size = (
            int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
            int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        )
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frame_count = count if count > 0 else None
        self._next = 0
        if not math.isfinite(self.fps) or self.fps <= 0:
            self.close()
            raise SourceError(
                path,
                expected="a video that tells its frame rate",
                found=f"{self.fps} frames a second",
                next_step="Convert it to mp4 first.",
            )

    def read(self) -> Frame | None:
        started = time.monotonic_ns()
        there, bgr = self._capture.read()
        if not there:
            self._check_whole()
            return None
        image = to_rgb(np.asarray(bgr, np.uint8))
        now = time.monotonic_ns()
        self._next += 1
        return Frame(image, self._next - 1, now, (now - started) / 1e6)

    def skip(self) -> bool:
        if not self._capture.grab():
            self._check_whole()
            return False
        self._next += 1
        return True

    def close(self) -> None:
        self._capture.release()

    def _check_whole(self) -> None:
        """A damaged file ends early, and OpenCV reports that as if it were the end."""
        if self.frame_count and self._next < self.frame_count * (1 - _MISSING_SHARE):
            raise SourceError(
                self.name,
                expected=f"{self.frame_count} frames",
                found=f"the end, or frames that do not decode, after {self._next}",
                next_step="The file is damaged: copy it again.",
            )


def _open(path: Path) -> cv2.VideoCapture:
    if not path.is_file():
        raise SourceError(
            path,
            expected="a video file, a folder of images, a camera (0, /dev/video0) or rtsp://…",
            found="a folder" if path.is_dir() else "nothing there",
            next_step="Check the path.",
        )
    # FFmpeg only: other backends would take any file name with digits for a series of images.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    if not capture.isOpened():
        raise SourceError(
            path,
            expected="a video that FFmpeg can read",
            found=f"a file of {path.stat().st_size} bytes that it cannot open",
            next_step="Check that the file is a whole video; convert it to mp4 if its format is rare.",
        )
    return capture
