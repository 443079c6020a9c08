"""Whether a model is as sure as it is right: reliability bins and the expected calibration error.

A bundle gives its confidence in 256 levels, so counts per level hold all of it, and are exact for any number
of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import InferenceError
from edgeseg.labels import IGNORE_INDEX, Mask

Counts = npt.NDArray[np.int64]

LEVELS = 256
BINS = 15
"""The number of bins that Guo et al. use; it divides 255, so that no level lies on two bins."""


@dataclass(frozen=True)
class ReliabilityBin:
    """The pixels whose confidence is above ``low`` and at most ``high``.

    ``confidence`` is their mean confidence and ``accuracy`` the share of them that is right, 0 to 1; both are
    NaN where there are none.
    """

    low: float
    high: float
    pixels: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How sure a model was of ``pixels`` pixels, and how often right; shares from 0 to 1.

    Args:
        ece: Expected calibration error: the mean of |confidence − accuracy| over the bins, each weighed by
            its pixels. Naeini et al., AAAI 2015; Guo et al., ICML 2017.
    """

    pixels: int
    mean_confidence: float
    accuracy: float
    ece: float
    bins: tuple[ReliabilityBin, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; bins without pixels are left out."""
        return {
            "pixels": self.pixels,
            "mean_confidence": self.mean_confidence,
            "accuracy": self.accuracy,
            "ece": self.ece,
            "bins": [vars(one) for one in self.bins if one.pixels],
        }


def count_confidence(
    confidence: Mask, prediction: Mask, truth: Mask, ignore_index: int = IGNORE_INDEX
) -> Counts:
    """Pixels by confidence, the wrong and the right ones apart.

    Args:
        confidence: Probability × 255 of each pixel's class, ``uint8 [h, w]``.
        prediction: The class ids, ``uint8 [h, w]``.
        truth: The right ids, ``uint8 [h, w]``; where it is ``ignore_index`` nothing is counted.

    Returns:
        ``int64 [2, 256]``: row 0 the wrong pixels, row 1 the right ones, by level of confidence.

    Raises:
        InferenceError: The shapes differ.
    """
    if not confidence.shape == prediction.shape == truth.shape:
        raise InferenceError(
            "confidence",
            expected=f"the shape of the truth, {truth.shape}, for itself and the prediction",
            found=f"{confidence.shape} and {prediction.shape}",
            next_step="Bring the truth to the model's size first.",
        )
    counted = truth != ignore_index
    right = (prediction[counted] == truth[counted]).astype(np.int64)
    flat = np.bincount(right * LEVELS + confidence[counted], minlength=2 * LEVELS)
    return np.asarray(flat.reshape(2, LEVELS), np.int64)


def calibration_of(counts: Counts, bins: int = BINS) -> Calibration | None:
    """The calibration of counts ``int64 [2, 256]``, as of :func:`count_confidence`; of nothing, ``None``."""
    pixels = int(counts.sum())
    if not pixels:
        return None
    both, level = counts.sum(axis=0), np.arange(LEVELS)
    # In whole numbers: in floats a level on an edge falls to either side.
    place = np.maximum(-(-level * bins // (LEVELS - 1)) - 1, 0)
    held = np.bincount(place, both, bins)
    sure = np.bincount(place, both * level / (LEVELS - 1), bins)
    right = np.bincount(place, counts[1], bins)
    found = tuple(
        ReliabilityBin(
            low=i / bins,
            high=(i + 1) / bins,
            pixels=int(held[i]),
            confidence=float(sure[i] / held[i]) if held[i] else float("nan"),
            accuracy=float(right[i] / held[i]) if held[i] else float("nan"),
        )
        for i in range(bins)
    )
    return Calibration(
        pixels=pixels,
        mean_confidence=float(sure.sum() / pixels),
        accuracy=float(right.sum() / pixels),
        ece=float(np.abs(sure - right).sum() / pixels),
        bins=found,
    )
