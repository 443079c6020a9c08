"""Pictures of every corruption at every severity, so that a person sees what the models were given."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edgeseg.atomic import atomic_file
from edgeseg.benchmarks.corruptions import corrupt
from edgeseg.benchmarks.robustness.results import RobustnessResult
from edgeseg.evaluation import Sample
from edgeseg.resize import Image, resize_image

_PICTURE_WIDTH = 320
_GAP = 4
_NAME_HEIGHT = 26
_JPEG_QUALITY = 85


def strips(result: RobustnessResult) -> dict[str, Image]:
    """Per corruption its severities side by side, ``uint8 [h, w, 3]`` RGB, on the first image of the run."""
    sample = next(iter(result.images.samples()))
    return {
        name: _beside(
            [_picture(sample, name, severity, result.suite.seed) for severity in result.suite.severities]
        )
        for name in result.suite.corruptions
    }


def write_sheet(pictures: dict[str, Image], severities: Sequence[int], path: Path) -> None:
    """All strips below one another with their names, as one JPEG file."""
    rows: list[Image] = []
    for name, strip in pictures.items():
        rows += [_caption(f"{name}, severity {', '.join(map(str, severities))}", strip.shape[1]), strip]
    bgr = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
    with atomic_file(path) as staging:
        staging.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())


def _picture(sample: Sample, name: str, severity: int, seed: int) -> Image:
    # Spoilt at its own size and shrunk then: the other way round would not be what the models got.
    spoilt = corrupt(sample.image, name, severity, seed=seed, index=0)
    height, width = spoilt.shape[:2]
    return resize_image(spoilt, max(1, round(_PICTURE_WIDTH * height / width)), _PICTURE_WIDTH)


def _beside(pictures: Sequence[Image]) -> Image:
    gap = np.full((pictures[0].shape[0], _GAP, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def _caption(text: str, width: int) -> Image:
    bar = np.full((_NAME_HEIGHT, width, 3), 255, np.uint8)
    cv2.putText(bar, text, (4, _NAME_HEIGHT - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (31, 41, 51), 1, cv2.LINE_AA)
    return bar
