"""What one bundle did with the images of a cell, as exact counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.benchmarks.calibration import Calibration, Counts, calibration_of, count_confidence
from edgeseg.labels import LabelSet, Mask
from edgeseg.metrics import ConfusionMatrix, Scores, scores_of
from edgeseg.resize import resize_mask
from edgeseg.segmenter import Segmentation


@dataclass(frozen=True)
class Tally:
    """What one bundle did with all images of a cell.

    Args:
        matrix: The confusion matrix ``int64 [C, C]`` at label resolution, row = truth.
        confidences: Pixels by confidence ``int64 [2, 256]``, as :func:`count_confidence` gives them, at the
            model's resolution; ``None`` where the bundle gives no confidence.
    """

    matrix: Counts
    confidences: Counts | None

    @property
    def scores(self) -> Scores:
        return scores_of(self.matrix)

    @property
    def calibration(self) -> Calibration | None:
        return None if self.confidences is None else calibration_of(self.confidences)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; exact."""
        confidences = None if self.confidences is None else self.confidences.tolist()
        return {"matrix": self.matrix.tolist(), "confidences": confidences}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Tally:
        """The inverse of :meth:`to_dict`."""
        confidences = values["confidences"]
        return cls(
            np.array(values["matrix"], np.int64),
            None if confidences is None else np.array(confidences, np.int64),
        )


class Counter:
    """Counts one bundle's masks of a cell, image by image."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._matrix = ConfusionMatrix(len(labels), labels.ignore_index)
        self._confidences: Counts | None = None

    def add(self, found: Segmentation, truth: Mask) -> None:
        """Count a segmentation of an image with its true class map ``uint8 [H, W]`` at the image's size."""
        self._matrix.update(truth, found.mask)
        if found.confidence is not None:
            small = resize_mask(truth, *found.model_mask.shape)
            counts = count_confidence(found.confidence, found.model_mask, small, self._labels.ignore_index)
            self._confidences = counts if self._confidences is None else self._confidences + counts

    def tally(self) -> Tally:
        """Everything that was added."""
        return Tally(self._matrix.matrix, self._confidences)
