"""Self-attention over an image's places, as of Zhang et al., "Self-Attention GANs", 2019."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops
from typing_extensions import override


def spectral(layer: keras.Layer) -> keras.Layer:
    """A layer whose kernel is divided by its largest singular value, estimated by one step of iteration.

    Reference: Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018.
    """
    return layers.SpectralNormalization(layer, name=f"{layer.name}_spectral")


class SelfAttention(keras.Layer):
    """Adds to each place what it finds by looking at all others; at first nothing: its weight starts at 0.

    Features ``[N, H, W, channels]`` to the same shape; H and W are even. Places are looked at in blocks of
    2×2, the largest of each standing for it.
    """

    def __init__(self, channels: int, name: str = "attention") -> None:
        super().__init__(name=name)
        self.asked, self.carried = max(channels // 8, 1), max(channels // 2, 1)
        self.query, self.key, self.value, self.out = (
            spectral(layers.Conv2D(count, 1, use_bias=False, name=f"{name}_{part}"))
            for part, count in (
                ("query", self.asked), ("key", self.asked), ("value", self.carried), ("out", channels),
            )
        )  # fmt: skip
        self.pool = layers.MaxPooling2D(2, name=f"{name}_pool")

    @override
    def build(self, shape: tuple[int | None, ...]) -> None:
        for layer in (self.query, self.key, self.value):
            layer.build(shape)
        self.out.build((*shape[:-1], self.carried))
        self.weight = self.add_weight(shape=(), initializer="zeros", name="weight")

    @override
    def call(self, x: Any, training: bool = False) -> Any:
        query = _places(self.query(x, training=training))
        key, value = (_places(self.pool(layer(x, training=training))) for layer in (self.key, self.value))
        scores = ops.cast(ops.matmul(query, ops.transpose(key, (0, 2, 1))), "float32")
        seen = ops.matmul(ops.cast(ops.softmax(scores), value.dtype), value)
        height, width = x.shape[1:3]
        seen = ops.reshape(seen, (-1, height, width, self.carried))
        return x + ops.cast(self.weight, x.dtype) * self.out(seen, training=training)


def _places(x: Any) -> Any:
    """``[N, H, W, channels]`` as ``[N, H × W, channels]``."""
    return ops.reshape(x, (-1, x.shape[1] * x.shape[2], x.shape[3]))
