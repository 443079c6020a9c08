"""BatchNorm's averages for the weights as they are."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from edgeseg.training.calibration import recalibrate
from edgeseg.training.data import CachedSplit, open_dataset, prepare


@pytest.fixture(scope="module")
def cached(bands: str, tmp_path_factory: pytest.TempPathFactory) -> CachedSplit:
    return prepare(open_dataset(bands), "train", 16, 16, cache_dir=tmp_path_factory.mktemp("cache"))


def norms() -> tuple[keras.Model, keras.layers.BatchNormalization, keras.layers.BatchNormalization]:
    """A model with a norm, and in a model of its own a frozen one."""
    image = keras.Input((16, 16, 3), dtype="uint8", name="image")
    pixels = keras.Input((16, 16, 3))
    frozen = keras.layers.BatchNormalization(trainable=False)
    inner = keras.Model(pixels, frozen(pixels))
    norm = keras.layers.BatchNormalization(momentum=0.9)
    scaled = keras.layers.Rescaling(1 / 255)(image)
    return keras.Model(image, norm(inner(scaled))), norm, frozen


@pytest.mark.parametrize("batch", [4, 16, 99])
def test_the_averages_are_those_of_the_images(batch: int, cached: CachedSplit) -> None:
    model, norm, frozen = norms()
    norm.moving_mean.assign([9, 9, 9])
    recalibrate(model, cached, batch)
    pixels = cached.images / 255 / np.sqrt(1 + frozen.epsilon)
    assert np.array(norm.moving_mean) == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=1e-4)
    if batch >= len(cached):
        assert np.array(norm.moving_variance) == pytest.approx(pixels.var(axis=(0, 1, 2)), abs=1e-4)
    assert norm.momentum == 0.9


def test_a_frozen_layer_keeps_its_averages(cached: CachedSplit) -> None:
    model, _, frozen = norms()
    recalibrate(model, cached, 4)
    assert np.array_equal(frozen.moving_mean, np.zeros(3))
    assert np.array_equal(frozen.moving_variance, np.ones(3))


def test_nothing_is_dropped_while_they_are_computed(cached: CachedSplit) -> None:
    image = keras.Input((16, 16, 3), dtype="uint8", name="image")
    drop, norm = keras.layers.Dropout(0.9), keras.layers.BatchNormalization()
    model = keras.Model(image, norm(drop(keras.layers.Rescaling(1 / 255)(image))))
    recalibrate(model, cached, 16)
    assert np.array(norm.moving_mean) == pytest.approx((cached.images / 255).mean(axis=(0, 1, 2)), abs=1e-4)
    assert drop.rate == 0.9


def test_nothing_is_dropped_inside_of_layers_made_of_others(cached: CachedSplit) -> None:
    """SegFormer's blocks leave out whole branches by KerasHub's own layer."""
    layers = pytest.importorskip(
        "keras_hub", reason="pip install 'edgeseg[segformer]'"
    ).src.models.mit.mit_layers

    class Block(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.drop = layers.DropPath(0.9)

        def call(self, x: Any, training: bool | None = None) -> Any:
            return self.drop(x, training=training)

    image = keras.Input((16, 16, 3), dtype="uint8", name="image")
    block, norm = Block(), keras.layers.BatchNormalization()
    model = keras.Model(image, norm(block(keras.layers.Rescaling(1 / 255)(image))))
    recalibrate(model, cached, 16)
    assert np.array(norm.moving_mean) == pytest.approx((cached.images / 255).mean(axis=(0, 1, 2)), abs=1e-4)
    assert block.drop.rate == 0.9
