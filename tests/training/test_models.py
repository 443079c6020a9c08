"""What every model keeps to; a new one adds a line to ``models_cases.CASES``."""

from __future__ import annotations

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
from models_cases import CASES, cases

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


@cases()
def test_raw_pixels_to_logits(case: str, built: Built) -> None:
    height, width = CASES[case].size
    model = built(case)
    image = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    logits = keras.ops.convert_to_numpy(model(image, training=False))
    assert (model.inputs[0].dtype, model.inputs[0].name) == ("uint8", "image")
    assert (logits.shape, logits.dtype) == ((2, height, width, CLASSES), np.float32)
    assert not np.allclose(logits.sum(axis=-1), 1), "logits, not probabilities"


@cases()
def test_called_without_a_mode_it_infers(case: str, built: Built) -> None:
    height, width = CASES[case].size
    model = built(case)
    image = np.random.default_rng(1).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    before = model.get_weights()
    expected = keras.ops.convert_to_numpy(model(image, training=False))
    assert np.array_equal(keras.ops.convert_to_numpy(model(image)), expected)
    assert all(np.array_equal(*weights) for weights in zip(before, model.get_weights(), strict=True))


@cases()
def test_plain_layers_that_load_without_edgeseg(case: str, built: Built, tmp_path: Path) -> None:
    model, path = built(case), tmp_path / "model.keras"
    modules = {type(layer).__module__ for layer in model._flatten_layers(include_self=False)}
    assert all(module.startswith(("keras.", *CASES[case].layers)) for module in modules)
    model.save(path)
    again = keras.saving.load_model(path, custom_objects={}, safe_mode=True)
    image = np.zeros((1, *model.input_shape[1:]), np.uint8)
    assert np.allclose(again(image, training=False), model(image, training=False), atol=1e-5)


@cases()
def test_a_size_that_does_not_divide_says_which_does(case: str) -> None:
    (height, width), multiple = CASES[case].size, CASES[case].multiple
    with pytest.raises(UsageError, match=f"multiples of {multiple}.*Use --size {height}x{width}"):
        CASES[case].build(CLASSES, (height + 1, width - 1))


@cases()
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
    assert model_options("unet_mini") == {
        "channels": 32,
        "momentum": 0.9,
        "upsampling": "transpose",
        "input_channels": 3,
    }
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


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet_mini", {"channels": "abc"}, "channels: expected a whole number of at least 1, found 'abc'"),
        ("unet_mini", {"channels": 0}, "channels.*found 0"),
        ("unet_mini", {"channels": True}, "channels.*found True"),
        ("unet_mini", {"momentum": 1.0}, "momentum.*less than 1, found 1.0"),
        ("unet_mini", {"momentum": "high"}, "momentum"),
        ("unet_mini", {"upsampling": ["transpose"]}, "upsampling"),
        ("unet_mini", {"input_channels": 2}, r"input_channels: expected 1 \(grey\) or 3"),
        ("attention_unet", {"channels": 0}, "channels"),
        ("attention_unet", {"depth": 5}, "depth"),
        ("unet_efficientnetb3", {"decoder": [64]}, "decoder: expected 2 to 5 whole numbers"),
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
