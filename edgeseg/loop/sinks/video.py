"""An mp4 file of overlays, or of masks, that lasts exactly as long as its source."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeseg.atomic import StagedFile
from edgeseg.errors import SinkError
from edgeseg.loop.sinks.base import Published
from edgeseg.loop.sinks.encoders import Encoder, choose_codec, open_encoder
from edgeseg.resize import Image


class VideoSink:
    """Writes ``FILE.mp4`` at the source's size and rate; the file is there finished, or not at all.

    The picture at position n of the source stands at frame n of the file. Where the loop dropped frames, the
    last picture is held, so that the file keeps the source's time. The format knows even sizes only: of an
    odd one the last row or column is left out.

    Args:
        path: The file.
        fps: Frames a second.
        masks: Write the classes' colours alone, instead of the frame with its classes over it.

    Attributes:
        codec: What the pictures are encoded with: H.264 where this machine has an encoder for it.

    Raises:
        SinkError: The folder cannot be written.
    """

    def __init__(self, path: Path, fps: float, *, masks: bool = False) -> None:
        self.name = f"masks:{path}" if masks else str(path)
        self.output: Path | None = None
        self.codec = choose_codec()
        self._masks = masks
        self._path = path
        self._fps = fps
        self._encoder: Encoder | None = None
        self._last: Image | None = None
        self._written = 0
        if path.is_dir():
            raise self._error("a file name", "a folder of that name", "Name another file.")
        try:
            self._staged = StagedFile(path)
        except OSError as error:
            raise self._error("a folder that can be made", str(error), "Name another place.") from error

    def write(self, published: Published) -> None:
        picture = self._draw(published)
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
        complaint = self._encoder.finish() if self._encoder else ""
        if complaint:
            raise self._error("a file that can be written", complaint, "Check the free space there.")
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
        if self._encoder is not None:
            self._encoder.abort()
            self._encoder = None
        self._last = None
        self._staged.discard()

    def _draw(self, published: Published) -> Image:
        """The picture as the encoder takes it: BGR, of an even size."""
        segmentation = published.segmentation
        rgb = segmentation.labels.colorize(segmentation.mask) if self._masks else published.picture()
        height, width = (max(2, side // 2 * 2) for side in rgb.shape[:2])
        bgr = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), np.uint8)
        return np.ascontiguousarray(bgr[:height, :width])

    def _hold_until(self, position: int) -> None:
        """Repeat the last picture up to, not at, ``position``; the first also stands for what was before."""
        if self._last is None:
            return
        if self._encoder is None:
            self._encoder = self._open(*self._last.shape[:2])
        try:
            while self._written < position:
                self._encoder.write(self._last)
                self._written += 1
        except OSError as error:
            found = self._encoder.finish() or str(error)
            raise self._error("a file that can be written", found, "Check the free space there.") from error

    def _open(self, height: int, width: int) -> Encoder:
        try:
            return open_encoder(self.codec, self._staged.path, self._fps, width, height)
        except OSError as error:
            raise self._error(
                f"a file that can be written as {self.codec} at {self._fps:g} frames a second",
                str(error),
                "Check the permissions and the free space there.",
            ) from error

    def _error(self, expected: str, found: str, next_step: str) -> SinkError:
        return SinkError(self._path, expected=expected, found=found, next_step=next_step)


def _count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    capture.release()
    return count
