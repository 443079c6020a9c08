"""Foreign LiteRT models in bundles: they give what the bare interpreter and NumPy give."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

import edgeseg
import toys
from edgeseg.errors import AccuracyGateError, DataError, UnsafeModelError, UsageError
from edgeseg.export.wrapping import litert_graft
from edgeseg.export.wrapping.bundle import WrapOptions, WrapResult, bundle_model
from edgeseg.export.wrapping.litert_chain import read_tables
from edgeseg.export.wrapping.reading import Asked
from edgeseg.training.data.labels_file import read_labels
from foreign_litert import convert, convolution, int8
from foreign_models import HEIGHT, NAMES, WEIGHTS, WIDTH, frames, logits, scaled, write_labels

Image = np.ndarray


def wrap(file: Path, *, names: tuple[str, ...] = NAMES, **asked: Any) -> WrapResult:
    labels = read_labels(write_labels(file.parent, names), "foreign")
    return bundle_model(file, labels, WrapOptions(Asked(**asked), out=file.parent))


def masks(result: WrapResult, images: Image) -> Image:
    with edgeseg.load(result.path) as segmenter:
        return np.stack([segmenter.predict(image) for image in images])


def agreement(found: Image, expected: Image) -> float:
    assert len(np.unique(expected)) > 1, "one class alone proves nothing"
    return float((found == expected).mean())


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_what_was_wrapped_is_not_wrapped_again(tmp_path: Path) -> None:
    file = written(tmp_path / "theirs.tflite", int8(tf.int8, 1))
    result = wrap(file, pixel_scale="minus1to1")
    again = written(tmp_path / "again.tflite", (result.path / result.manifest.models[0].file).read_bytes())
    with pytest.raises(UsageError, match=r"again\.tflite: .*wrapped before"):
        wrap(again, pixel_scale="none")


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("stride", [1, 4])
def test_full_integer_models(kind: str, stride: int, tmp_path: Path) -> None:
    """Beside the bare interpreter: codes in by the file's own scale, codes out enlarged by OpenCV."""
    file = written(tmp_path / "theirs.tflite", int8(tf.as_dtype(kind), stride))
    bare = Interpreter(str(file))
    bare.allocate_tensors()
    given, made = bare.get_input_details()[0], bare.get_output_details()[0]
    step, zero = given["quantization"]
    expected = []
    for frame in frames():
        codes = np.floor(scaled(frame, "minus1to1") / step + 0.5 + 0.003) + zero
        limits = np.iinfo(kind)
        bare.set_tensor(given["index"], np.clip(codes, limits.min, limits.max).astype(kind)[None])
        bare.invoke()
        small = bare.get_tensor(made["index"])[0].astype(np.float64)
        expected.append(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR).argmax(-1))
    result = wrap(file, pixel_scale="minus1to1")
    assert agreement(masks(result, frames()), np.stack(expected)) >= 0.999
    assert result.manifest.precision == "int8"


def first(function: Callable[[tf.Tensor], tf.Tensor]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A model of channels first, outside and in."""
    return lambda image: tf.transpose(function(tf.transpose(image, [0, 2, 3, 1])), [0, 3, 1, 2])


@pytest.mark.parametrize("stride", [1, 8])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_float_scores(stride: int, order: str, layout: str, tmp_path: Path) -> None:
    shape = (1, HEIGHT, WIDTH, 3) if layout == "NHWC" else (1, 3, HEIGHT, WIDTH)
    model = convolution(stride) if layout == "NHWC" else first(convolution(stride))
    file = written(tmp_path / "theirs.tflite", convert(model, shape))
    result = wrap(file, pixel_scale="imagenet", channel_order=order)
    step = -1 if order == "bgr" else 1
    expected = [logits(scaled(f, "imagenet")[..., ::step], stride).argmax(-1) for f in frames()]
    assert agreement(masks(result, frames()), np.stack(expected)) >= 0.999


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "float32"])
def test_class_ids(kind: str, tmp_path: Path) -> None:
    file = written(
        tmp_path / "theirs.tflite",
        convert(
            lambda image: tf.cast(tf.math.argmax(convolution(2)(image), -1), kind), (1, HEIGHT, WIDTH, 3)
        ),
    )
    result = wrap(file, pixel_scale="0to1")
    small = np.stack([(f[::2, ::2] @ WEIGHTS.T).argmax(-1) for f in frames()])
    expected = small.repeat(2, axis=1).repeat(2, axis=2)
    assert agreement(masks(result, frames()), expected) >= 0.999


def test_one_channel_and_a_threshold(tmp_path: Path) -> None:
    model = convert(lambda image: tf.sigmoid(convolution(2, 1)(image)), (1, HEIGHT, WIDTH, 3))
    file = written(tmp_path / "theirs.tflite", model)
    result = wrap(file, names=("rest", "road"), pixel_scale="0to1", threshold=0.4)
    small = [1 / (1 + np.exp(-(scaled(f, "0to1")[::2, ::2] @ WEIGHTS[0].astype(float)))) for f in frames()]
    expected = [cv2.resize(p, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) > 0.4 for p in small]
    assert agreement(masks(result, frames()), np.stack(expected)) >= 0.999


def test_open_sizes_are_fixed(tmp_path: Path) -> None:
    file = written(tmp_path / "theirs.tflite", convert(convolution(2), (None, None, None, 3)))
    with pytest.raises(UsageError, match=r"--size: .*anyxany, found none"):
        wrap(file, pixel_scale="0to1")
    result = wrap(file, pixel_scale="0to1", size=(HEIGHT, WIDTH))
    expected = [logits(scaled(f, "0to1"), 2).argmax(-1) for f in frames()]
    assert agreement(masks(result, frames()), np.stack(expected)) >= 0.999


def operations(file: Path) -> set[int]:
    tables = read_tables(file.read_bytes())
    return {tables.operatorCodes[op.opcodeIndex].builtinCode for op in tables.subgraphs[0].operators}


def test_of_several_outputs_one_is_named_and_the_rest_goes(tmp_path: Path) -> None:
    model = convolution()
    file = written(
        tmp_path / "theirs.tflite",
        convert(lambda image: {"depth": tf.exp(image), "seg": model(image)}, (1, HEIGHT, WIDTH, 3)),
    )
    with pytest.raises(UsageError, match=r"--output-name: expected the one .*there are 2"):
        wrap(file, pixel_scale="0to1")
    result = wrap(file, pixel_scale="0to1", output_name="Identity_1")
    expected = [logits(scaled(f, "0to1")).argmax(-1) for f in frames()]
    assert agreement(masks(result, frames()), np.stack(expected)) >= 0.999
    assert len(read_tables((result.path / "model.fp32.tflite").read_bytes()).subgraphs[0].outputs) == 1
    assert schema.BuiltinOperator.EXP in operations(file)
    assert schema.BuiltinOperator.EXP not in operations(result.path / "model.fp32.tflite")


def test_a_wrong_graft_leaves_no_bundle(monkeypatch, tmp_path: Path) -> None:
    """Colours swapped on the way in, as a wrong order would: only the comparison can find it."""
    monkeypatch.setattr(litert_graft, "_BGR", [0, 1, 2])
    file = written(tmp_path / "theirs.tflite", convert(convolution(), (1, HEIGHT, WIDTH, 3)))
    with pytest.raises(AccuracyGateError, match="that the bare one gives, found"):
        wrap(file, pixel_scale="imagenet", channel_order="bgr")
    assert not list(tmp_path.glob("*.edgeseg"))


def test_weights_lie_where_kernels_can_load_them(tmp_path: Path) -> None:
    result = wrap(
        written(tmp_path / "theirs.tflite", convert(convolution(), (1, HEIGHT, WIDTH, 3))), pixel_scale="0to1"
    )
    data = (result.path / "model.fp32.tflite").read_bytes()
    model = schema.Model.GetRootAs(data, 0)
    filled = [b for b in map(model.Buffers, range(model.BuffersLength())) if b.DataLength()]
    assert filled
    assert not any(buffer._tab.Vector(buffer._tab.Offset(4)) % 16 for buffer in filled)


def test_a_model_that_keeps_the_contract_already(tmp_path: Path) -> None:
    file = written(tmp_path / "toy.tflite", toys.tflite_model(32, 64))
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3)).astype(np.uint8)
    assert agreement(masks(wrap(file, names=NAMES[:3]), images), images.argmax(-1)) >= 0.999


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    custom = written(tmp_path / "custom.tflite", toys.tflite_model(32, 64, custom="Mystery"))
    with pytest.raises(UnsafeModelError, match="custom operation 'Mystery'"):
        wrap(custom, names=NAMES[:3])
    with pytest.raises(DataError, match=r"noise\.tflite: expected a model that LiteRT can load"):
        wrap(written(tmp_path / "noise.tflite", b"not a model, and longer than eight bytes"))
