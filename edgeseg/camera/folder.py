"""A folder of images, or one image, as a source."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np

from edgeseg.camera.base import Frame, to_rgb
from edgeseg.errors import CorruptFrameError, SourceError
from edgeseg.resize import Image

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
ASSUMED_FPS = 10.0


class ImageFolder:
    """The images directly in a folder in the order of their names, at an assumed 10 frames a second.

    Raises:
        SourceError: The folder is missing or holds no images, or the first of them cannot be read.
    """

    live = False
    fps = ASSUMED_FPS
    format = "images"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.paths = _images(path)
        self.frame_count: int | None = len(self.paths)
        height, width = read_image(self.paths[0]).shape[:2]
        self.frame_size = (height, width)
        self._next = 0

    def read(self) -> Frame | None:
        if self._next >= len(self.paths):
            return None
        started = time.monotonic_ns()
        path = self.paths[self._next]
        self._next += 1
        try:
            image = read_image(path)
        except SourceError as error:
            raise CorruptFrameError(
                path, expected=error.expected, found=error.found, next_step=error.next_step
            ) from error
        now = time.monotonic_ns()
        return Frame(image, self._next - 1, now, (now - started) / 1e6)

    def skip(self) -> bool:
        self._next += 1
        return self._next <= len(self.paths)

    def close(self) -> None:
        """Nothing is held open between frames."""


def read_image(path: Path) -> Image:
    """An image file as ``uint8 [H, W, 3]`` RGB, turned as its EXIF orientation says.

    Raises:
        SourceError: It is missing or no image.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, str(error).strip()) from error
    return decode_image(data, path)


def decode_image(data: bytes, source: str | Path) -> Image:
    """An image file's bytes as ``uint8 [H, W, 3]`` RGB, turned as its EXIF orientation says.

    Raises:
        SourceError: They are no image; ``source`` says whose they are.
    """
    # Not imread: that prints to stderr instead of saying why, and fails on some characters in names.
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error as error:
        raise _unreadable(source, str(error).strip()) from error
    if bgr is None:
        raise _unreadable(source, f"{len(data)} bytes that do not decode")
    return to_rgb(np.asarray(bgr, np.uint8))


def _images(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise SourceError(
            path,
            expected="an image or a folder of images",
            found="nothing there",
            next_step="Check the path.",
        )
    images = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not images:
        raise SourceError(
            path,
            expected=f"a folder with images ({', '.join(IMAGE_SUFFIXES)})",
            found="none directly in it",
            next_step="Name the folder that holds the images themselves.",
        )
    return images


def _unreadable(source: str | Path, found: str) -> SourceError:
    return SourceError(
        source, expected="an image", found=found, next_step="Remove the file or replace it with a whole one."
    )
