"""Models of others evaluate and run: a wrapped quantised ``.tflite``, an exported Keras model.

What the commands say and write is held against the bare model and NumPy.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from edgeseg.cli import main
from edgeseg.training.data import open_dataset
from edgeseg.training.data.dataset import Dataset

SIZE = (64, 96)
DATA = "synthetic:train=2,val=4,size=64x96,seed=7"
Predict = Callable[[np.ndarray], np.ndarray]


@pytest.fixture
def edgeseg(monkeypatch, tmp_path, capfd) -> Callable[..., str]:
    """Runs a command in an empty folder, and gives its stdout."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["edgeseg", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        told = capfd.readouterr()
        assert not caught.value.code, told.err
        return told.out

    return run


@pytest.fixture(scope="module")
def scenes() -> Dataset:
    return open_dataset(DATA)


@pytest.fixture
def frames(scenes: Dataset, tmp_path: Path) -> Path:
    """The validation scenes as a folder of pictures: a camera of a few frames."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, sample in enumerate(scenes.samples("val")):
        cv2.imwrite(str(folder / f"{index:03}.png"), cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
    return folder


def miou(predict: Predict, scenes: Dataset) -> float:
    """By its definition, over the classes that are in truth or prediction."""
    classes, ignored = len(scenes.labels), scenes.labels.ignore_index
    both, either = np.zeros(classes), np.zeros(classes)
    for sample in scenes.samples("val"):
        counted = sample.mask != ignored
        truth, found = sample.mask[counted], predict(sample.image)[counted]
        for c in range(classes):
            both[c] += ((truth == c) & (found == c)).sum()
            either[c] += ((truth == c) | (found == c)).sum()
    return float(np.mean(both[either > 0] / either[either > 0]))


def check(edgeseg: Callable[..., str], bundle: Path, predict: Predict, scenes: Dataset, frames: Path) -> None:
    """``evaluate`` and ``run`` give what the model itself gives."""
    images = [sample.image for sample in scenes.samples("val")]
    expected = np.stack([predict(image) for image in images])
    assert len(np.unique(expected)) > 1, "a collapsed model proves nothing"

    scores = json.loads(edgeseg("evaluate", bundle, "--data", DATA, "--json", "--worst", 0))
    assert scores["label_resolution"]["miou"] == pytest.approx(miou(predict, scenes), abs=1e-3)

    masks = bundle.parent / "masks"
    report = json.loads(
        edgeseg("run", bundle, "--source", frames, "--sink", masks, "--every-frame", "--json")
    )
    assert (report["sinks"][0]["written"], report["error"]) == (len(images), None)
    written = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(masks.glob("*.png"))]
    assert (np.stack(written) == expected).mean() >= 0.999


def integer_file(path: Path, scenes: Dataset, classes: int) -> Path:
    """A network of integers throughout, at a quarter of its input's size."""
    keras.utils.set_random_seed(2)
    image = keras.Input((*SIZE, 3), batch_size=1)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x)
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, layers.Conv2D(classes, 1)(x)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [(sample.image / 127.5 - 1).astype(np.float32)[None]] for sample in scenes.samples("train")
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path


def interpreter(path: Path) -> Predict:
    """The bare file: codes in, codes out, the rest in NumPy and OpenCV."""
    bare = Interpreter(str(path))
    bare.allocate_tensors()
    given, made = bare.get_input_details()[0], bare.get_output_details()[0]
    step, zero = given["quantization"]
    assert (given["dtype"], made["dtype"]) == (np.int8, np.int8)

    def predict(image: np.ndarray) -> np.ndarray:
        # What lies in the middle between two codes, as every pixel does at this scale, goes up.
        codes = np.floor((image / 127.5 - 1) / step + 0.503) + zero
        bare.set_tensor(given["index"], np.clip(codes, -128, 127).astype(np.int8)[None])
        bare.invoke()
        scores = bare.get_tensor(made["index"])[0].astype(np.float64)
        return cv2.resize(scores, SIZE[::-1], interpolation=cv2.INTER_LINEAR).argmax(-1)

    return predict


@pytest.mark.heavy
def test_a_quantised_litert_model(edgeseg, scenes: Dataset, frames: Path, tmp_path: Path) -> None:
    file = integer_file(tmp_path / "theirs.tflite", scenes, len(scenes.labels))
    labels = tmp_path / "labels.yaml"
    labels.write_text(f"classes: [{', '.join(scenes.labels.names)}]\n")
    told = edgeseg(
        "bundle", file, "--labels", labels, "--input-scale", "minus1to1",
        "--data", DATA, "--out", "car.edgeseg", "--json",
    )  # fmt: skip
    (model,) = json.loads(told)["models"]
    bundle, predict = tmp_path / "car.edgeseg", interpreter(file)
    assert model["wrapping"]["accuracy"]["miou"] == pytest.approx(miou(predict, scenes), abs=1e-3)
    check(edgeseg, bundle, predict, scenes, frames)

    checks = json.loads(edgeseg("verify", bundle, "--against", file, "--data", DATA, "--json"))["checks"]
    states = {entry["name"]: entry["state"] for entry in checks}
    assert (states["same as bare"], states["accuracy"], states["lineage"]) == ("passed",) * 3
    short = ("--frames", 8, "--rounds", 1, "--warmup", 1, "--cold-starts", 1)
    edgeseg("benchmark", bundle, *short, "--out", "benchmark")
    assert (tmp_path / "benchmark" / "report.html").is_file()


@pytest.fixture(scope="module")
def package() -> Any:
    """segmentation_models as its users have it, on tf.keras."""
    os.environ["SM_FRAMEWORK"] = "tf.keras"
    return pytest.importorskip("segmentation_models", reason="segmentation-models is not installed")


@pytest.mark.large
def test_a_segmentation_models_unet(edgeseg, package, scenes: Dataset, frames: Path, tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    theirs = package.Unet(
        "resnet18", input_shape=(*SIZE, 3), classes=len(scenes.labels), activation="softmax",
        encoder_weights=None, decoder_filters=[8, 6, 4, 4, 4],
    )  # fmt: skip
    rng = np.random.default_rng(1)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.6, 1.4, array.shape) for array in layer.get_weights()])
    theirs.save(tmp_path / "unet.keras")

    def predict(image: np.ndarray) -> np.ndarray:
        return theirs.predict(image[None].astype(np.float32), verbose=0)[0].argmax(-1)

    (tmp_path / "labels.yaml").write_text(f"classes: [{', '.join(scenes.labels.names)}]\n")
    edgeseg(
        "export", "unet.keras", "--labels", "labels.yaml", "--input-scale", "none", "--format", "onnx",
        "--precision", "fp32", "--data", DATA, "--out", "car.edgeseg",
    )  # fmt: skip
    check(edgeseg, tmp_path / "car.edgeseg", predict, scenes, frames)
