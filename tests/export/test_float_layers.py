"""What stays in float in a quantised ONNX graph has to compute in float in ONNX Runtime too."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from keras import layers
from onnx import TensorProto, helper, numpy_helper

from edgeseg.export import quantise
from edgeseg.export.float_layers import guard_float_layers
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.quantise import RECIPES, OnnxQuantiser
from edgeseg.export.to_onnx import convert_onnx

SIZE = 16


def small_model(kind: str, *, bias: bool) -> keras.Model:
    keras.utils.set_random_seed(4)
    middle = {
        "Conv": lambda: layers.Conv2D(6, 1, use_bias=bias, name="middle"),
        "depthwise Conv": lambda: layers.DepthwiseConv2D(3, padding="same", use_bias=bias, name="middle"),
        "ConvTranspose": lambda: layers.Conv2DTranspose(6, 2, 2, use_bias=bias, name="middle"),
    }[kind]()
    image = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="image")
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same")(layers.Rescaling(1 / 255)(image)))
    x = layers.Conv2D(4, 1, name="logits")(layers.ReLU()(middle(x)))
    return keras.Model(image, layers.Resizing(SIZE, SIZE)(x))


def matrix_model(kind: str) -> onnx.ModelProto:
    """A product of matrices between two others, as a Gemm or with an addition."""
    rng = np.random.default_rng(2)
    weights = {
        "first": rng.normal(size=(3, 8)),
        "middle": rng.normal(size=(6, 8) if kind == "Gemm transB" else (8, 6)),
        "bias": rng.normal(size=6),
        "last": rng.normal(size=(6, 4)),
        "scale": np.array(1 / 255),
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    constants.append(numpy_helper.from_array(np.array([SIZE * SIZE, 3]), "rows"))
    make = helper.make_node
    middle = {
        "Gemm": [make("Gemm", ["b", "middle", "bias"], ["c"], name="layer")],
        "Gemm transB": [make("Gemm", ["b", "middle"], ["c"], name="layer", transB=1)],
        "MatMul and Add": [
            make("MatMul", ["b", "middle"], ["m"], name="layer"),
            make("Add", ["bias", "m"], ["c"], name="addition"),
        ],
    }[kind]
    nodes = [
        make("Reshape", ["image", "rows"], ["flat"], name="flatten"),
        make("Cast", ["flat"], ["cast"], name="cast", to=TensorProto.FLOAT),
        make("Mul", ["cast", "scale"], ["a"], name="scaling"),
        make("MatMul", ["a", "first"], ["b"], name="before"),
        *middle,
        make("MatMul", ["c", "last"], ["logits"], name="after"),
    ]
    given = helper.make_tensor_value_info("image", TensorProto.UINT8, [1, SIZE, SIZE, 3])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [SIZE * SIZE, 4])
    graph = helper.make_graph(nodes, "matrices", [given], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def middle_of(graph: onnx.ModelProto) -> onnx.NodeProto:
    _, middle, _ = [node for node in graph.graph.node if node.op_type in ("Conv", "ConvTranspose")]
    return middle


def optimised(model: bytes, path: Path) -> onnx.ModelProto:
    """What ONNX Runtime runs in place of a graph, but for its own kinds of nodes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


def run(model: bytes, frames: np.ndarray, level: str) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["logits"], {"image": frame[None]})[0] for frame in frames])


def rounds_weights(data: bytes, path: Path) -> bool:
    """Whether any layer that had float weights gets them from a ``DequantizeLinear``."""
    ran = optimised(data, path)
    return any(name.endswith(("_weight_q", "_weight_scale")) for name in names_of(ran))


def names_of(model: onnx.ModelProto) -> set[str]:
    return {tensor.name for tensor in model.graph.initializer}


def graph_of(kind: str, *, bias: bool) -> tuple[onnx.ModelProto, str]:
    if kind.startswith(("Gemm", "MatMul")):
        return matrix_model(kind), "layer"
    graph = convert_onnx(small_model(kind, bias=bias), "logits")
    return graph, middle_of(graph).name


@pytest.mark.parametrize(
    ("kind", "bias"),
    [
        *((kind, bias) for kind in ("Conv", "depthwise Conv", "ConvTranspose") for bias in (True, False)),
        *((kind, True) for kind in ("Gemm", "Gemm transB", "MatMul and Add")),
    ],
)
def test_onnx_runtime_does_not_round_what_stays_in_float(kind, bias, tmp_path, monkeypatch) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)
    graph, layer = graph_of(kind, bias=bias)
    quantiser = OnnxQuantiser(graph, RECIPES["onnxruntime"], frames)
    settings = Int8Settings(float_layers=frozenset([layer]))
    guarded = quantiser.quantise(settings).data
    assert not rounds_weights(guarded, tmp_path / "guarded.onnx")
    made = [run(guarded, frames, level) for level in ("ORT_ENABLE_ALL", "ORT_DISABLE_ALL")]
    assert np.abs(made[0] - made[1]).mean() < 0.02 * np.abs(made[1]).mean()

    monkeypatch.setattr(quantise, "guard_float_layers", lambda model, float_layers: None)
    unguarded = quantiser.quantise(settings).data
    assert rounds_weights(unguarded, tmp_path / "unguarded.onnx"), "it rounds no more: the guard may go"


def test_for_tensorrt_nothing_is_guarded() -> None:
    """Its parser refuses int32 biases."""
    frames = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    graph, layer = graph_of("Conv", bias=True)
    settings = Int8Settings(float_layers=frozenset([layer]))
    made = onnx.load_from_string(OnnxQuantiser(graph, RECIPES["tensorrt"], frames).quantise(settings).data)
    assert TensorProto.INT32 not in {tensor.data_type for tensor in made.graph.initializer}


def test_a_bias_stays_exactly_what_it_was_and_its_constant_goes_with_its_last_reader() -> None:
    model = small_model("Conv", bias=True)
    values = np.float32([1e5, -3, 1e-3, 0, 3e-7, -1e-30])
    middle = model.get_layer("middle")
    middle.set_weights([middle.get_weights()[0], values])
    graph = convert_onnx(model, "logits")
    node = middle_of(graph)
    constant = node.input[2]
    second = graph.graph.node.add()
    second.CopyFrom(node)
    second.name, second.output[0] = "second", "unused"
    both = onnx.ModelProto()
    both.CopyFrom(graph)
    guard_float_layers(graph, {node.name})
    assert constant in names_of(graph), "the second reads it still"
    guard_float_layers(graph, {"second"})
    assert constant not in names_of(graph)
    guard_float_layers(both, {node.name, "second"})
    assert names_of(both) == names_of(graph)
    assert {name for one in both.graph.node for name in one.input} >= {
        "second_bias_float",
        f"{node.name}_bias_float",
    }
    onnx.checker.check_model(graph, full_check=True)
    made = f"{node.name}_bias_float"
    graph.graph.output.append(helper.make_tensor_value_info(made, TensorProto.FLOAT, [6]))
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    image = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    np.testing.assert_array_equal(session.run(None, {"image": image})[-1], values)


def test_a_constant_that_a_graph_inside_reads_stays() -> None:
    graph = matrix_model("Gemm")
    branches = [
        helper.make_graph(
            [helper.make_node("Identity", ["bias"], [f"{name}_out"])],
            name,
            [],
            [helper.make_tensor_value_info(f"{name}_out", TensorProto.FLOAT, [6])],
        )
        for name in ("yes", "no")
    ]
    graph.graph.initializer.append(numpy_helper.from_array(np.array(True), "which"))
    graph.graph.node.append(
        helper.make_node("If", ["which"], ["bias_again"], then_branch=branches[0], else_branch=branches[1])
    )
    guard_float_layers(graph, {"layer"})
    assert "bias" in names_of(graph)
    assert "layer_bias_sign" in names_of(graph)


def test_other_layers_are_left_alone() -> None:
    graph = convert_onnx(small_model("Conv", bias=True), "logits")
    before = graph.SerializeToString()
    guard_float_layers(graph, set())
    assert graph.SerializeToString() == before
