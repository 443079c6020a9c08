"""What the loop's benchmark looks at: a video file that is played as if it were a camera."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from edgeseg.camera import Frame, Wanted
from edgeseg.camera.scene import StreetScene
from edgeseg.camera.synthetic import SCHEME, parse
from edgeseg.errors import SourceError


def video_of(source: str, frames: int, folder: Path) -> Path:
    """The file named, or one with so many frames of a ``synthetic://`` street, drawn into ``folder``."""
    if not source.lower().startswith(f"{SCHEME}://"):
        return Path(source)
    options = parse(source, Wanted())
    height, width = options.size
    scene = StreetScene(height, width, options.seed, options.fps)
    path = folder / "street.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), options.fps, (width, height))
    for number in range(frames):
        writer.write(cv2.cvtColor(scene.draw(number), cv2.COLOR_RGB2BGR))
    writer.release()
    return path


class PacedVideo:
    """Frames of a video file, BGR, each at its own time and not before; at its end it begins anew.

    Raises:
        SourceError: It is no video.
    """

    def __init__(self, path: Path) -> None:
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) if self._capture.isOpened() else 0.0
        self.width, self.height = (
            int(self._capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if not 1 <= self.fps <= 1000:
            raise SourceError(
                path,
                expected="a video that FFmpeg reads, with its frame rate",
                found="another file, or none",
                next_step="Name a video file, or synthetic://1280x720@30.",
            )
        self._start = 0.0
        self._next = 0

    def read(self) -> tuple[int, np.ndarray]:
        """The next frame's number and its pixels. Who comes more than a period late has lost frames."""
        if not self._next:
            self._start = time.monotonic()
        while time.monotonic() > self._start + (self._next + 1) / self.fps:
            self._grab()
        time.sleep(max(0.0, self._start + self._next / self.fps - time.monotonic()))
        self._grab()
        return self._next - 1, np.asarray(self._capture.retrieve()[1], np.uint8)

    def close(self) -> None:
        self._capture.release()

    def _grab(self) -> None:
        if not self._capture.grab():
            self._capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
            self._capture.grab()
        self._next += 1


class FileCamera:
    """The same as a live source of the loop, for so many frame periods.

    A frame counts as captured once its pixels are there, as if the camera's driver had given them: decoding
    the file is not the loop's.
    """

    live = True
    format = "video file, as a camera"

    def __init__(self, path: Path, frames: int) -> None:
        self.name = str(path)
        self._video = PacedVideo(path)
        self.fps = self._video.fps
        self.frame_size = (self._video.height, self._video.width)
        self.frame_count: int | None = frames
        self._index = 0

    def read(self) -> Frame | None:
        started = time.monotonic_ns()
        number, bgr = self._video.read()
        if self.frame_count is not None and number >= self.frame_count:
            return None
        image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        now = time.monotonic_ns()
        self._index += 1
        return Frame(image, self._index - 1, now, (now - started) / 1e6, sequence=number)

    def skip(self) -> bool:
        return self.read() is not None

    def close(self) -> None:
        self._video.close()


def open_camera(text: str, _wanted: Wanted) -> FileCamera:
    """``FILE#FRAMES``; the loop's capture process finds this by its name."""
    path, _, frames = text.rpartition("#")
    return FileCamera(Path(path), int(frames))
