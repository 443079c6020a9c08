"""Cross entropy with a loss of regions: the one gives every pixel a gradient, the other sees rare classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeseg.training.losses.cross_entropy import cross_entropy
from edgeseg.training.losses.lovasz import lovasz_softmax
from edgeseg.training.losses.region import dice

TOTAL_DICE_WEIGHT = 3.0


def total(
    y_true: Any, logits: Any, *, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """Cross entropy + 3 × Dice, the source notebook's ``total_loss``. Arguments as in its two parts."""
    options: dict[str, Any] = {"ignore_index": ignore_index, "class_weights": class_weights}
    return cross_entropy(y_true, logits, **options) + TOTAL_DICE_WEIGHT * dice(y_true, logits, **options)


def dice_cross_entropy(
    y_true: Any, logits: Any, *, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """Cross entropy + Dice. Arguments as in its two parts."""
    options: dict[str, Any] = {"ignore_index": ignore_index, "class_weights": class_weights}
    return cross_entropy(y_true, logits, **options) + dice(y_true, logits, **options)


def lovasz_cross_entropy(
    y_true: Any, logits: Any, *, ignore_index: int = 255, class_weights: Sequence[float] | None = None
) -> Any:
    """Cross entropy + Lovász-Softmax, as Lovász-Softmax is mostly trained. Arguments as in its two parts."""
    options: dict[str, Any] = {"ignore_index": ignore_index, "class_weights": class_weights}
    return cross_entropy(y_true, logits, **options) + lovasz_softmax(y_true, logits, **options)
