"""Segmentation scores from one accumulated confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import InferenceError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """Scores of a whole split, each from 0 to 1.

    The per-class arrays have shape ``[C]``. A score whose denominator is zero is NaN and is left out of the
    means: IoU and Dice of a class absent from both truth and prediction, the recall of a class absent from
    the truth, the precision of one never predicted.
    """

    iou: Floats
    dice: Floats
    precision: Floats
    recall: Floats
    miou: float
    mean_dice: float
    pixel_accuracy: float
    frequency_weighted_iou: float
    absent: tuple[int, ...]

    def to_dict(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Plain JSON values; NaN becomes ``None``."""
        per_class = {
            name: {
                "iou": _number(self.iou[i]),
                "dice": _number(self.dice[i]),
                "precision": _number(self.precision[i]),
                "recall": _number(self.recall[i]),
            }
            for i, name in enumerate(names)
        }
        return {
            "miou": _number(self.miou),
            "mean_dice": _number(self.mean_dice),
            "pixel_accuracy": _number(self.pixel_accuracy),
            "frequency_weighted_iou": _number(self.frequency_weighted_iou),
            "absent_classes": [names[i] for i in self.absent],
            "per_class": per_class,
        }


class ConfusionMatrix:
    """Counts of (truth, prediction) pairs over any number of masks.

    ``matrix`` is ``int64 [C, C]``; row = truth, column = prediction. Pixels whose truth is ``ignore_index``
    are never counted, whatever was predicted there.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255) -> None:
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.matrix = np.zeros((num_classes, num_classes), np.int64)

    def update(self, truth: npt.NDArray[np.integer[Any]], prediction: npt.NDArray[np.integer[Any]]) -> None:
        """Count masks of equal shape, for instance ``uint8 [H, W]`` or ``[N, H, W]``.

        Raises:
            InferenceError: The shapes differ, or a counted pixel holds an id outside 0 … C−1.
        """
        if truth.shape != prediction.shape:
            raise InferenceError(
                "prediction",
                expected=f"the shape of the truth, {truth.shape}",
                found=str(prediction.shape),
                next_step="Bring the prediction to the label's size first.",
            )
        counted = truth != self.ignore_index
        t, p = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
        for what, ids in (("truth", t), ("prediction", p)):
            if ids.size and (ids.min() < 0 or ids.max() >= self.num_classes):
                raise InferenceError(
                    what,
                    expected=f"class ids from 0 to {self.num_classes - 1}",
                    found=f"ids from {ids.min()} to {ids.max()}",
                    next_step="Check that model and labels belong together.",
                )
        pairs = np.bincount(t * self.num_classes + p, minlength=self.num_classes**2)
        self.matrix += pairs.reshape(self.matrix.shape)

    def scores(self) -> Scores:
        """Scores of everything counted so far; of nothing, every score is NaN."""
        return scores_of(self.matrix)


def scores_of(matrix: npt.NDArray[np.int64]) -> Scores:
    """Scores of a confusion matrix ``[C, C]``, row = truth, column = prediction."""
    hit = np.diag(matrix).astype(np.float64)
    truth, predicted = matrix.sum(axis=1).astype(np.float64), matrix.sum(axis=0).astype(np.float64)
    union, total = truth + predicted - hit, float(matrix.sum())
    iou = _ratio(hit, union)
    dice = _ratio(2 * hit, truth + predicted)
    return Scores(
        iou=iou,
        dice=dice,
        precision=_ratio(hit, predicted),
        recall=_ratio(hit, truth),
        miou=_mean(iou),
        mean_dice=_mean(dice),
        pixel_accuracy=hit.sum() / total if total else float("nan"),
        frequency_weighted_iou=float(np.nansum(truth * iou) / total) if total else float("nan"),
        absent=tuple(int(i) for i in np.flatnonzero(union == 0)),
    )


def merge_classes(matrix: npt.NDArray[np.int64], groups: Sequence[int]) -> npt.NDArray[np.int64]:
    """A confusion matrix ``[C, C]`` of classes as one of groups of them, ``[G, G]``.

    A pixel that was taken for another class of its own group is right, as in the official category score of
    Cityscapes.

    Args:
        matrix: Row = truth, column = prediction.
        groups: The group of each class, from 0 to G−1; each group has a class.
    """
    membership = np.equal.outer(np.arange(max(groups) + 1), np.asarray(groups)).astype(np.int64)
    merged: npt.NDArray[np.int64] = membership @ matrix @ membership.T
    return merged


def agreement(a: npt.NDArray[np.integer[Any]], b: npt.NDArray[np.integer[Any]]) -> float:
    """Share of pixels, 0 to 1, on which two class maps of equal shape are the same."""
    return float(np.mean(a == b))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > 0)


def _mean(values: Floats) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")


def _number(value: float | np.floating[Any]) -> float | None:
    return None if np.isnan(value) else float(value)
