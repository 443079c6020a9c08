"""BatchNorm's moving averages, computed anew for the weights as they are."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np

from edgeseg.training.data import CachedSplit

CALIBRATION_IMAGES = 64


def recalibrate(model: keras.Model, train: CachedSplit, batch: int) -> None:
    """Set the averages to those over batches of training images, whole and unvaried, as the car sees them.

    Args:
        model: Images ``uint8 [N, H, W, 3]`` of the split's size to anything. Frozen layers stay as they are.
        train: Where 64 images come from, evenly spaced, or all where it holds fewer.
        batch: About how many images make a batch.
    """
    layers = [layer for layer in all_layers(model) if _learns_averages(layer)]
    momenta = [layer.momentum for layer in layers]
    count = min(CALIBRATION_IMAGES, len(train))
    numbers = np.linspace(0, len(train) - 1, count).round().astype(int)
    try:
        for step in range(max(1, count // batch)):
            for layer in layers:
                # The plain mean of all batches so far.
                layer.momentum = step / (step + 1)
            # Every step-th image, so that a batch holds scenes of the whole drive.
            model(train.images[np.sort(numbers[step :: max(1, count // batch)])], training=True)
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum


def all_layers(model: keras.Model) -> Iterator[keras.Layer]:
    """The layers of a model and of the models in it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from all_layers(layer)
        yield layer


def _learns_averages(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
