"""Encoders: their maps, what their weights see, and what is said where weights cannot be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.models import resnet_preact
from edgeseg.training.models.blocks import image_input
from edgeseg.training.models.encoders import ENCODERS, STRIDES, encoder, resolve_batchnorm
from edgeseg.training.pixel_scales import IMAGENET_DEVIATION, IMAGENET_MEAN

SIZE = (64, 96)
LIGHT = ("mobilenetv2", "mobilenetv3small", "efficientnetb0", "efficientnetv2b0", "resnet18_preact")
HEAVY = ("efficientnetb3", "resnet50", "xception")


def _marks(name: str) -> list[pytest.MarkDecorator]:
    """One of each family is always tested; the rest of it is larger."""
    return [] if name in LIGHT else [pytest.mark.heavy] if name in HEAVY else [pytest.mark.large]


every_encoder = pytest.mark.parametrize("name", [pytest.param(name, marks=_marks(name)) for name in ENCODERS])


def maps(name: str, *, size: tuple[int, int] = SIZE, **options: Any) -> keras.Model:
    """An encoder as a model of raw pixels to its maps by stride."""
    image = image_input(*size, multiple=32)
    return keras.Model(image, encoder(name, image, **{"weights": "none", "batchnorm": "frozen", **options}))


def picture(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, *size, 3)).astype(np.uint8)


@every_encoder
def test_a_map_of_every_stride(name: str) -> None:
    height, width = SIZE
    shapes = {stride: tensor.shape[1:3] for stride, tensor in maps(name).output.items()}
    assert shapes == {stride: (height // stride, width // stride) for stride in STRIDES}


@every_encoder
def test_output_stride_16_keeps_the_weights_and_the_size_of_the_stage_before(name: str) -> None:
    height, width = SIZE
    usual, dense = maps(name, features=(4, 32)), maps(name, features=(4, 32), output_stride=16)
    shapes = {stride: tensor.shape[1:3] for stride, tensor in dense.output.items()}
    assert shapes == {4: (height // 4, width // 4), 32: (height // 16, width // 16)}
    assert [w.shape for w in usual.weights] == [w.shape for w in dense.weights]


@pytest.mark.parametrize(("name", "phase"), [("mobilenetv2", 1), ("resnet18_preact", 0)])
def test_a_dilated_encoder_sees_what_the_usual_one_sees(name: str, phase: int) -> None:
    """Every other pixel of the denser map, counted from the pixel on which the stride of 2 lands."""
    keras.utils.set_random_seed(1)
    usual, dense = maps(name, features=(32,)), maps(name, features=(32,), output_stride=16)
    dense.set_weights(usual.get_weights())
    expected, seen = usual(picture())[32], dense(picture())[32]
    assert np.std(expected) > 0
    # Random weights make numbers of a thousand: the tolerance is relative to them.
    assert np.abs(seen[:, phase::2, phase::2] - expected).max() < 1e-5 * np.abs(expected).max()


def test_segmentation_models_skips() -> None:
    """Channels of the maps that the package takes: https://github.com/qubvel/segmentation_models."""
    channels = {
        name: [tensor.shape[-1] for tensor in maps(name).output.values()]
        for name in ("mobilenetv2", "efficientnetb0", "resnet18_preact")
    }
    assert channels == {
        "mobilenetv2": [96, 144, 192, 576, 1280],
        "efficientnetb0": [96, 144, 240, 672, 1280],
        "resnet18_preact": [64, 64, 128, 256, 512],
    }


def test_layers_that_no_map_needs_are_left_out() -> None:
    cut = maps("mobilenetv2", features=(2, 8)).get_layer("encoder")
    assert "block_6_expand_relu" in [layer.name for layer in cut.layers]
    assert not any(layer.name.startswith("block_7") for layer in cut.layers)


def test_batchnorm_is_frozen_unless_it_is_to_be_trained() -> None:
    frozen, trained = maps("mobilenetv2"), maps("mobilenetv2", batchnorm="trained")
    for model, expected in ((frozen, False), (trained, True)):
        norms = [
            layer
            for layer in model.get_layer("encoder").layers
            if isinstance(layer, layers.BatchNormalization)
        ]
        assert {layer.trainable for layer in norms} == {expected}
    before = frozen.get_weights()
    frozen(picture(), training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, frozen.get_weights(), strict=True))


@pytest.mark.parametrize(
    ("batchnorm", "weights", "resolved"),
    [
        (None, "none", "trained"),
        (None, "imagenet", "frozen"),
        ("frozen", "none", "frozen"),
        ("trained", "imagenet", "trained"),
    ],
)
def test_batchnorm_that_nobody_chose_suits_the_weights(
    batchnorm: str | None, weights: str, resolved: str
) -> None:
    assert resolve_batchnorm(batchnorm, weights) == resolved


def test_equal_options_give_the_same_weights_at_every_size(tmp_path: Path) -> None:
    path = tmp_path / "some.weights.h5"
    application("MobileNetV2").save_weights(path)
    loaded, twin = maps("mobilenetv2", weights=str(path)), maps("mobilenetv2", size=(96, 64))
    assert [w.path for w in loaded.weights] == [w.path for w in twin.weights]
    twin.set_weights(loaded.get_weights())


def application(name: str, **options: Any) -> keras.Model:
    """A network of Keras with moving averages that are not those of a new one."""
    keras.utils.set_random_seed(2)
    network = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(*SIZE, 3), **options
    )
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([np.random.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()])
    return network


def as_in_keras(module: str) -> Any:
    return getattr(keras.applications, module).preprocess_input


@pytest.mark.parametrize(
    ("name", "network", "preprocess", "file"),
    [
        ("mobilenetv2", "MobileNetV2", as_in_keras("mobilenet_v2"), "some.weights.h5"),
        ("mobilenetv2", "MobileNetV2", as_in_keras("mobilenet_v2"), "some.h5"),
        pytest.param(
            "resnet50", "ResNet50", as_in_keras("resnet50"), "some.weights.h5", marks=pytest.mark.heavy
        ),
        ("mobilenetv3small", "MobileNetV3Small", np.array, "some.weights.h5"),
        ("efficientnetv2b0", "EfficientNetV2B0", np.array, "some.h5"),
    ],
)
def test_weights_from_a_file_give_keras_own_output(
    name: str, network: str, preprocess: Any, file: str, tmp_path: Path
) -> None:
    """Our pixels in RGB and 0 to 255 against Keras's own preprocessing, blue first where it wants that."""
    theirs = application(network)
    (theirs.save if file == "some.h5" else theirs.save_weights)(tmp_path / file)
    ours = maps(name, weights=str(tmp_path / file), features=(32,))
    expected = theirs(preprocess(picture().astype(np.float32)))
    assert np.allclose(ours(picture())[32], expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("weights", ["none", "file"])
def test_efficientnet_pixels_are_scaled_as_published_whatever_the_weights(
    weights: str, tmp_path: Path
) -> None:
    """keras.applications divides by √deviation once more for the word ``imagenet`` alone."""
    from keras.src.applications.efficientnet import IMAGENET_STDDEV_RGB

    mean, deviation = np.array(IMAGENET_MEAN), np.array(IMAGENET_DEVIATION)
    assert tuple(IMAGENET_STDDEV_RGB) == tuple(deviation)
    if weights == "file":
        weights = str(tmp_path / "some.weights.h5")
        application("EfficientNetB0").save_weights(weights)
    ours = maps("efficientnetb0", weights=weights, features=(2,))
    seen = keras.Model(ours.input, ours.get_layer("normalise").output)(picture())
    assert np.allclose(seen, (picture() / 255 - mean) / deviation / np.sqrt(deviation), atol=1e-4)


def test_efficientnet_weights_from_a_file_reach_the_network(tmp_path: Path) -> None:
    theirs = application("EfficientNetB0")
    theirs.save_weights(tmp_path / "some.weights.h5")
    ours = maps("efficientnetb0", weights=str(tmp_path / "some.weights.h5"), features=(32,))
    begin = keras.Model(theirs.get_layer("stem_conv_pad").input, theirs.output)
    scaled = ours.get_layer("normalise")(picture())
    assert np.allclose(ours(picture())[32], begin(scaled), atol=1e-4)


def test_weights_of_the_preactivated_resnets_come_from_a_file_alone(tmp_path: Path) -> None:
    network = resnet_preact.resnet_preact("ResNet18Preact", (*SIZE, 3), None)
    network.save_weights(tmp_path / "some.weights.h5")
    ours = maps("resnet18_preact", weights=str(tmp_path / "some.weights.h5"), features=(32,))
    assert np.allclose(ours(picture())[32], network(picture().astype(np.float32)), atol=1e-4)
    with pytest.raises(UsageError, match=r"ResNet18Preact.*--encoder-weights PATH"):
        maps("resnet18_preact", weights="imagenet")


def test_weights_that_are_missing_or_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file at"):
        maps("mobilenetv2", weights=str(tmp_path / "none.h5"))
    broken = tmp_path / "broken.weights.h5"
    broken.write_bytes(b"not HDF5")
    other = tmp_path / "other.weights.h5"
    application("MobileNetV3Small").save_weights(other)
    for path in (broken, other):
        with pytest.raises(UsageError, match="weights of MobileNetV2 without its top"):
            maps("mobilenetv2", weights=str(path))


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(**_: Any) -> keras.Model:
        raise Exception("URL fetch failure on https://example.org")  # as keras.utils.get_file does

    monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
    with pytest.raises(UsageError, match=r"URL fetch failure.*--encoder-weights PATH.*none"):
        maps("mobilenetv2", weights="imagenet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": 3}, "encoder_weights: expected imagenet, none, or a .h5 file, found 3"),
        ({"batchnorm": "off"}, "encoder_batchnorm: expected frozen or trained"),
        ({"output_stride": 8}, "output_stride: expected 16 or 32"),
        ({"pixel_scale": "bgr"}, "pixel_scale: expected one of none, 0to1"),
    ],
)
def test_an_options_value_that_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        maps("mobilenetv2", **options)


def test_an_unknown_encoder_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match=r"efficientnetb3.*mobilenetv2"):
        maps("vgg16")
