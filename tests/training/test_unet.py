"""``unet``, ``attention_unet`` and the grey ``unet_mini``: what only they have."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.models import build_model
from edgeseg.training.models.unet import DECODER

CLASSES = 5
SIZE = (64, 64)


def unet(**options: Any) -> keras.Model:
    return build_model("unet", CLASSES, *SIZE, **{"encoder_weights": "none", **options})


def picture(height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.uint8)


def of_kind(model: keras.Model, kind: type) -> list[Any]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_the_decoder_is_that_of_segmentation_models() -> None:
    model = unet(upsampling="nearest", head_kernel=3)
    assert [layer.filters for layer in of_kind(model, layers.Conv2D)] == [
        *[filters for filters in DECODER for _ in range(2)],
        CLASSES,
    ]
    skips = [model.get_layer(f"decoder{level}_concat").input[1].shape[1:] for level in (1, 2, 3, 4)]
    assert skips == [(4, 4, 576), (8, 8, 192), (16, 16, 144), (32, 32, 96)]
    assert {layer.interpolation for layer in of_kind(model, layers.UpSampling2D)} == {"nearest"}
    assert model.get_layer("head").kernel_size == (3, 3)
    assert not of_kind(model, layers.Softmax)


def test_a_separable_decoder_has_a_fraction_of_the_weights() -> None:
    usual, separable = unet(), unet(separable=True)
    assert len(of_kind(separable, layers.SeparableConv2D)) == 10
    decoder = [m.count_params() - m.get_layer("encoder").count_params() for m in (usual, separable)]
    assert decoder[1] < decoder[0] / 6


def test_a_shorter_decoder_enlarges_its_logits() -> None:
    model = unet(decoder=(16, 8, 8))
    assert model.get_layer("head").output.shape[1:3] == (16, 16)
    assert model.get_layer("head_bilinear").size == (4, 4)
    assert model.output_shape == (None, *SIZE, CLASSES)


def test_the_architecture_does_not_depend_on_size_or_weights() -> None:
    small, large = unet(), build_model("unet", CLASSES, 96, 128, encoder_weights="none")
    large.set_weights(small.get_weights())
    assert [w.path for w in small.weights] == [w.path for w in large.weights]


def test_dropout_only_while_training() -> None:
    model = unet(decoder=(16, 8, 8), dropout=0.5)
    assert model.get_layer("dropout").rate == 0.5
    assert np.array_equal(model(picture(), training=False), model(picture(), training=False))


def test_the_encoders_batchnorm_stays_frozen_in_a_saved_model(tmp_path: Any) -> None:
    model = unet(decoder=(16, 8, 8), encoder_batchnorm="frozen")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert len(again.trainable_variables) == len(model.trainable_variables)
    assert not again.get_layer("encoder").get_layer("bn_Conv1").trainable


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": [64]}, "decoder: expected 2 to 5 whole numbers"),
        ({"separable": "yes"}, "separable: expected true or false"),
        ({"upsampling": "cubic"}, "upsampling: expected transpose or bilinear or nearest"),
        ({"head_kernel": 2}, "head_kernel: expected 1 or 3"),
        ({"dropout": 1}, "dropout: expected a number from 0 to less than 1"),
        ({"momentum": -1}, "momentum"),
        ({"pixel_scale": "bgr"}, "pixel_scale"),
    ],
)
def test_an_options_value_that_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"model_options\.{message}"):
        unet(**options)


def test_an_unknown_encoder_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="mobilenetv2"):
        unet(encoder="vgg16")


def test_attention_gates_weigh_the_skips() -> None:
    """With gates forced shut, nothing of a skip is left; forced open, all of it."""
    model = build_model("attention_unet", CLASSES, 32, 48, channels=4)
    gates = [name for name in (layer.name for layer in model.layers) if name.endswith("_weights")]
    assert gates == [f"gate{level}_weights" for level in (4, 3, 2, 1)]
    kernel, bias = model.get_layer("gate2_weights").get_weights()
    weighed = model.get_layer("gate2_multiply")
    seen = keras.Model(model.input, [weighed.input[0], weighed.output])
    for forced, factor in ((-50.0, 0.0), (50.0, 1.0)):
        model.get_layer("gate2_weights").set_weights([0 * kernel, 0 * bias + forced])
        skip, passed = seen(picture(32, 48), training=False)
        assert np.allclose(passed, factor * np.array(skip), atol=1e-6)


def test_unet_mini_in_grey_sees_the_luma_of_bt601() -> None:
    model = build_model("unet_mini", CLASSES, 16, 24, channels=4, input_channels=1)
    frames = picture(16, 24)
    grey = keras.Model(model.input, model.get_layer("luma").output)(frames)
    luma = frames @ np.array([0.299, 0.587, 0.114])
    assert np.allclose(grey[..., 0], luma / 127.5 - 1, atol=1e-5)
    assert model.get_layer("down1_conv1").get_weights()[0].shape == (3, 3, 1, 4)
    assert "luma" not in {variable.path.split("/")[0] for variable in model.trainable_variables}
    shown_grey = np.repeat(np.round(luma)[..., None], 3, axis=-1).astype(np.uint8)
    assert np.allclose(model(shown_grey), model(frames), atol=0.1)
