"""What every model keeps to; a new one adds a line to ``models_cases.CASES``."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.models import MODELS, build_model, model_options, unet_mini_source
from edgeseg.training.models.unet_efficientnetb3 import IMAGENET_DEVIATION, IMAGENET_MEAN
from models_cases import CASES, every_case

CLASSES = 5
Built = Callable[[str], keras.Model]


@pytest.fixture(scope="module")
def built() -> Built:
    """The model of a case, built once."""

    @cache
    def build(case: str) -> keras.Model:
        keras.utils.set_random_seed(3)
        return CASES[case].build(CLASSES)

    return build


def test_every_model_has_a_case() -> None:
    assert {case.model for case in CASES.values()} == set(MODELS)


@every_case
def test_raw_pixels_to_logits(case: str, built: Built) -> None:
    height, width = CASES[case].size
    model = built(case)
    image = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    logits = keras.ops.convert_to_numpy(model(image, training=False))
    assert (model.inputs[0].dtype, model.inputs[0].name) == ("uint8", "image")
    assert (logits.shape, logits.dtype) == ((2, height, width, CLASSES), np.float32)
    assert not np.allclose(logits.sum(axis=-1), 1), "logits, not probabilities"


@every_case
def test_plain_layers_that_load_without_edgeseg(case: str, built: Built, tmp_path: Path) -> None:
    model, path = built(case), tmp_path / "model.keras"
    modules = {type(layer).__module__ for layer in model._flatten_layers(include_self=False)}
    assert all(module.startswith(("keras.", *CASES[case].layers)) for module in modules)
    model.save(path)
    again = keras.saving.load_model(path, custom_objects={}, safe_mode=True)
    image = np.zeros((1, *model.input_shape[1:]), np.uint8)
    assert np.allclose(again(image, training=False), model(image, training=False), atol=1e-5)


@every_case
def test_a_size_that_does_not_divide_says_which_does(case: str) -> None:
    (height, width), multiple = CASES[case].size, CASES[case].multiple
    with pytest.raises(UsageError, match=f"multiples of {multiple}.*Use --size {height}x{width}"):
        CASES[case].build(CLASSES, (height + 1, width - 1))


@every_case
def test_another_size_has_the_same_weights_in_the_same_order(case: str, built: Built) -> None:
    (height, width), multiple = CASES[case].size, CASES[case].multiple
    other = CASES[case].build(CLASSES, (height + multiple, width + 2 * multiple))
    assert [w.shape for w in other.weights] == [w.shape for w in built(case).weights]
    other.set_weights(built(case).get_weights())


@pytest.mark.parametrize("name", MODELS)
def test_an_option_that_does_not_exist_is_named(name: str) -> None:
    with pytest.raises(UsageError, match="found no_such_option"):
        build_model(name, CLASSES, 64, 64, no_such_option=9)


@pytest.mark.parametrize("name", ["unet_mini", "unet_mini_source"])
def test_mixed_precision_ends_in_float32(name: str) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = CASES[name].build(CLASSES)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("head").compute_dtype == "bfloat16"
    assert keras.backend.standardize_dtype(model.output.dtype) == "float32"


def test_unknown_model_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="unet_mini"):
        build_model("no_such_model", CLASSES, 64, 64)


def test_options_are_those_of_the_build_function() -> None:
    assert model_options("unet_mini") == {"channels": 32, "momentum": 0.9, "upsampling": "transpose"}
    assert model_options("unet_mini_source") == {}


def test_unet_mini_folds() -> None:
    """Each convolution without bias is followed by BatchNorm and then ReLU, and upsampling is of kernel 2."""
    model = build_model("unet_mini", CLASSES, 16, 16)
    spatial = [
        layer for layer in model.layers if type(layer) is layers.Conv2D and layer.kernel_size == (3, 3)
    ]
    assert len(spatial) == 10
    for convolution in spatial:
        norm, relu = model.get_layer(f"{convolution.name}_bn"), model.get_layer(f"{convolution.name}_relu")
        assert not convolution.use_bias
        assert norm.input is convolution.output
        assert relu.input is norm.output
        assert norm.momentum == 0.9
    assert {t.kernel_size for t in model.layers if isinstance(t, layers.Conv2DTranspose)} == {(2, 2)}


def test_unet_mini_with_bilinear_upsampling() -> None:
    model = build_model("unet_mini", CLASSES, 16, 16, channels=4, upsampling="bilinear")
    assert not any(isinstance(layer, layers.Conv2DTranspose) for layer in model.layers)
    assert model.output_shape == (None, 16, 16, CLASSES)
    with pytest.raises(UsageError, match="transpose or bilinear"):
        build_model("unet_mini", CLASSES, 16, 16, upsampling="nearest")


def test_unet_mini_source_is_the_notebooks_layer_for_layer(built: Built) -> None:
    described = [_describe(layer) for layer in built("unet_mini_source").layers]

    def conv(filters: int, dilation: int = 1) -> str:
        return f"conv3x3 {filters} dilation {dilation} relu"

    assert [d for d in described if d] == [
        *[conv(32), "norm"] * 2, "pool",
        *[conv(64), "norm"] * 2, "pool",
        conv(128, 2), "norm", conv(128, 4), "norm",
        "transpose3x3 64 stride 2 same", "concat", *[conv(64), "norm"] * 2,
        "transpose3x3 32 stride 2 same", "concat", *[conv(32), "norm"] * 2,
        f"conv1x1 {CLASSES} dilation 1 linear",
    ]  # fmt: skip


def _describe(layer: keras.Layer) -> str:
    if isinstance(layer, layers.Conv2DTranspose):
        (k, _), (s, _) = layer.kernel_size, layer.strides
        return f"transpose{k}x{k} {layer.filters} stride {s} {layer.padding}"
    if isinstance(layer, layers.Conv2D):
        k, dilation = layer.kernel_size[0], layer.dilation_rate[0]
        return f"conv{k}x{k} {layer.filters} dilation {dilation} {layer.activation.__name__}"
    known = {
        layers.BatchNormalization: "norm",
        layers.MaxPooling2D: "pool",
        layers.Concatenate: "concat",
    }
    return known.get(type(layer), "")


def test_efficientnet_decoder_and_skips(built: Built) -> None:
    model = built("unet_efficientnetb3")
    transposed = [layer for layer in model.layers if isinstance(layer, layers.Conv2DTranspose)]
    assert [layer.filters for layer in transposed] == [256, 128, 64, 32, 16]
    skips = [model.get_layer(f"decoder{level}_concat").input[1].shape[1:] for level in (1, 2, 3, 4)]
    assert skips == [(4, 4, 816), (8, 8, 288), (16, 16, 192), (32, 32, 144)]


def test_efficientnet_weights_from_a_file_see_what_imagenets_see(tmp_path: Path) -> None:
    """keras.applications scales by 1/√deviation for ``imagenet`` alone; a file of them needs it too."""
    encoder = keras.applications.EfficientNetB3(include_top=False, weights=None, input_shape=(64, 64, 3))
    normalise = next(layer for layer in encoder.layers if isinstance(layer, layers.Normalization))
    normalise.set_weights([np.array(IMAGENET_MEAN), np.array(IMAGENET_DEVIATION) ** 2, np.array(1)])
    path = tmp_path / "encoder.weights.h5"
    encoder.save_weights(path)
    model = build_model("unet_efficientnetb3", CLASSES, 64, 64, encoder_weights=str(path))
    seen = keras.Model(model.input, model.get_layer("stem_conv_pad").input)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
    scaled = (image / 255 - IMAGENET_MEAN) / IMAGENET_DEVIATION / np.sqrt(IMAGENET_DEVIATION)
    assert np.allclose(seen(image), scaled, atol=1e-4)
    kernel = encoder.get_layer("stem_conv").get_weights()[0]
    assert np.array_equal(model.get_layer("stem_conv").get_weights()[0], kernel)


def test_efficientnet_weights_that_are_missing_or_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file at"):
        build_model("unet_efficientnetb3", CLASSES, 64, 64, encoder_weights=str(tmp_path / "none.h5"))
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(b"not HDF5")
    with pytest.raises(UsageError, match="EfficientNetB3 without its top"):
        build_model("unet_efficientnetb3", CLASSES, 64, 64, encoder_weights=str(broken))


def test_efficientnet_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: Any) -> keras.Model:
        raise Exception(
            "URL fetch failure on https://example.org: unreachable"
        )  # as keras.utils.get_file does

    monkeypatch.setattr(keras.applications, "EfficientNetB3", offline)
    with pytest.raises(UsageError, match=r"URL fetch failure.*--encoder-weights PATH.*none"):
        build_model("unet_efficientnetb3", CLASSES, 64, 64)


def test_scale_constants_are_those_of_keras() -> None:
    from keras.src.applications.efficientnet import IMAGENET_STDDEV_RGB

    assert tuple(IMAGENET_STDDEV_RGB) == IMAGENET_DEVIATION
    assert math.isclose(sum(IMAGENET_MEAN), 1.347)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet_mini", {"channels": "abc"}, "channels: expected a whole number of at least 1, found 'abc'"),
        ("unet_mini", {"channels": 0}, "channels.*found 0"),
        ("unet_mini", {"channels": True}, "channels.*found True"),
        ("unet_mini", {"momentum": 1.0}, "momentum.*less than 1, found 1.0"),
        ("unet_mini", {"momentum": "high"}, "momentum"),
        ("unet_mini", {"upsampling": ["transpose"]}, "upsampling"),
        ("unet_efficientnetb3", {"decoder": [64, 32, 16]}, "decoder: expected 5 whole numbers"),
        ("unet_efficientnetb3", {"decoder": [64, 32, 16, 8, 0]}, "decoder"),
        ("unet_efficientnetb3", {"decoder": 64}, "decoder"),
        ("unet_efficientnetb3", {"encoder_weights": 3}, "encoder_weights"),
    ],
)
def test_an_options_value_that_does_not_fit_is_named(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=rf"model_options\.{message}"):
        build_model(name, CLASSES, 64, 64, **options)


def test_a_model_that_ends_at_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def halved(num_classes: int, height: int, width: int) -> keras.Model:
        image = keras.Input((height, width, 3))
        return keras.Model(image, layers.Conv2D(num_classes, 2, strides=2)(image))

    monkeypatch.setattr(unet_mini_source, "build", halved)
    with pytest.raises(UsageError, match=r"unet_mini_source.*\(None, 16, 16, 5\).*\(None, 8, 8, 5\)"):
        build_model("unet_mini_source", CLASSES, 16, 16)
