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
# Labels may be almost all of one class: only a model that finds none of the others has collapsed.
COLLAPSE_RECALL = 0.01


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
    rows: Sequence[EpochRow], steps_per_epoch: int, matrix: npt.NDArray[np.int64]
) -> None:
    """Refuse to go on where the model gives one class to every pixel, epoch after epoch.

    Args:
        rows: The epochs so far. The first steps of any run may look like this and are not judged.
        steps_per_epoch: Optimiser steps in an epoch.
        matrix: The last epoch's validation confusion matrix ``[C, C]``, row = truth.

    Raises:
        TrainingError: The last epochs predicted one class alone and find none of the others.
    """
    recent = rows[-COLLAPSE_EPOCHS:]
    too_early = len(recent) < COLLAPSE_EPOCHS or len(rows) * steps_per_epoch < COLLAPSE_STEPS
    if too_early or min(row.top_class_share for row in recent) < COLLAPSE_SHARE or _finds_others(matrix):
        return
    raise TrainingError(
        f"predictions of epochs {recent[0].epoch} to {recent[-1].epoch}",
        expected="several classes",
        found=f"one class on {recent[-1].top_class_share:.1%} of all validation pixels",
        next_step="Look at predictions/ and labels.png in the run folder, run 'edgeseg data check', lower "
        "--learning-rate, and try --loss dice_cross_entropy or --set class_weights=median_frequency.",
    )


def _finds_others(matrix: npt.NDArray[np.int64]) -> bool:
    """Whether a labelled class is found beside the one predicted most, or there is none to be found."""
    truth = matrix.sum(axis=1)
    others = truth > 0
    others[matrix.sum(axis=0).argmax()] = False
    recall = matrix.diagonal()[others] / truth[others]
    return not others.any() or bool((recall >= COLLAPSE_RECALL).any())


def top_class_share(matrix: npt.NDArray[np.int64]) -> float:
    """Share, 0 to 1, of the class predicted most, of a confusion matrix ``[C, C]``, row = truth."""
    predicted = matrix.sum(axis=0)
    return float(predicted.max() / max(predicted.sum(), 1))
