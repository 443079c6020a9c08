"""Which layers an int8 model suffers from most, measured one at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeseg.evaluation import Predictor
from edgeseg.export.int8 import Int8Settings, Quantiser
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.progress import Advance, ignore
from edgeseg.metrics import agreement

FRAMES = 4
"""Each layer is tried on so many calibration images."""


@dataclass(frozen=True)
class LayerDamage:
    """A layer, and the share (0 to 1) of pixels that get another class when it alone computes in int8."""

    layer: str
    damage: float


def layer_damages(
    quantiser: Quantiser,
    ranges: str,
    opened: Callable[[ModelBytes], AbstractContextManager[Predictor]],
    frames: npt.NDArray[np.uint8],
    on_progress: Advance = ignore,
) -> list[LayerDamage]:
    """Every layer's damage, the greatest first.

    Args:
        quantiser: Of the model.
        ranges: How activations' ranges are chosen.
        opened: Loads a model file.
        frames: Calibration images ``uint8 [N, H, W, 3]`` RGB, of which ``FRAMES`` are used, spread evenly.
        on_progress: Told about each layer.
    """
    seen = frames[:: max(1, len(frames) // FRAMES)][:FRAMES]
    everything = frozenset(quantiser.layers)

    def masks(float_layers: frozenset[str]) -> list[npt.NDArray[np.uint8]]:
        with opened(quantiser.quantise(Int8Settings(ranges, float_layers))) as predict:
            return [predict(frame) for frame in seen]

    expected = masks(everything)
    damages = []
    for index, layer in enumerate(quantiser.layers, start=1):
        found = masks(everything - {layer})
        same = np.mean([agreement(a, b) for a, b in zip(found, expected, strict=True)])
        damages.append(LayerDamage(layer, float(1 - same)))
        on_progress(index, len(quantiser.layers))
    return sorted(damages, key=lambda one: one.damage, reverse=True)
