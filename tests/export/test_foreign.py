"""Models that another package trained: scaled float pixels in, probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.errors import DataError, UsageError
from edgeseg.export.foreign import Foreign, to_contract
from edgeseg.export.pipeline import export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.export.progress import silent
from edgeseg.export.source import open_source
from edgeseg.export.verify import VerifyOptions, verify_bundle
from edgeseg.labels import LabelClass, LabelSet

SIZE = (64, 96)


@pytest.fixture(scope="module")
def foreign(model: keras.Model) -> Callable[..., keras.Model]:
    """The trained model of these tests as another package would have it."""

    def make(ending: str = "softmax", size: tuple[int | None, int | None] = (None, None)) -> keras.Model:
        scaled = next(layer for layer in model.layers if isinstance(layer, layers.Rescaling)).output
        network = keras.Model(scaled, model.output)
        opened = keras.models.clone_model(network, input_tensors=keras.Input((*size, 3), name="data"))
        opened.set_weights(network.get_weights())
        endings = {
            "softmax": layers.Activation("softmax", name="softmax"),
            "layer": layers.Softmax(name="softmax"),
            "convolution": layers.Conv2D(4, 1, activation="softmax"),
            "none": layers.Activation("linear"),
        }
        return keras.Model(opened.input, endings[ending](opened.output), name="theirs")

    return make


@pytest.mark.parametrize("ending", ["softmax", "layer", "none"])
def test_raw_pixels_to_the_same_logits(foreign, model, frames, ending: str) -> None:
    wrapped = to_contract(foreign(ending), Foreign("minus1to1", SIZE), Path("theirs.keras"))
    assert (wrapped.inputs[0].dtype, wrapped.input_shape) == ("uint8", (None, *SIZE, 3))
    assert np.allclose(wrapped(frames[:2]), model(frames[:2]), atol=1e-4)


def test_a_softmax_inside_the_last_convolution(foreign, frames) -> None:
    theirs = foreign("convolution", SIZE)
    wrapped = to_contract(theirs, Foreign("minus1to1"), Path("theirs.keras"))
    probabilities = theirs(frames[:2] / 127.5 - 1)
    logits = wrapped(frames[:2])
    assert np.allclose(keras.ops.softmax(logits), probabilities, atol=1e-5)
    assert not np.allclose(logits, probabilities, atol=1e-2)


def test_a_model_of_raw_pixels_loses_its_softmax_too(model, frames) -> None:
    """A confidence made of probabilities that were taken for logits would be near alike for every class."""
    theirs = keras.Model(model.input, layers.Softmax()(model.output))
    ours = to_contract(theirs, Foreign(), Path("theirs.keras"))
    assert np.allclose(ours(frames), model(frames), atol=1e-4)


def test_a_single_sigmoid_becomes_two_classes() -> None:
    image = keras.Input((8, 8, 3))
    theirs = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(image))
    wrapped = to_contract(theirs, Foreign("0to1"), Path("theirs.keras"))
    frames = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3)).astype(np.uint8)
    probabilities = np.array(keras.ops.softmax(wrapped(frames)))
    assert np.allclose(probabilities[..., 1:], theirs(frames / 255), atol=1e-5)


def test_layers_of_the_efficientnet_package_are_known(tmp_path: Path, data_spec: str, dataset) -> None:
    class FixedDropout(layers.Dropout):
        pass

    def swish(x):
        return x * keras.ops.sigmoid(x)

    classes = len(dataset.labels)
    image = keras.Input((*SIZE, 3))
    x = FixedDropout(0.2, noise_shape=(None, 1, 1, 1))(layers.Conv2D(4, 3, padding="same")(image))
    theirs = keras.Model(image, layers.Conv2D(classes, 1, activation="softmax")(layers.Activation(swish)(x)))
    theirs.save(tmp_path / "theirs.keras")
    source = open_source(tmp_path / "theirs.keras", data_spec, None, silent, Foreign("imagenet"))
    assert source.name == "theirs"
    assert source.model.output_shape == (None, *SIZE, classes)


def test_it_exports_and_verifies_as_any_model(
    foreign, expected, frames, data_spec: str, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.keras"
    foreign().save(path)
    options = ExportOptions(format="onnx", out=tmp_path, foreign=Foreign("minus1to1", SIZE))
    result = export_model(path, data_spec, options)
    assert result.manifest.models[0].parity.agreement >= 0.999
    checks = []
    verify_bundle(result.path, VerifyOptions(path, data_spec, pixel_scale="minus1to1"), checks.append)
    assert "passed" in {check.state for check in checks if check.name == "parity with Keras"}


@pytest.mark.parametrize(("scale", "mode"), [("caffe", "caffe"), ("imagenet", "torch"), ("minus1to1", "tf")])
def test_pixels_are_made_as_keras_makes_them(frames, scale: str, mode: str) -> None:
    """What Keras calls caffe turns the colours too: without that a model would see red for blue, and no gate
    that compares it with itself would notice."""
    image = keras.Input((*SIZE, 3))
    weights = np.random.default_rng(0).normal(size=(1, 1, 3, 4)).astype(np.float32)
    theirs = keras.Model(image, layers.Conv2D(4, 1, use_bias=False)(image))
    theirs.set_weights([weights])
    pixels = keras.applications.imagenet_utils.preprocess_input(frames[:2].astype(np.float32), mode=mode)
    ours = to_contract(theirs, Foreign(scale), Path("theirs.keras"))
    assert np.allclose(ours(frames[:2]), theirs(pixels), atol=1e-2 if scale == "caffe" else 1e-4)


def test_an_order_of_colours_that_is_told_wins(frames) -> None:
    image = keras.Input((*SIZE, 3), dtype="uint8")
    theirs = keras.Model(image, layers.Rescaling([1.0, 10.0, 100.0])(image))
    turned = to_contract(theirs, Foreign(channel_order="bgr"), Path("theirs.keras"))
    assert np.allclose(turned(frames[:1]), theirs(frames[:1, ..., ::-1]))
    image = keras.Input((*SIZE, 3))
    theirs = keras.Model(image, layers.Rescaling([1.0, 10.0, 100.0])(image))
    kept = to_contract(theirs, Foreign("caffe", channel_order="rgb"), Path("theirs.keras"))
    assert np.allclose(kept(frames[:1]), theirs(frames[:1] - np.array([123.68, 116.779, 103.939])), atol=0.1)
    with pytest.raises(UsageError, match="--channel-order: expected rgb or bgr, found 'gbr'"):
        to_contract(theirs, Foreign("none", channel_order="gbr"), Path("theirs.keras"))


def test_a_model_of_raw_pixels_of_any_size_gets_the_size_that_was_asked_for(frames) -> None:
    image = keras.Input((None, None, 3), dtype="uint8")
    theirs = keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(layers.Rescaling(1 / 255)(image)))
    ours = to_contract(theirs, Foreign(size=SIZE), Path("theirs.keras"))
    assert (ours.inputs[0].dtype, ours.output_shape) == ("uint8", (None, *SIZE, 2))
    probabilities = np.array(keras.ops.softmax(ours(frames[:2])))
    assert np.allclose(probabilities[..., 1:], theirs(frames[:2]), atol=1e-5)


def named(*names: str) -> LabelSet:
    return LabelSet("theirs", tuple(LabelClass(i, name, (i, i, i)) for i, name in enumerate(names)))


def test_its_classes_are_held_against_the_dataset(foreign, data_spec: str, dataset, tmp_path: Path) -> None:
    path = tmp_path / "theirs.keras"
    foreign().save(path)
    names = dataset.labels.names

    def source(labels: LabelSet) -> LabelSet:
        return open_source(path, data_spec, None, silent, Foreign("minus1to1", SIZE, labels)).labels

    assert source(named(*names)).to_dict() == named(*names).to_dict(), "the bundle has the colours given"
    with pytest.raises(DataError, match="the model's classes"):
        source(named(*reversed(names)))
    with pytest.raises(DataError, match="the model's classes"):
        source(named(*names, "one more"))


def test_a_model_that_says_its_classes_is_not_told_them(checkpoint: Path, dataset) -> None:
    with pytest.raises(UsageError, match=r"--labels: expected none, for .* says its own classes"):
        open_source(checkpoint, None, None, silent, Foreign(labels=dataset.labels))
    with pytest.raises(UsageError, match="--channel-order: expected none, for edgeseg trained"):
        open_source(checkpoint, None, None, silent, Foreign(channel_order="bgr"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Foreign(size=SIZE), r"--pixel-scale: expected how the pixels were scaled.*takes float32 pixels"),
        (Foreign("bgr", SIZE), "one of none, 0to1.*found bgr"),
        (Foreign("0to1"), "--size: expected a size that fits.*anyxany, found none"),
    ],
)
def test_what_must_be_known_is_asked_for(foreign, given: Foreign, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_contract(foreign(), given, Path("theirs.keras"))


def test_what_does_not_fit_is_refused(foreign, model) -> None:
    with pytest.raises(UsageError, match=r"64x96, found 32x32"):
        to_contract(foreign(size=SIZE), Foreign("0to1", (32, 32)), Path("theirs.keras"))
    with pytest.raises(UsageError, match="takes raw uint8 pixels"):
        to_contract(model, Foreign("0to1"), Path("ours.keras"))
    assert to_contract(model, Foreign(), Path("ours.keras")) is model
    image = keras.Input((8, 8, 1))
    with pytest.raises(UsageError, match=r"a model of images \[N, H, W, 3\]"):
        to_contract(keras.Model(image, layers.Conv2D(2, 1)(image)), Foreign(), Path("grey.keras"))
