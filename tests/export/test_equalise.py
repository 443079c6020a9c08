"""Equalised models compute what they did, and their channels span alike."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.export.equalise import equalised
from edgeseg.training.models import build_model


def frames(count: int = 2, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype(np.uint8)


def chain(*between: layers.Layer, second: layers.Layer, bias: bool = False) -> keras.Model:
    """A convolution with its BatchNorm, what is between, and a second layer; the channels lie 10⁴ apart."""
    image = keras.Input((32, 32, 3), dtype="uint8")
    x = layers.Conv2D(8, 3, use_bias=bias, name="first")(layers.Rescaling(1 / 255)(image))
    x = layers.BatchNormalization(name="norm")(x)
    for layer in between:
        x = layer(x)
    x = layers.GlobalAveragePooling2D(keepdims=True)(second(x))
    model = keras.Model(image, layers.UpSampling2D(32)(layers.Conv2D(3, 1)(x)))
    rng = np.random.default_rng(1)
    model.get_layer("norm").set_weights(
        [*rng.uniform(0.5, 2, (2, 8)) * np.logspace(-2, 2, 8), rng.normal(size=8), np.ones(8)]
    )
    return model


def spans(model: keras.Model, name: str) -> np.ndarray:
    values = keras.Model(model.inputs, model.get_layer(name).input).predict(frames(), verbose=0)
    return np.abs(values).max(axis=(0, 1, 2))


SECONDS = [
    pytest.param(lambda: layers.DepthwiseConv2D(3, name="second"), id="depthwise"),
    pytest.param(lambda: layers.DepthwiseConv2D(3, depth_multiplier=2, name="second"), id="depth-multiplier"),
    pytest.param(lambda: layers.Conv2D(4, 3, name="second"), id="convolution"),
    pytest.param(lambda: layers.Conv2DTranspose(4, 2, strides=2, name="second"), id="transposed"),
]


@pytest.mark.parametrize("second", SECONDS)
def test_it_computes_what_it_did_with_channels_alike(second) -> None:
    model = chain(layers.ReLU(), layers.MaxPooling2D(2), second=second())
    expected, before = model.predict(frames(), verbose=0), spans(model, "second")
    with equalised(model, frames()) as pairs:
        found, after = model.predict(frames(), verbose=0), spans(model, "second")
    assert pairs >= 1
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
    spread = lambda values: values[values > 0].max() / values[values > 0].min()  # noqa: E731
    assert spread(before) > 1000
    depthwise = "depthwise" in type(model.get_layer("second")).__name__.lower()
    assert spread(after) < (1.01 if depthwise else spread(before) / 10)
    assert np.array_equal(spans(model, "second"), before), "the weights are put back"


@pytest.mark.parametrize(
    "between",
    [layers.ReLU(max_value=6), layers.Activation("sigmoid"), layers.ReLU(threshold=0.1)],
    ids=["relu6", "sigmoid", "threshold"],
)
def test_what_is_not_homogeneous_is_left_alone(between) -> None:
    model = chain(between, second=layers.DepthwiseConv2D(3, name="second"))
    kernel = model.get_layer("second").get_weights()[0]
    with equalised(model, frames()):
        assert np.array_equal(model.get_layer("second").get_weights()[0], kernel)


def test_a_tensor_that_goes_two_ways_is_left_alone() -> None:
    image = keras.Input((16, 16, 3), dtype="uint8")
    x = layers.Conv2D(4, 1, activation="relu")(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, layers.Add()([x, layers.Conv2D(4, 1)(x)]))
    with equalised(model, frames(size=16)) as pairs:
        assert pairs == 0


def test_weights_come_back_after_a_failure() -> None:
    model = chain(layers.ReLU(), second=layers.DepthwiseConv2D(3, name="second"))
    before = model.get_weights()
    with pytest.raises(RuntimeError), equalised(model, frames()):
        raise RuntimeError
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(("name", "least"), [("edge", 4), ("unet_mini", 8), ("attention_unet", 5)])
def test_models_of_the_zoo_compute_what_they_did(name: str, least: int) -> None:
    keras.utils.set_random_seed(0)
    model = build_model(name, 4, 64, 64)
    expected = model.predict(frames(size=64), verbose=0)
    with equalised(model, frames(size=64)) as pairs:
        found = model.predict(frames(size=64), verbose=0)
    assert pairs >= least
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()


def test_a_sequential_inside_is_seen_through() -> None:
    image = keras.Input((32, 32, 3), dtype="uint8")
    block = keras.Sequential(
        [layers.Conv2D(8, 3, padding="same"), layers.ReLU(), layers.Conv2D(3, 3, padding="same")]
    )
    model = keras.Model(image, block(layers.Rescaling(1 / 255)(image)))
    for each in (
        model,
        keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(3, 3)]),
    ):
        expected = each.predict(frames(), verbose=0)
        with equalised(each, frames()):
            np.testing.assert_allclose(each.predict(frames(), verbose=0), expected, rtol=1e-3, atol=1e-3)
