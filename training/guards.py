"""Signs that a run is lost, seen early."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgeseg.errors import TrainingError
from edgeseg.training.run_folder import EpochRow

COLLAPSE_EPOCHS = 3
COLLAPSE_STEPS = 100
COLLAPSE_SHARE = 0.995
# Where the labels themselves are almost all of one class, predicting it everywhere is no fault.
_ONE_SIDED_TRUTH = 0.9


def check_finite(loss: float, epoch: int) -> None:
    """Refuse to go on with a loss that is not a number; ``epoch`` counts from 1.

    Raises:
        TrainingError: It is NaN or infinite.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"loss in epoch {epoch}",
            expected="a finite number",
            found=str(loss),
            next_step="Lower --learning-rate, try --set precision=float32, and run 'edgeseg data check'. "
            "weights/last.keras holds the epoch before.",
        )


def check_not_collapsed(
    rows: Sequence[EpochRow], steps_per_epoch: int, truth_pixels: npt.NDArray[np.int64]
) -> None:
    """Refuse to go on where the model gives one class to every pixel, epoch after epoch.

    Args:
        rows: The epochs so far. The first steps of any run may look like this and are not judged.
        steps_per_epoch: Optimiser steps in an epoch.
        truth_pixels: Pixels of each class in the validation labels, ``[C]``.

    Raises:
        TrainingError: The last epochs predicted one class alone.
    """
    recent = rows[-COLLAPSE_EPOCHS:]
    too_early = len(recent) < COLLAPSE_EPOCHS or len(rows) * steps_per_epoch < COLLAPSE_STEPS
    one_sided = truth_pixels.max() >= _ONE_SIDED_TRUTH * truth_pixels.sum()
    if too_early or one_sided or min(row.top_class_share for row in recent) < COLLAPSE_SHARE:
        return
    raise TrainingError(
        f"predictions of epochs {recent[0].epoch} to {recent[-1].epoch}",
        expected="several classes",
        found=f"one class on {recent[-1].top_class_share:.1%} of all validation pixels",
        next_step="Look at predictions/ and labels.png in the run folder, run 'edgeseg data check', lower "
        "--learning-rate, and try --loss dice_cross_entropy or --set class_weights=median_frequency.",
    )


def top_class_share(matrix: npt.NDArray[np.int64]) -> float:
    """Share, 0 to 1, of the class predicted most, of a confusion matrix ``[C, C]``, row = truth."""
    predicted = matrix.sum(axis=0)
    return float(predicted.max() / max(predicted.sum(), 1))
