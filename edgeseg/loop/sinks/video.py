"""An mp4 file of overlays that lasts exactly as long as its source."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeseg.atomic import StagedFile
from edgeseg.errors import SinkError
from edgeseg.loop.sinks.base import Published
from edgeseg.resize import Image

# MPEG-4 part 2: of the mp4 encoders in pip's OpenCV the only one that keeps up with a camera (2.5 ms a
# frame of 960×540, where VP9 took 270 ms). There is none for H.264.
_CODEC = "mp4v"


class VideoSink:
    """Writes ``FILE.mp4`` at the source's size and rate; the file is there finished, or not at all.

    The picture at position n of the source stands at frame n of the file. Where the loop dropped frames, the
    last picture is held, so that the file keeps the source's time. The format knows even sizes only: of an
    odd one the last row or column is left out.

    Raises:
        SinkError: The folder cannot be written.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.name = str(path)
        self.output: Path | None = None
        self._path = path
        self._fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._last: Image | None = None
        self._written = 0
        if path.is_dir():
            raise self._error("a file name", "a folder of that name", "Name another file.")
        try:
            self._staged = StagedFile(path)
        except OSError as error:
            raise self._error("a folder that can be made", str(error), "Name another place.") from error

    def write(self, published: Published) -> None:
        picture = np.asarray(cv2.cvtColor(published.picture(), cv2.COLOR_RGB2BGR), np.uint8)
        if self._last is not None and picture.shape != self._last.shape:
            raise self._error(
                f"pictures of one size, {self._last.shape[1]}×{self._last.shape[0]}",
                f"{picture.shape[1]}×{picture.shape[0]}",
                "Write to a folder instead.",
            )
        self._hold_until(published.position)
        self._last = picture
        self._hold_until(published.position + 1)

    def finish(self, positions: int) -> None:
        if self._last is None:
            return
        self._hold_until(positions)
        self._release()
        # OpenCV says nothing of a full disk: the file itself is asked.
        found = _count_frames(self._staged.path)
        if found != self._written:
            raise self._error(
                f"{self._written} frames in the file",
                str(found),
                "Check the free space there, then run again.",
            )
        try:
            self._staged.commit()
        except OSError as error:
            raise self._error("a file that can be written", str(error), "Check the free space.") from error
        self.output = self._path

    def close(self) -> None:
        self._release()
        self._staged.discard()

    def _hold_until(self, position: int) -> None:
        """Repeat the last picture up to, not at, ``position``; the first also stands for what was before."""
        if self._last is None:
            return
        if self._writer is None:
            self._writer = self._open(*self._last.shape[:2])
        while self._written < position:
            self._writer.write(self._last)
            self._written += 1

    def _open(self, height: int, width: int) -> cv2.VideoWriter:
        fourcc = cv2.VideoWriter.fourcc(*_CODEC)
        writer = cv2.VideoWriter(str(self._staged.path), cv2.CAP_FFMPEG, fourcc, self._fps, (width, height))
        if not writer.isOpened():
            raise self._error(
                f"a file that OpenCV can write as {_CODEC} at {self._fps:g} frames a second",
                "it cannot be opened",
                "Check the permissions and the free space there.",
            )
        return writer

    def _release(self) -> None:
        if self._writer is not None:
            self._writer.release()
            self._writer = None

    def _error(self, expected: str, found: str, next_step: str) -> SinkError:
        return SinkError(self._path, expected=expected, found=found, next_step=next_step)


def _count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    return count
