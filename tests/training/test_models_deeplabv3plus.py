from __future__ import annotations

from typing import Any

import keras
import pytest
from keras import layers

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.models import build_model


def deeplab(height: int = 64, width: int = 96, **options: Any) -> keras.Model:
    return build_model("deeplabv3plus", 5, height, width, encoder_weights="none", **options)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return deeplab()


def test_the_encoder_ends_at_one_sixteenth(model: keras.Model) -> None:
    low_level, high_level = model.get_layer("encoder").output
    assert low_level.shape[1:3] == (16, 24)
    assert high_level.shape[1:3] == (4, 6)


def test_the_pyramid_has_five_branches(model: keras.Model) -> None:
    concat = model.get_layer("aspp_concat")
    assert [branch.shape[1:] for branch in concat.input] == [(4, 6, 256)] * 5
    assert [model.get_layer(f"aspp_rate{rate}").dilation_rate for rate in (6, 12, 18)] == [
        (6, 6), (12, 12), (18, 18),
    ]  # fmt: skip
    assert all(
        isinstance(model.get_layer(f"aspp_rate{rate}"), layers.SeparableConv2D) for rate in (6, 12, 18)
    )


def test_the_decoder_sees_48_channels_of_one_quarter(model: keras.Model) -> None:
    coarse, fine = model.get_layer("decoder_concat").input
    assert (coarse.shape[1:], fine.shape[1:]) == ((16, 24, 256), (16, 24, 48))
    assert model.get_layer("head").input.shape[1:] == (16, 24, 256)


def test_the_whole_image_is_seen_everywhere(model: keras.Model) -> None:
    spread = keras.Model(model.input, model.get_layer("aspp_image_spread").output)
    image = keras.random.uniform((1, 64, 96, 3), 0, 256, seed=1)
    seen = keras.ops.convert_to_numpy(spread(image))
    assert seen.shape == (1, 4, 6, 256)
    assert (seen == seen[:, :1, :1]).all()


def test_each_convolution_is_followed_by_its_norm(model: keras.Model) -> None:
    bare = [
        layer.name for layer in model.layers
        if isinstance(layer, layers.Conv2D | layers.SeparableConv2D) and not layer.use_bias
    ]  # fmt: skip
    assert len(bare) == 9
    for name in bare:
        norm = model.get_layer(f"{name}_bn")
        assert norm.input is model.get_layer(name).output
        assert norm.momentum == 0.9


def test_an_encoder_that_does_not_exist_is_named() -> None:
    with pytest.raises(UnknownNameError, match="resnet101"):
        deeplab(encoder="resnet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels.*at least 1"),
        ({"rates": (6, 6)}, "rates.*different"),
        ({"rates": ()}, "rates"),
        ({"rates": 6}, "rates"),
        ({"dropout": 1}, "dropout.*less than 1"),
        ({"momentum": True}, "momentum"),
    ],
)
def test_an_options_value_that_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        deeplab(**options)
