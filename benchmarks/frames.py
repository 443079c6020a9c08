"""The encoded frames that a benchmark decodes, as a camera's JPEG stream would deliver them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edgeseg.bundle import Bundle
from edgeseg.errors import InferenceError, SourceError
from edgeseg.resize import Image, resize_image

CAMERA_SIZE = (720, 1280)
"""Height and width that golden frames are enlarged to, where there is nothing better."""
MAX_FRAMES = 64
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class FrameSet:
    """JPEG files, given to every bundle in the same order, over and over.

    ``origin`` says in words where they come from; ``height`` and ``width`` are those of the first.
    """

    encoded: tuple[bytes, ...]
    height: int
    width: int
    origin: str

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values, without the frames."""
        return {
            "origin": self.origin,
            "distinct_frames": len(self.encoded),
            "size": f"{self.width}x{self.height}",
            "encoding": f"JPEG, quality {_JPEG_QUALITY}",
            "mean_bytes": round(sum(map(len, self.encoded)) / len(self.encoded)),
        }


def frames_from_images(images: Iterable[Image], origin: str) -> FrameSet:
    """At most the first ``MAX_FRAMES`` of some images ``uint8 [H, W, 3]`` RGB, encoded at their own size.

    Raises:
        SourceError: There are none.
    """
    encoded: list[bytes] = []
    height = width = 0
    for _, image in zip(range(MAX_FRAMES), images, strict=False):
        if not encoded:
            height, width = image.shape[:2]
        encoded.append(_encode(image))
    if not encoded:
        raise SourceError(
            origin, expected="at least one frame", found="none", next_step="Name a source that holds images."
        )
    return FrameSet(tuple(encoded), height, width, origin)


def frames_from_source(source: str) -> FrameSet:
    """The first frames of a video, image or folder of images.

    Raises:
        SourceError: It cannot be read.
    """
    return frames_from_images(_read(source), f"{Path(source).name}, encoded again")


def frames_from_golden(bundle: Bundle) -> FrameSet:
    """A bundle's golden frames enlarged to a camera's size: real content, but softer than a camera's."""
    height, width = CAMERA_SIZE
    golden = bundle.golden().frames
    enlarged = (resize_image(frame, height, width) for frame in golden)
    return frames_from_images(
        enlarged, f"golden frames of {bundle.path.name}, enlarged from {golden.shape[2]}x{golden.shape[1]}"
    )


def decode(encoded: bytes) -> Image:
    """A JPEG file to ``uint8 [H, W, 3]`` RGB.

    Raises:
        InferenceError: The bytes are not an image.
    """
    bgr = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise InferenceError(
            "benchmark frame",
            expected="a JPEG file",
            found=f"{len(encoded)} bytes that do not decode",
            next_step="Check the images that the benchmark was given.",
        )
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def _encode(image: Image) -> bytes:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1])


def _read(source: str) -> Iterator[Image]:
    # Not at the top: the workers import this module, and their cold start should not count cameras.
    from edgeseg.camera import open_source

    opened = open_source(source)
    try:
        while (frame := opened.read()) is not None:
            yield frame.image
    finally:
        opened.close()
