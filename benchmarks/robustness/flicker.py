"""How much a model's masks of a video flicker: pixels whose class changes from one frame to the next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.corruptions import CORRUPTIONS, corrupt
from edgeseg.benchmarks.robustness.plan import CLEAN, FLICKER_FRAMES, Cell
from edgeseg.camera import is_live, open_source, without_password
from edgeseg.errors import SourceError, UsageError
from edgeseg.labels import Mask
from edgeseg.loop.smoothing import flicker
from edgeseg.resize import Image
from edgeseg.segmenter import Segmenter

# Of 255, after the blur: less is a sensor's noise and a video's compression.
_STILL_DIFFERENCE = 6
_STILL_BLUR = 1.5


@dataclass(frozen=True)
class Flicker:
    """The mean share of pixels, 0 to 1, whose class differs from that in the frame before.

    Args:
        frames: How many frames there were.
        changed: Of all pixels. Whatever moves in the picture is in it too.
        still: Of the pixels that look as in the frame before in the video itself, before it was spoilt.
    """

    frames: int
    changed: float
    still: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def check_source(source: str) -> None:
    """Refuse at once what :func:`measure_flicker` would refuse after hours of images.

    Raises:
        SourceError: The source cannot be read, has fewer than two frames, or its first two differ in size.
        UsageError: It is a camera or a stream: no two models would see the same.
    """
    frames = list(_read(source, 2))
    if len(frames) < 2:
        raise _too_few(source)


def measure_flicker(
    segmenters: Sequence[Segmenter], source: str, cell: Cell, seed: int = 0, frames: int = FLICKER_FRAMES
) -> list[Flicker]:
    """The flicker of each bundle on the same frames, spoilt as ``cell`` says.

    Noise, snow and lost rows are drawn anew for each frame; fog, frost and dirt stay where they are.

    Raises:
        SourceError: The source cannot be read, has fewer than two frames, or frames of several sizes.
        UsageError: It is a camera or a stream: no two models would see the same.
    """
    before: list[Mask] = []
    clear: Image | None = None
    found: list[list[tuple[float, float]]] = [[] for _ in segmenters]
    for index, frame in enumerate(_read(source, frames)):
        spoilt = frame if cell == CLEAN else _spoilt(frame, cell, seed, index)
        masks = [segmenter(spoilt).mask for segmenter in segmenters]
        if clear is not None:
            still = _still(clear, frame)
            for each, old, new in zip(found, before, masks, strict=True):
                each.append((flicker(old, new), flicker(old, new, still)))
        before, clear = masks, frame
    if not found[0]:
        raise _too_few(source)
    means = [np.mean(each, axis=0) for each in found]
    return [Flicker(len(found[0]) + 1, float(changed), float(still)) for changed, still in means]


def _spoilt(frame: Image, cell: Cell, seed: int, index: int) -> Image:
    drawn_for = index if CORRUPTIONS[cell.corruption].renewed else 0
    return corrupt(frame, cell.corruption, cell.severity, seed=seed, index=drawn_for)


def _still(before: Image, after: Image) -> npt.NDArray[np.bool_]:
    """Where two frames look the same, ``bool [H, W]``."""
    grey = [
        cv2.GaussianBlur(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (0, 0), _STILL_BLUR)
        for frame in (before, after)
    ]
    return np.asarray(cv2.absdiff(*grey) <= _STILL_DIFFERENCE)


def _read(source: str, limit: int) -> Iterator[Image]:
    if is_live(source):
        raise UsageError(
            f"--source {without_password(source)}",
            expected="a video file or a folder of images, the same for every model",
            found="something that comes at its own pace",
            next_step="Record it first.",
        )
    opened = open_source(source)
    size: tuple[int, ...] | None = None
    try:
        for _ in range(limit):
            frame = opened.read()
            if frame is None:
                return
            size = size or frame.image.shape
            if frame.image.shape != size:
                raise _sizes_differ(source, size, frame.image.shape)
            yield frame.image
    finally:
        opened.close()


def _too_few(source: str) -> SourceError:
    return SourceError(
        source, expected="at least two frames", found="fewer", next_step="Name a video for --source."
    )


def _sizes_differ(source: str, size: tuple[int, ...], other: tuple[int, ...]) -> SourceError:
    first, second = (f"{shape[1]}x{shape[0]}" for shape in (size, other))
    return SourceError(
        source,
        expected=f"frames of one size, {first}, for each is compared with the one before",
        found=f"one of {second}",
        next_step="Name a video, or a folder of one camera's images.",
    )
