"""Weights of ``segmentation_models.Unet``: the same outputs, whatever form the file has."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from typer.testing import CliRunner

from edgeseg.cli.app import app
from edgeseg.errors import DataError, UnknownNameError, UsageError
from edgeseg.training.checkpoint import load_checkpoint
from edgeseg.training.import_weights import import_unet
from edgeseg.training.models import build_model
from edgeseg.training.pixel_scales import PIXEL_SCALES
from edgeseg.training.weights_file import read_weights

SIZE = (64, 64)
FILTERS = [8, 6, 4, 4, 4]


def frames(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *SIZE, 3)).astype(np.uint8)


def varied(model: keras.Model) -> keras.Model:
    """Weights such that every layer tells: biases, moving means and variances are no longer 0 and 1."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.6, 1.4, array.shape) for array in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def package() -> Any:
    """segmentation_models as its users have it, on tf.keras."""
    os.environ["SM_FRAMEWORK"] = "tf.keras"
    return pytest.importorskip("segmentation_models", reason="segmentation-models is not installed")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("backbone", "scale"),
    [
        ("mobilenetv2", "minus1to1"),
        ("efficientnetb0", "imagenet"),
        pytest.param("efficientnetb3", "imagenet", marks=pytest.mark.large),
        ("resnet34", "none"),
        pytest.param("resnet50", "none", marks=pytest.mark.large),
    ],
)
def test_the_outputs_are_those_of_the_package(
    package: Any, backbone: str, scale: str, tmp_path: Path
) -> None:
    theirs = package.Unet(
        backbone, input_shape=(*SIZE, 3), classes=4, activation="softmax", encoder_weights=None
    )
    varied(theirs).save_weights(tmp_path / "theirs.weights.h5")
    ours = import_unet(tmp_path / "theirs.weights.h5", backbone, *SIZE).model
    multiply, add = map(np.array, PIXEL_SCALES[scale])
    expected = theirs.predict(frames() * multiply + add, verbose=0)
    logits = ours.predict(frames(), verbose=0)
    assert np.ptp(expected, axis=(1, 2)).max() > 1e-3, "an output without a picture would prove nothing"
    assert np.abs(keras.ops.softmax(logits) - expected).max() < 1e-4


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["model.keras", "model.h5", "model.weights.h5"])
def test_every_form_of_file_of_the_package(package: Any, name: str, tmp_path: Path) -> None:
    theirs = package.Unet("resnet18", (*SIZE, 3), classes=1, encoder_weights=None, decoder_filters=FILTERS)
    varied(theirs)
    (theirs.save_weights if "weights" in name else theirs.save)(tmp_path / name)
    ours = import_unet(tmp_path / name, "resnet18", *SIZE).model
    probability = keras.ops.softmax(ours.predict(frames(), verbose=0))[..., 1:]
    assert np.abs(probability - theirs.predict(frames().astype(np.float32), verbose=0)).max() < 1e-4


@pytest.fixture(scope="module")
def like_theirs() -> keras.Model:
    """Ours in the package's topology, as a source of weights where the package is not installed."""
    model = build_model(
        "unet", 3, *SIZE, encoder="resnet18_preact", encoder_weights="none", pixel_scale="none",
        decoder=FILTERS, upsampling="nearest", head_kernel=3,
    )  # fmt: skip
    varied(model.get_layer("encoder"))
    return varied(model)


def their_weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    named = {layer.name: layer.get_weights() for layer in model.get_layer("encoder").layers}
    for level in range(len(FILTERS)):
        for index, letter in ((1, "a"), (2, "b")):
            ours = f"decoder{level + 1}_conv{index}"
            named[f"decoder_stage{level}{letter}_conv"] = model.get_layer(ours).get_weights()
            named[f"decoder_stage{level}{letter}_bn"] = model.get_layer(f"{ours}_bn").get_weights()
    named["final_conv"] = model.get_layer("head").get_weights()
    return named


def write_keras2(path: Path, named: dict[str, list[np.ndarray]], *, group: str = "", parts: int = 1) -> Path:
    """As ``tf.keras`` 2 wrote weights; with many layers the list of names is in several attributes."""
    with h5py.File(path, "w") as file:
        root = file.create_group(group) if group else file
        names = list(named)
        if parts == 1:
            root.attrs["layer_names"] = [name.encode() for name in names]
        else:
            for part in range(parts):
                root.attrs[f"layer_names{part}"] = [name.encode() for name in names[part::parts]]
        for name, arrays in named.items():
            layer = root.create_group(name)
            weights = [f"{name}/weight{index}:0" for index in range(len(arrays))]
            layer.attrs["weight_names"] = [weight.encode() for weight in weights]
            for weight, array in zip(weights, arrays, strict=True):
                layer[weight] = array
    return path


@pytest.mark.parametrize(("group", "parts"), [("", 1), ("", 3), ("model_weights", 1)])
def test_files_of_keras_2(like_theirs: keras.Model, group: str, parts: int, tmp_path: Path) -> None:
    path = write_keras2(tmp_path / "best.h5", their_weights(like_theirs), group=group, parts=parts)
    imported = import_unet(path, "resnet18", *SIZE)
    assert imported.options["decoder"] == FILTERS
    expected = like_theirs.predict(frames(), verbose=0)
    assert np.abs(imported.model.predict(frames(), verbose=0) - expected).max() < 1e-4


def test_pixels_scaled_otherwise(like_theirs: keras.Model, tmp_path: Path) -> None:
    path = write_keras2(tmp_path / "best.h5", their_weights(like_theirs))
    scaled = import_unet(path, "resnet18", *SIZE, pixel_scale="0to1").model
    assert np.allclose(scaled.get_layer("normalise")(frames()), frames() / 255, atol=1e-6)
    with pytest.raises(UsageError, match="pixel_scale: expected one of none, 0to1"):
        import_unet(path, "resnet18", *SIZE, pixel_scale="0to2")


def test_files_of_keras_3_are_read_by_name(like_theirs: keras.Model, tmp_path: Path) -> None:
    like_theirs.save(tmp_path / "whole.keras")
    like_theirs.save_weights(tmp_path / "some.weights.h5")
    for name in ("whole.keras", "some.weights.h5"):
        read = read_weights(tmp_path / name)
        assert np.array_equal(read["head"][0], like_theirs.get_layer("head").get_weights()[0])
        assert [array.shape for array in read["bn_data"]] == [(3,)] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"final_conv": None}, "a segmentation_models.Unet, found no layer 'final_conv'"),
        ({"decoder_stage0a_conv": None}, "decoder_block_type='upsampling'"),
        ({"decoder_stage0a_bn": None}, "decoder_use_batchnorm=True"),
        ({"conv0": None}, "layer 'conv0' with weights .*of none"),
        ({"conv0": [np.zeros((3, 3, 3, 64))]}, r"layer 'conv0' with weights \(3, 3, 3, 64\)"),
        ({"attention": [np.zeros(3)]}, "no more layers than the model has, found attention"),
    ],
)
def test_another_topology_is_named(
    like_theirs: keras.Model, change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    named = {**their_weights(like_theirs), **change}
    kept = {name: arrays for name, arrays in named.items() if arrays is not None}
    with pytest.raises(DataError, match=message):
        import_unet(write_keras2(tmp_path / "best.h5", kept), "resnet18", *SIZE)


def test_files_that_hold_no_weights(tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no HDF5")
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    for name, found in (
        ("absent.h5", "nothing there"),
        ("text.h5", "file signature"),
        ("empty.keras", "item"),
    ):
        with pytest.raises(DataError, match=rf"{name}.*{found}"):
            read_weights(tmp_path / name)
    with pytest.raises(UnknownNameError, match="resnet34"):
        import_unet(tmp_path / "text.h5", "resnet9", *SIZE)


def test_the_verb_writes_a_checkpoint_with_its_labels(like_theirs: keras.Model, tmp_path: Path) -> None:
    path = write_keras2(tmp_path / "best.h5", their_weights(like_theirs))
    (tmp_path / "labels.yaml").write_text("classes: [road, car, tree]\n")
    out = tmp_path / "out.keras"
    arguments = ["import-weights", str(path), "--encoder", "resnet18", "--size", "64x64", "--out", str(out)]
    done = CliRunner().invoke(app, [*arguments, "--labels", str(tmp_path / "labels.yaml")])
    assert done.exit_code == 0, done.output
    model, info = load_checkpoint(out)
    assert info is not None
    assert info.label_set().names == ("road", "car", "tree")
    assert (info.height, info.width, info.recipe["model_options"]["encoder"]) == (64, 64, "resnet18_preact")
    assert np.allclose(model(frames()), like_theirs(frames()), atol=1e-4)


def test_the_verb_refuses_labels_of_another_number_and_another_kind_of_file(
    like_theirs: keras.Model, tmp_path: Path
) -> None:
    path = write_keras2(tmp_path / "best.h5", their_weights(like_theirs))
    (tmp_path / "labels.yaml").write_text("classes: [road, car]\n")
    arguments = ["import-weights", str(path), "--encoder", "resnet18", "--size", "64x64", "--out"]
    run = CliRunner().invoke(
        app, [*arguments, str(tmp_path / "out.keras"), "--labels", str(tmp_path / "labels.yaml")]
    )
    assert isinstance(run.exception, DataError)
    assert "expected 3 classes" in str(run.exception)
    run = CliRunner().invoke(app, [*arguments, str(tmp_path / "out.h5")])
    assert isinstance(run.exception, UsageError)
    assert not (tmp_path / "out.keras").exists()
