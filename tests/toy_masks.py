"""Masks on their way to a sink, made without a bundle."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from edgeseg.labels import LabelClass, LabelSet
from edgeseg.loop.sinks import Figures, Published, Stamp
from edgeseg.segmenter import Segmentation, Timings

LABELS = LabelSet(
    "three",
    (
        LabelClass(0, "road", (128, 64, 128)),
        LabelClass(1, "car", (0, 60, 180)),
        LabelClass(2, "tree", (107, 142, 35)),
    ),
)
DIGEST = "ab" * 32


def published(
    sequence: int = 1,
    *,
    size: tuple[int, int] = (64, 96),
    value: int | None = None,
    valid: bool = True,
    age_ms: float = 40.0,
    figures: Figures | None = None,
    **stamp: Any,
) -> Published:
    """A grey frame whose left half is road and whose right half is car, or a mask of one ``value``."""
    mask = np.zeros(size, np.uint8)
    mask[:, size[1] // 2 :] = 1
    if value is not None:
        mask[:] = value
    captured = time.monotonic_ns() - round(age_ms * 1e6)
    segmentation = Segmentation(
        frame=np.full((*size, 3), 90, np.uint8),
        mask=mask,
        model_mask=np.ascontiguousarray(mask[::2, ::2]),
        confidence=None,
        labels=LABELS,
        timings=Timings(1.0, 20.0, 0.5, 21.5),
        captured_ns=captured,
        finished_ns=captured + 21_500_000,
        valid=valid,
    )
    return Published(
        segmentation,
        sequence - 1,
        age_ms,
        "age 40 ms",
        Stamp(sequence, digest=DIGEST, **stamp),
        figures or Figures(),
    )
