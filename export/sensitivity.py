"""Which layers an int8 model suffers from most, measured one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.evaluation import Predictor
from edgeseg.export.int8 import Int8Settings, Quantiser
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import Advance, ignore
from edgeseg.labels import Mask

FRAMES = 8
"""Each layer is tried on so many calibration images."""


@dataclass(frozen=True)
class LayerDamage:
    """A layer, and the IoU (0 to 1) that classes lose when it alone computes in int8.

    IoU is that with what the same model says in float, and in the mean of the classes that were asked about.
    """

    layer: str
    damage: float


def layer_damages(
    quantiser: Quantiser,
    ranges: str,
    classes: Sequence[int],
    opened: Callable[[ModelBytes], AbstractContextManager[Predictor]],
    frames: npt.NDArray[np.uint8],
    on_progress: Advance = ignore,
) -> list[LayerDamage]:
    """Every layer's damage, the greatest first.

    Args:
        quantiser: Of the model.
        ranges: How activations' ranges are chosen.
        classes: Ids of the classes whose loss counts.
        opened: Loads a model file.
        frames: Calibration images ``uint8 [N, H, W, 3]`` RGB, of which ``FRAMES`` are used: those that show
            most of the classes.
        on_progress: Told about each layer.
    """
    everything = frozenset(quantiser.layers)

    def masks(float_layers: frozenset[str], images: npt.NDArray[np.uint8]) -> Mask:
        with opened(quantiser.quantise(Int8Settings(ranges, float_layers))) as predict:
            return np.stack([predict(image) for image in images])

    expected = masks(everything, frames)
    telling = _telling(expected, classes)
    expected, images = expected[telling], frames[telling]
    damages = []
    for index, layer in enumerate(quantiser.layers, start=1):
        found = masks(everything - {layer}, images)
        damages.append(LayerDamage(layer, _lost(found, expected, classes)))
        on_progress(index, len(quantiser.layers))
    return sorted(damages, key=lambda one: one.damage, reverse=True)


def _telling(masks: Mask, classes: Sequence[int]) -> npt.NDArray[np.intp]:
    """The ``FRAMES`` masks of ``[N, h, w]`` that hold most of the classes; each class counts the same."""
    pixels = np.stack([(masks == class_id).sum(axis=(1, 2)) for class_id in classes])
    shares = pixels / np.maximum(pixels.sum(axis=1, keepdims=True), 1)
    return np.sort(np.argsort(-shares.sum(axis=0), kind="stable")[:FRAMES])


def _lost(found: Mask, expected: Mask, classes: Sequence[int]) -> float:
    """1 - IoU of these masks in the mean of the classes that are in either; 0 where none is."""
    both = [np.sum((found == one) & (expected == one)) for one in classes]
    either = [np.sum((found == one) | (expected == one)) for one in classes]
    ious = [b / e for b, e in zip(both, either, strict=True) if e]
    return float(1 - np.mean(ious)) if ious else 0.0
