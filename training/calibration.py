"""BatchNorm's moving averages, computed anew for the weights as they are."""

from __future__ import annotations

import keras
import numpy as np

from edgeseg.training.data import CachedSplit
from edgeseg.training.models.layers import all_layers, temporarily

CALIBRATION_IMAGES = 64


def recalibrate(model: keras.Model, train: CachedSplit, batch: int) -> None:
    """Set the averages to those over batches of training images, whole and unvaried, as the car sees them.

    Args:
        model: Images ``uint8 [N, H, W, 3]`` of the split's size to anything. Frozen layers stay as they are.
        train: Where 64 images come from, evenly spaced, or all where it holds fewer.
        batch: About how many images make a batch.
    """
    norms = [layer for layer in all_layers(model) if _learns_averages(layer)]
    drops = [layer for layer in all_layers(model) if _drops(layer)]
    count = min(CALIBRATION_IMAGES, len(train))
    numbers = np.linspace(0, len(train) - 1, count).round().astype(int)
    steps = max(1, count // batch)
    with temporarily(norms, "momentum", 0.0), temporarily(drops, "rate", 0.0):
        for step in range(steps):
            for norm in norms:
                # The plain mean of all batches so far.
                norm.momentum = step / (step + 1)
            # Every steps-th image, so that a batch holds scenes of the whole drive.
            model(train.images[numbers[step::steps]], training=True)


def _drops(layer: keras.Layer) -> bool:
    """Whether it leaves out a ``rate`` of what it gets: Dropout, its spatial kin, KerasHub's DropPath."""
    return hasattr(layer, "rate") and type(layer).__name__.endswith(("Dropout", "DropPath"))


def _learns_averages(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
