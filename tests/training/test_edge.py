"""``edge``: what of MobileNetV2 it keeps, at which sizes it works, and which options it refuses."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.errors import UsageError
from edgeseg.training.models import build_model, inference_model

CLASSES = 5


def edge(height: int = 64, width: int = 96, **options: Any) -> keras.Model:
    return build_model("edge", CLASSES, height, width, **{"encoder_weights": "none", **options})


def test_the_encoder_is_cut_where_the_option_says() -> None:
    at16, at32 = (edge(encoder_end=end).get_layer("encoder") for end in (16, 32))
    assert "block_13_depthwise" not in {layer.name for layer in at16.layers}
    assert {"block_16_project", "Conv_1"} <= {layer.name for layer in at32.layers}
    assert at16.count_params() < at32.count_params() / 3


def test_every_convolution_of_the_decoder_folds_its_batchnorm_and_nothing_is_concatenated() -> None:
    model = edge(encoder_end=32, finest=2)
    for layer in model.layers:
        assert not isinstance(layer, layers.Concatenate)
        if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D) and not layer.use_bias:
            assert model.get_layer(f"{layer.name}_bn").input is layer.output


@pytest.mark.parametrize(
    ("size", "scale", "seen"),
    [
        ((256, 256), 0.75, (192, 192)),
        ((352, 480), 0.75, (256, 352)),
        ((64, 96), 0.1, (32, 32)),
        ((64, 96), 1, (64, 96)),
    ],
)
def test_the_network_sees_the_scaled_image_at_multiples_of_32(
    size: tuple[int, int], scale: float, seen: tuple[int, int]
) -> None:
    model = edge(*size, input_scale=scale)
    assert model.get_layer("normalise").output.shape[1:3] == seen
    assert model.output_shape == (None, *size, CLASSES)


def test_scaling_averages_pixels_and_rounds_none_of_them() -> None:
    model = edge(64, 64, input_scale=0.5)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    seen = keras.ops.convert_to_numpy(keras.Model(model.input, model.get_layer("normalise").output)(image))
    means = image.reshape(1, 32, 2, 32, 2, 3).mean(axis=(2, 4))
    assert np.allclose(seen, means / 127.5 - 1, atol=1e-5)


def test_the_weights_do_not_depend_on_the_size() -> None:
    small, large = edge(64, 64), edge(96, 128)
    assert [w.shape for w in small.weights] == [w.shape for w in large.weights]
    large.set_weights(small.get_weights())


def test_the_auxiliary_head_is_cut_off_for_the_car() -> None:
    model = edge(auxiliary=True, input_scale=1)
    assert [output.shape for output in model.outputs] == [(None, 64, 96, CLASSES), (None, 4, 6, CLASSES)]
    assert all(keras.backend.standardize_dtype(output.dtype) == "float32" for output in model.outputs)
    assert inference_model(model).count_params() == edge(input_scale=1).count_params()


def test_batchnorm_of_the_encoder_alone_is_frozen() -> None:
    model = edge(encoder_batchnorm="frozen")
    frozen = [layer for layer in model.get_layer("encoder").layers if _is_norm(layer)]
    own = [layer for layer in model.layers if _is_norm(layer)]
    assert frozen
    assert not any(layer.trainable for layer in frozen)
    assert own
    assert all(layer.trainable for layer in own)
    trained = edge(encoder_batchnorm="trained").get_layer("encoder")
    assert all(layer.trainable for layer in trained.layers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_end": 8}, "encoder_end: expected 16 or 32, found 8"),
        ({"finest": 16}, "finest: expected 2, 4 or 8, found 16"),
        ({"finest": [4]}, "finest"),
        ({"input_scale": 0}, "input_scale: expected a number above 0, at most 1, found 0"),
        ({"input_scale": 1.5}, "input_scale"),
        ({"input_scale": True}, "input_scale"),
        ({"channels": 0}, "channels"),
        ({"auxiliary": "yes"}, "auxiliary: expected true or false"),
        ({"momentum": 1}, "momentum"),
    ],
)
def test_an_options_value_that_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"model_options\.{message}"):
        edge(**options)


def _is_norm(layer: keras.Layer) -> bool:
    return isinstance(layer, layers.BatchNormalization)
