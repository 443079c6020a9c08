"""The U-Net Mini of the source notebook, layer for layer: the baseline that ``unet_mini`` is held against.

ReLU comes before BatchNorm, so converters cannot fold the normalisation into the convolution, and its cost
stays in the exported graph. It is kept for comparison, and has no options for that reason.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from edgeseg.training.models.blocks import image_input, logits


def build(num_classes: int, height: int, width: int) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be a multiple of 4."""
    image = image_input(height, width, multiple=4)
    x = layers.Rescaling(1 / 255, name="normalise")(image)
    level1 = _pair(x, 32, "down1")
    x = layers.MaxPooling2D(2, name="down1_pool")(level1)
    level2 = _pair(x, 64, "down2")
    x = layers.MaxPooling2D(2, name="down2_pool")(level2)
    x = _pair(x, 128, "bottleneck", dilations=(2, 4))
    for filters, skip, name in ((64, level2, "up2"), (32, level1, "up1")):
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", name=f"{name}_transpose")(x)
        x = layers.Concatenate(name=f"{name}_concat")([x, skip])
        x = _pair(x, filters, name)
    return keras.Model(image, logits(x, num_classes), name="unet_mini_source")


def _pair(x: Any, filters: int, name: str, dilations: tuple[int, int] = (1, 1)) -> Any:
    for index, dilation in enumerate(dilations, start=1):
        label = f"{name}_conv{index}"
        x = layers.Conv2D(
            filters, 3, padding="same", dilation_rate=dilation, activation="relu", name=label
        )(x)  # fmt: skip
        x = layers.BatchNormalization(name=f"{label}_bn")(x)
    return x
