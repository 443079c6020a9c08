from __future__ import annotations

import gc
from collections import Counter

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgeseg.export.to_onnx import OPSET, convert_onnx, to_half


def run(graph: onnx.ModelProto, frames: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    made = [session.run(names, {"image": frame[None]}) for frame in frames]
    return {name: np.concatenate(arrays) for name, arrays in zip(names, zip(*made, strict=True), strict=True)}


def operators(graph: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph.node)


@pytest.fixture(scope="module")
def graph(model) -> onnx.ModelProto:
    return convert_onnx(model, "mask")


def test_converting_leaves_no_copies_of_the_graph(model) -> None:
    """tf2onnx makes one for each step of its optimiser, which only a collection frees."""
    from tf2onnx.graph import Graph

    gc.collect()
    gc.disable()
    try:
        convert_onnx(model, "mask")
        left = sum(isinstance(thing, Graph) for thing in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 3


def test_fp32_gives_keras_masks(graph, frames, expected) -> None:
    masks = run(graph, frames)["mask"]
    assert masks.dtype == np.uint8
    assert np.mean(masks == expected) >= 0.999


def test_fp16_gives_nearly_keras_masks_in_float16(graph, frames, expected) -> None:
    half = to_half(graph)
    assert np.mean(run(half, frames)["mask"] == expected) >= 0.995
    kinds = {w.data_type for w in half.graph.initializer if w.dims}
    assert TensorProto.FLOAT not in kinds
    assert half.ByteSize() < 0.75 * graph.ByteSize()
    assert any(w.data_type == TensorProto.FLOAT for w in graph.graph.initializer), "the original was changed"


def test_fp16_with_operations_that_stay_in_fp32_is_in_order(frames) -> None:
    image = keras.Input((64, 96, 3), dtype="uint8")
    x = keras.layers.Conv2D(5, 1)(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.ops.log(keras.ops.maximum(keras.ops.softmax(x), 1e-3)))
    half = to_half(convert_onnx(model, "mask"))
    assert "Max" in operators(half)
    expected = model.predict(frames[:2], verbose=0).argmax(-1)
    assert np.mean(run(half, frames[:2])["mask"] == expected) >= 0.99


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize(
    ("output", "names", "kind", "shape"),
    [
        ("mask", ["mask"], TensorProto.UINT8, [1, 64, 96]),
        ("logits", ["logits"], TensorProto.FLOAT, [1, 64, 96, 8]),
        ("mask+confidence", ["mask", "confidence"], TensorProto.UINT8, [1, 64, 96]),
    ],
)
def test_the_graph_keeps_the_contract(model, output, names, kind, shape, half) -> None:
    made = convert_onnx(model, output)
    made = to_half(made) if half else made
    (given,) = made.graph.input
    assert (given.name, given.type.tensor_type.elem_type) == ("image", TensorProto.UINT8)
    assert [d.dim_value for d in given.type.tensor_type.shape.dim] == [1, 64, 96, 3]
    assert [o.name for o in made.graph.output] == names
    for out in made.graph.output:
        assert out.type.tensor_type.elem_type == kind
        assert [d.dim_value for d in out.type.tensor_type.shape.dim] == shape
    assert {node.domain for node in made.graph.node} <= {"", "ai.onnx"}
    assert next(o.version for o in made.opset_import if o.domain == "") == OPSET
    assert not any(w.external_data for w in made.graph.initializer)


def test_confidence_is_the_probability_of_the_class_given(model, frames) -> None:
    made = run(convert_onnx(model, "mask+confidence"), frames[:6])
    logits = model.predict(frames[:6], verbose=0)
    probability = np.exp(logits - logits.max(-1, keepdims=True))
    top = (probability / probability.sum(-1, keepdims=True)).max(-1)
    assert np.abs(made["confidence"].astype(int) - 255 * top).max() <= 1


def test_dilated_convolutions_stay_dilated(graph) -> None:
    rates = [
        list(helper.get_attribute_value(a))
        for node in graph.graph.node
        for a in node.attribute
        if node.op_type == "Conv" and a.name == "dilations"
    ]
    assert [2, 2] in rates
    assert not {"SpaceToDepth", "DepthToSpace", "Pad"} & set(operators(graph))


def test_the_only_transpose_is_that_of_the_frame(graph) -> None:
    assert operators(graph)["Transpose"] == 1
    assert operators(graph)["BatchNormalization"] == 0


def test_uint8_is_made_from_float_as_tensorrt_needs(graph) -> None:
    kinds = {v.name: v.type.tensor_type.elem_type for v in graph.graph.value_info}
    last = graph.graph.node[-1]
    assert (last.op_type, kinds[last.input[0]]) == ("Cast", TensorProto.FLOAT)


def _resizing(small: keras.layers.Layer) -> keras.Model:
    image = keras.Input((24, 24, 3), dtype="uint8")
    x = small(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Resizing(24, 24, interpolation="nearest")(x)
    return keras.Model(image, keras.layers.Conv2D(5, 1)(x))


@pytest.mark.parametrize(
    ("small", "rule"),
    [
        (keras.layers.Conv2D(8, 3, 2, padding="same"), b"asymmetric"),  # 12 to 24: twice
        (keras.layers.Conv2D(8, 9), b"tf_half_pixel_for_nn"),  # 16 to 24: one and a half times
    ],
    ids=["whole factor", "broken factor"],
)
def test_nearest_resize_is_spelt_for_tensorrt_where_that_changes_nothing(frames, small, rule) -> None:
    model = _resizing(small)
    some = frames[:4, :24, :24]
    graph = convert_onnx(model, "mask")
    rules = [
        helper.get_attribute_value(a)
        for node in graph.graph.node
        for a in node.attribute
        if a.name == "coordinate_transformation_mode"
    ]
    assert rules == [rule]
    assert np.mean(run(graph, some)["mask"] == model.predict(some, verbose=0).argmax(-1)) == 1


def test_nothing_reaches_the_terminal(model, capfd) -> None:
    to_half(convert_onnx(model, "mask"))
    assert capfd.readouterr() == ("", "")
