"""Foreign ONNX models in bundles: they give what NumPy gives, whatever their types, layouts and sizes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgeseg
import foreign_models
import toys
from edgeseg.bundle import Bundle
from edgeseg.errors import AccuracyGateError, DataError, UnsafeModelError, UsageError
from edgeseg.export.wrapping import onnx_graft
from edgeseg.export.wrapping.bundle import WrapOptions, WrapResult, bundle_model
from edgeseg.export.wrapping.pixels import Pixels
from edgeseg.export.wrapping.read_output import read_output
from edgeseg.export.wrapping.reading import Asked, InputReading
from edgeseg.export.wrapping.tensors import Tensor
from edgeseg.training.data.labels_file import read_labels
from foreign_models import HEIGHT, NAMES, WIDTH, frames, logits, onnx_file, scaled, write_labels


def wrap(
    file: Path, *, names: tuple[str, ...] = NAMES, target: str | None = None, **asked: Any
) -> WrapResult:
    labels = read_labels(write_labels(file.parent, names), "foreign")
    return bundle_model(file, labels, WrapOptions(Asked(**asked), target, out=file.parent))


def masks(result: WrapResult) -> np.ndarray:
    with edgeseg.load(result.path) as segmenter:
        return np.stack([segmenter.predict(frame) for frame in frames()])


def agreement(found: np.ndarray, expected: np.ndarray) -> float:
    assert len(np.unique(expected)) > 1, "one class alone proves nothing"
    return float((found == expected).mean())


@pytest.mark.parametrize("scale", ["none", "0to1", "minus1to1", "imagenet"])
@pytest.mark.parametrize(
    "model",
    [
        {},
        {"layout": "NHWC", "out_layout": "NHWC"},
        {"stride": 4},
        {"stride": 8, "out_layout": "NHWC"},
        {"layout": "NHWC", "stride": 2, "dtype": "float16"},
    ],
    ids=["NCHW", "NHWC", "quarter", "eighth NHWC", "half float16"],
)
def test_scores_of_every_layout_and_size(model: dict[str, Any], scale: str, tmp_path: Path) -> None:
    result = wrap(onnx_file(tmp_path / "theirs.onnx", **model), pixel_scale=scale)
    stride = model.get("stride", 1)
    expected = np.stack([logits(scaled(f, scale), stride).argmax(-1) for f in frames()])
    assert agreement(masks(result), expected) >= 0.999
    assert result.manifest.models[0].wrapping.agreement >= 0.999


def test_blue_first(tmp_path: Path) -> None:
    result = wrap(onnx_file(tmp_path / "theirs.onnx"), pixel_scale="imagenet", channel_order="bgr")
    expected = np.stack([logits(scaled(f, "imagenet")[..., ::-1]).argmax(-1) for f in frames()])
    assert agreement(masks(result), expected) >= 0.999


@pytest.mark.parametrize("stride", [1, 4])
def test_class_ids_and_raw_pixels(stride: int, tmp_path: Path) -> None:
    """uint8 in, int64 ids out: nothing has to be told, and no id is made up between two others."""
    result = wrap(onnx_file(tmp_path / "theirs.onnx", dtype="uint8", gives="ids", stride=stride))
    small = np.stack([(f[::stride, ::stride] @ foreign_models.WEIGHTS.T).argmax(-1) for f in frames()])
    expected = small.repeat(stride, axis=1).repeat(stride, axis=2)
    assert agreement(masks(result), expected) >= 0.999


@pytest.mark.parametrize("out_layout", ["NCHW", "NHWC"])
def test_one_channel_and_a_threshold(out_layout: str, tmp_path: Path) -> None:
    file = onnx_file(tmp_path / "theirs.onnx", gives="one", out_layout=out_layout, stride=2)
    result = wrap(file, names=("rest", "road"), pixel_scale="0to1", threshold=-0.25)
    expected = np.stack([logits(scaled(f, "0to1"), 2)[..., 0] > -0.25 for f in frames()])
    assert agreement(masks(result), expected) >= 0.999


@pytest.mark.parametrize("turned_first", [False, True])
@pytest.mark.parametrize(("dtype", "zero"), [("int8", 0), ("uint8", 128)])
def test_quantised_input(dtype: str, zero: int, turned_first: bool, tmp_path: Path) -> None:
    """At this scale every pixel lies in the middle between two codes."""
    layout = "NHWC" if turned_first else "NCHW"
    file = onnx_file(
        tmp_path / "theirs.onnx",
        dtype=dtype,
        quantised=(1 / 127.5, zero),
        layout=layout,
        turned_first=turned_first,
    )
    result = wrap(file, pixel_scale="minus1to1")
    codes = [np.clip(np.floor(f.astype(float) - 127), -128, 127) / 127.5 for f in frames()]
    assert agreement(masks(result), np.stack([logits(c).argmax(-1) for c in codes])) >= 0.999
    assert (result.manifest.precision, result.manifest.models[0].file) == ("int8", "model.int8.onnx")


def test_open_sizes_are_fixed(tmp_path: Path) -> None:
    file = onnx_file(tmp_path / "theirs.onnx", open_sizes=True)
    with pytest.raises(UsageError, match=r"--size: expected a size that fits .*anyxany, found none"):
        wrap(file, pixel_scale="0to1")
    result = wrap(file, pixel_scale="0to1", size=(HEIGHT, WIDTH))
    expected = np.stack([logits(scaled(f, "0to1")).argmax(-1) for f in frames()])
    assert agreement(masks(result), expected) >= 0.999


def test_an_old_opset_is_raised(tmp_path: Path) -> None:
    result = wrap(onnx_file(tmp_path / "theirs.onnx", opset=10, stride=2), pixel_scale="0to1")
    expected = np.stack([logits(scaled(f, "0to1"), 2).argmax(-1) for f in frames()])
    assert agreement(masks(result), expected) >= 0.999


def test_of_several_outputs_one_is_named_and_the_rest_goes(tmp_path: Path) -> None:
    file = onnx_file(tmp_path / "theirs.onnx")
    foreign_models.add_output(file, "real")
    with pytest.raises(UsageError, match=r"--output-name: expected the one .* scores .* real .*there are 2"):
        wrap(file, pixel_scale="0to1")
    with pytest.raises(UsageError, match="found 'nothing'"):
        wrap(file, pixel_scale="0to1", output_name="nothing")
    result = wrap(file, pixel_scale="0to1", output_name="scores")
    graph = onnx.load(result.path / "model.fp32.onnx").graph
    assert [port.name for port in graph.output] == ["edgeseg_mask"]
    assert result.manifest.models[0].wrapping.output_name == "scores"


def test_the_manifest_claims_no_keras_model(tmp_path: Path) -> None:
    result = wrap(onnx_file(tmp_path / "theirs.onnx"), pixel_scale="imagenet", target="x86")
    model = Bundle.open(result.path).manifest.models[0]
    assert (model.parity, model.measured, model.wrapping.accuracy) == (None, None, None)
    assert model.wrapping.file == "theirs.onnx"
    assert "parity" not in (result.path / "manifest.json").read_text()
    assert any("no accuracy was measured" in note for note in result.notes)


def test_what_was_wrapped_is_not_wrapped_again(tmp_path: Path) -> None:
    result = wrap(onnx_file(tmp_path / "theirs.onnx"), pixel_scale="0to1")
    again = tmp_path / "again.onnx"
    again.write_bytes((result.path / result.manifest.models[0].file).read_bytes())
    with pytest.raises(UsageError, match=r"again\.onnx: .*wrapped before"):
        wrap(again, pixel_scale="none")


def test_for_a_jetson_an_engine_is_still_to_be_built(tmp_path: Path) -> None:
    result = wrap(onnx_file(tmp_path / "theirs.onnx", stride=4), pixel_scale="imagenet", target="jetson")
    assert result.manifest.build.state == "engine-not-built"
    assert result.manifest.runtime.names == ("tensorrt", "onnx")


def test_a_wrong_graft_leaves_no_bundle(monkeypatch, tmp_path: Path) -> None:
    """Colours swapped on the way in, as a wrong order would: only the comparison can find it."""
    file = onnx_file(tmp_path / "theirs.onnx")
    real = onnx_graft._make_input

    def swapped(chain, frame, read):
        turned = chain.add("Gather", frame, chain.constant(np.array([2, 1, 0])), axis=3)
        real(chain, turned, read)

    monkeypatch.setattr(onnx_graft, "_make_input", swapped)
    with pytest.raises(AccuracyGateError, match="that the bare one gives, found") as caught:
        wrap(file, pixel_scale="imagenet")
    assert caught.value.exit_code == 5
    assert not list(tmp_path.glob("*.edgeseg"))


@pytest.mark.parametrize(
    ("model", "asked", "error", "message"),
    [
        ({}, {}, UsageError, "--pixel-scale: .*one of none, 0to1.*float32 pixels"),
        ({}, {"pixel_scale": "bgr"}, UsageError, "--pixel-scale: .*found bgr"),
        ({"dtype": "uint8"}, {"pixel_scale": "imagenet"}, UsageError, "one of none, found imagenet"),
        ({"dtype": "int8"}, {"pixel_scale": "none"}, UsageError, "int8 input with scale and zero point"),
        ({}, {"pixel_scale": "0to1", "channel_order": "gbr"}, UsageError, "rgb or bgr, found 'gbr'"),
        ({}, {"pixel_scale": "0to1", "size": (16, 16)}, UsageError, "--size: .*32x48, found 16x16"),
        ({}, {"pixel_scale": "0to1", "threshold": 0.5}, UsageError, "--threshold: expected none"),
        (
            {"dtype": "uint8", "quantised": (1 / 255, 0)},
            {"pixel_scale": "minus1to1"},
            UsageError,
            "uint8 codes of 0 to 1, found pixels that become -1 to 1",
        ),
    ],
)
def test_what_could_be_misread_is_refused(model, asked, error, message, tmp_path: Path) -> None:
    with pytest.raises(error, match=message):
        wrap(onnx_file(tmp_path / "theirs.onnx", **model), **asked)
    assert not list(tmp_path.glob("*.edgeseg"))


def test_a_shape_that_can_be_read_both_ways(tmp_path: Path) -> None:
    """As many classes as rows and columns: the file cannot say which of them is which."""
    shape = (1, len(NAMES), len(NAMES), len(NAMES))
    given = InputReading(Tensor("i", "uint8", ()), "NHWC", 32, 32, Pixels("none", "uint8", None), "rgb")
    labels = read_labels(write_labels(tmp_path), "foreign")

    def layout(asked: Asked) -> str:
        return read_output(Path("theirs.onnx"), Tensor("o", "float32", shape), given, asked, labels).layout

    with pytest.raises(UsageError, match=r"--output-layout: expected NHWC or NCHW, for o float32"):
        layout(Asked())
    with pytest.raises(UsageError, match=r"--output-layout: .*found 'NWHC'"):
        layout(Asked(output_layout="NWHC"))
    assert (layout(Asked(output_layout="NCHW")), layout(Asked(output_layout="NHWC"))) == ("NCHW", "NHWC")


def test_labels_that_are_not_the_models(tmp_path: Path) -> None:
    file = onnx_file(tmp_path / "theirs.onnx")
    with pytest.raises(DataError, match=r"expected 4 classes, as many as .*found 3: road, car, sky"):
        wrap(file, names=NAMES[:3], pixel_scale="0to1")
    ids = onnx_file(tmp_path / "ids.onnx", gives="ids")
    with pytest.raises(DataError, match=r"a class for every id .* 0 to 1, found [23] among"):
        wrap(ids, names=NAMES[:2], pixel_scale="0to1")
    one = onnx_file(tmp_path / "one.onnx", gives="one")
    with pytest.raises(UsageError, match=r"--threshold: expected the value .*0.5 for a probability"):
        wrap(one, names=NAMES[:2], pixel_scale="0to1")


def changed(path: Path, change) -> Path:
    model = onnx.load(onnx_file(path))
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    return path


def test_graphs_that_are_no_segmentation(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def two_inputs(graph):
        graph.input.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, [1]))

    def cropped(graph):
        graph.node[-1].attribute.append(helper.make_attribute("pads", [0, 0, 0, 16]))

    def flat(graph):
        graph.node.append(helper.make_node("Squeeze", ["scores"], ["flat"]))
        graph.output[0].name = "flat"

    def batch(graph):
        graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4

    for change, message in (
        (two_inputs, "expected one input, an image, found 2"),
        (cropped, "in the proportions of the input, 32x48, found scores"),
        (flat, r"an output \[1, H, W\]"),
        (batch, r"an input \[1, H, W, 3\] or .*found data float32 \[4, 3, 32, 48\]"),
    ):
        with pytest.raises(UsageError, match=message):
            wrap(changed(tmp_path / f"{change.__name__}.onnx", change), pixel_scale="0to1")


def test_files_that_need_more_than_themselves(tmp_path: Path) -> None:
    def outside(graph):
        tensor = graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")

    with pytest.raises(UnsafeModelError, match="data is in another file"):
        wrap(changed(tmp_path / "outside.onnx", outside), pixel_scale="0to1")
    (tmp_path / "custom.onnx").write_bytes(toys.onnx_model(32, 64, domain="mystery"))
    with pytest.raises(UnsafeModelError, match="mystery"):
        wrap(tmp_path / "custom.onnx", names=NAMES[:3])


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "noise.onnx").write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"noise\.onnx: expected a model that ONNX Runtime can load"):
        wrap(tmp_path / "noise.onnx", pixel_scale="0to1")
    with pytest.raises(UsageError, match=r"expected a model file, \.tflite or \.onnx, found nothing there"):
        wrap(tmp_path / "absent.onnx", pixel_scale="0to1")
    with pytest.raises(UsageError, match="--target arm: expected a target that runs onnx files"):
        wrap(onnx_file(tmp_path / "theirs.onnx"), pixel_scale="0to1", target="arm")
