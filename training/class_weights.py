"""Weights of classes by how often they are seen: pure functions of the histogram.

In all of them a middling class weighs 1, every weight is held between 0.1 and 10, so that a class of a few
pixels cannot rule, and a class without pixels weighs as the rarest that has some.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError

Histogram = npt.NDArray[np.int64]
"""Pixels of each class ``int64 [C]``, ignored ones left out."""

_LEAST, _MOST = 0.1, 10.0


def median_frequency(histogram: Histogram) -> list[float]:
    """The median of the classes' pixel counts over each class's own: C weights.

    Eigen and Fergus, https://arxiv.org/abs/1411.4734.
    """
    seen = histogram > 0
    counts = histogram[seen].astype(np.float64)
    return _of_all(seen, np.median(counts) / counts if counts.size else counts)


def effective_number(histogram: Histogram, beta: float | None = None) -> list[float]:
    """One over the effective number of a class's n pixels, (1 − β^n) / (1 − β), median 1: C weights.

    Cui et al., https://arxiv.org/abs/1901.05555: of N different things that can be seen of a class, with
    β = 1 − 1/N, so many are seen in n pixels. As n grows a class's number comes to rest at N, so that all
    common classes weigh nearly alike, and rare ones by their frequency.

    The paper's β, 0.9 to 0.9999, count images; of the millions of pixels in a histogram they leave nothing to
    tell apart.

    Args:
        histogram: Pixels of each class.
        beta: β, from 0 to less than 1; ``None`` for an N of as many pixels as a class has on average. Then
            the weights depend on the classes' shares alone, not on the number or size of the images.

    Raises:
        UsageError: β is out of its range.
    """
    if beta is not None and not 0 <= beta < 1:
        raise UsageError("beta", expected="from 0 to less than 1", found=repr(beta), next_step="Correct it.")
    seen = histogram > 0
    counts = histogram[seen].astype(np.float64)
    if beta is None:
        logarithm = math.log1p(-1 / max(counts.sum() / len(histogram), 2))
    else:
        logarithm = math.log(beta) if beta else -math.inf
    # In proportion to the effective numbers, without the rounding of β^n near 1; 1 − β would cancel out.
    effective = -np.expm1(counts * logarithm)
    return _of_all(seen, np.median(effective) / effective if counts.size else counts)


CLASS_WEIGHTS: dict[str, Callable[[Histogram], list[float]]] = {
    "effective_number": effective_number,
    "median_frequency": median_frequency,
}
"""The names that a recipe's ``class_weights`` may give."""


def _of_all(seen: npt.NDArray[np.bool_], weights: npt.NDArray[np.float64]) -> list[float]:
    """The weights of the classes that are seen, held, with those of the others between them."""
    held = np.clip(weights, _LEAST, _MOST)
    every = np.full(len(seen), held.max(initial=_LEAST) if held.size else 1.0)
    every[seen] = held
    return [round(float(weight), 4) for weight in every]
