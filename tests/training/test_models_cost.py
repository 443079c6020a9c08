"""Multiply-accumulates against counts made by hand, and a published one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import pytest
from keras import layers, ops

from edgeseg.errors import UsageError
from edgeseg.training.models import build_model
from edgeseg.training.models.cost import macs

Apply = Callable[[Any], Any]


def model_of(apply: Apply, *shape: int) -> keras.Model:
    image = keras.Input(shape)
    return keras.Model(image, apply(image))


def attention(x: Any) -> Any:
    return layers.MultiHeadAttention(num_heads=2, key_dim=3)(x, x)


@pytest.mark.parametrize(
    ("apply", "shape", "expected"),
    [
        (layers.Conv2D(4, 3, padding="same"), (8, 6, 3), 8 * 6 * 4 * 9 * 3),
        (layers.Conv2D(4, 3), (8, 6, 3), 6 * 4 * 4 * 9 * 3),
        (layers.Conv2D(4, 3, strides=2, padding="same"), (8, 6, 3), 4 * 3 * 4 * 9 * 3),
        (layers.Conv2D(4, 3, padding="same", dilation_rate=2), (8, 6, 3), 8 * 6 * 4 * 9 * 3),
        (layers.Conv2D(4, 3, padding="same", groups=2), (8, 6, 6), 8 * 6 * 4 * 9 * 3),
        (layers.DepthwiseConv2D(3, padding="same"), (8, 6, 5), 8 * 6 * 5 * 9),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), (8, 6, 5), 8 * 6 * 10 * 9),
        (layers.DepthwiseConv2D(3, padding="same", dilation_rate=3), (8, 7, 5), 8 * 7 * 5 * 9),
        (layers.SeparableConv2D(4, 3, padding="same"), (8, 6, 5), 8 * 6 * 5 * (9 + 4)),
        (
            layers.SeparableConv2D(4, 3, padding="same", dilation_rate=6), (8, 6, 5), 8 * 6 * 5 * (9 + 4)
        ),
        (layers.Conv2DTranspose(4, 2, strides=2), (8, 6, 5), 8 * 6 * 5 * 4 * 4),
        (layers.Conv2DTranspose(4, 3, strides=2, padding="same"), (8, 6, 5), 8 * 6 * 5 * 4 * 9),
        (layers.Dense(7), (5,), 5 * 7),
        (layers.Dense(7), (8, 6, 5), 8 * 6 * 5 * 7),
        (layers.EinsumDense("...c,cd->...d", 7), (8, 6, 5), 8 * 6 * 5 * 7),
        (lambda x: ops.einsum("bqc,bkc->bqk", x, x), (9, 5), 9 * 9 * 5),
        (lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), (9, 5), 9 * 9 * 5),
        # Three projections in and one out of 2 heads of 3 channels, then 9 × 9 products twice per head.
        (attention, (9, 5), 4 * 9 * 5 * 6 + 2 * (9 * 9 * 2 * 3)),
        (lambda x: layers.ReLU()(layers.BatchNormalization()(x)), (8, 6, 5), 0),
    ],
)  # fmt: skip
def test_it_counts_as_by_hand(apply: Apply, shape: tuple[int, ...], expected: int) -> None:
    assert macs(model_of(apply, *shape)) == expected


def test_nested_models_count() -> None:
    inner = model_of(layers.Conv2D(4, 3, padding="same"), 8, 6, 3)
    assert macs(model_of(lambda x: inner(x), 8, 6, 3)) == 8 * 6 * 4 * 9 * 3


def test_mobilenetv2_is_as_published() -> None:
    """Sandler et al., https://arxiv.org/abs/1801.04381, table 4: 300 million at 224×224."""
    assert macs(keras.applications.MobileNetV2(weights=None)) == pytest.approx(300e6, rel=0.005)


def test_unet_mini_by_hand() -> None:
    model = build_model("unet_mini", 5, 16, 16, channels=4)
    full, half, quarter = 256, 64, 16
    down = full * 9 * (3 * 4 + 4 * 4) + half * 9 * (4 * 8 + 8 * 8) + quarter * 9 * (8 * 16 + 16 * 16)
    up = quarter * 4 * 16 * 8 + half * 9 * (16 * 8 + 8 * 8) + half * 4 * 8 * 4 + full * 9 * (8 * 4 + 4 * 4)
    assert macs(model) == down + up + full * 4 * 5


def test_a_model_without_a_static_size_is_refused() -> None:
    image = keras.Input((None, None, 3))
    with pytest.raises(UsageError, match="static size"):
        macs(keras.Model(image, layers.Conv2D(4, 3)(image)))


@pytest.mark.heavy
def test_segformer_b0_is_as_published() -> None:
    """Xie et al., https://arxiv.org/abs/2105.15203, table 1: 8.4 thousand million at 512×512, 150 classes."""
    pytest.importorskip("keras_hub")
    assert macs(build_model("segformer_b0", 150, 512, 512)) == pytest.approx(8.4e9, rel=0.005)
