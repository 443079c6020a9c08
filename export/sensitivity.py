"""Which layers an int8 model suffers from most, measured one at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.evaluation import Predictor
from edgeseg.export.int8 import Int8Settings, Quantiser
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import Advance, ignore
from edgeseg.export.selection import spread
from edgeseg.labels import Mask

FRAMES = 8
"""Each layer is tried on so many calibration images."""

_SEARCHED = 64
"""They are chosen among so many, spread evenly."""

_LEAST_SHOWN = 1e-4
"""Classes of a smaller share of the pixels are not shown."""


@dataclass(frozen=True)
class LayerDamage:
    """A layer, and the IoU (0 to 1) that classes lose when it alone computes in int8.

    It is measured against the masks of the same model with no layer in int8, in the mean of the classes asked
    about.
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
    """Every layer's damage, the greatest first; where the classes lose the same, by all pixels changed.

    Args:
        quantiser: Of the model.
        ranges: How activations' ranges are chosen.
        classes: Ids of the classes whose loss counts.
        opened: Loads a model file.
        frames: Calibration images ``uint8 [N, H, W, 3]`` RGB, of which ``FRAMES`` are used: those that show
            the classes best.
        on_progress: Told about each layer.
    """
    everything = frozenset(quantiser.layers)

    def masks(float_layers: frozenset[str], images: npt.NDArray[np.uint8]) -> Mask:
        with opened(quantiser.quantise(Int8Settings(ranges, float_layers))) as predict:
            return np.stack([predict(image) for image in images])

    searched = frames[spread(range(len(frames)), _SEARCHED)]
    expected = masks(everything, searched)
    telling = _telling(expected, classes)
    expected, images = expected[telling], searched[telling]
    measured = []
    for index, layer in enumerate(quantiser.layers, start=1):
        found = masks(everything - {layer}, images)
        damage = LayerDamage(layer, _iou_lost(found, expected, classes))
        measured.append((damage, float(np.mean(found != expected))))
        on_progress(index, len(quantiser.layers))
    measured.sort(key=lambda one: (one[0].damage, one[1]), reverse=True)
    return [damage for damage, _ in measured]


def _telling(masks: Mask, classes: Sequence[int]) -> list[int]:
    """Which ``FRAMES`` of the masks ``[N, h, w]`` to look at.

    The classes take turns, the rarest first, each with the mask that holds most of it. Where the masks show
    none of them, they are spread evenly.
    """
    pixels = [(masks == one).sum(axis=(1, 2)) for one in classes]
    turns = sorted((held for held in pixels if held.any()), key=lambda held: int(held.sum()))
    if not turns:
        return spread(range(len(masks)), FRAMES)
    chosen: list[int] = []
    for held in itertools.islice(itertools.cycle(turns), min(FRAMES, len(masks))):
        fullest_first = np.argsort(-held, kind="stable").tolist()
        chosen.append(next(index for index in fullest_first if index not in chosen))
    return sorted(chosen)


def _iou_lost(found: Mask, expected: Mask, classes: Sequence[int]) -> float:
    """1 - IoU of these masks in the mean of the classes that were expected; 0 where none was.

    A class of which next to nothing was expected is left out: a few stray pixels would weigh as much as a
    class lost whole.
    """
    ious = []
    for one in classes:
        is_found, is_expected = found == one, expected == one
        if is_expected.mean() >= _LEAST_SHOWN:
            ious.append(np.sum(is_found & is_expected) / np.sum(is_found | is_expected))
    return float(1 - np.mean(ious)) if ious else 0.0
