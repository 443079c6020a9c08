"""Operations and bytes of model files against counts made by hand, and the Keras model's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import toys
from edgeseg.benchmarks.graph_costs import FORMATS, GraphCost
from edgeseg.benchmarks.graph_costs.base import einsum_macs
from edgeseg.errors import BundleError

Shape = tuple[int, ...]

# Kind, shapes of image and kernel, shape of the output, attributes, and the multiply-accumulates by hand.
ONNX_CASES = [
    ("Conv", (1, 3, 8, 6), (4, 3, 3, 3), (1, 4, 8, 6), {"pads": [1, 1, 1, 1]}, 8 * 6 * 4 * 27),
    ("Conv", (1, 3, 8, 6), (4, 3, 3, 3), (1, 4, 3, 2), {"strides": [2, 2]}, 3 * 2 * 4 * 27),
    ("Conv", (1, 6, 8, 6), (4, 3, 1, 1), (1, 4, 8, 6), {"group": 2}, 8 * 6 * 4 * 3),
    ("Conv", (1, 5, 8, 6), (5, 1, 3, 3), (1, 5, 8, 6), {"group": 5, "pads": [1, 1, 1, 1]}, 8 * 6 * 5 * 9),
    ("ConvTranspose", (1, 5, 8, 6), (5, 4, 2, 2), (1, 4, 16, 12), {"strides": [2, 2]}, 8 * 6 * 5 * 16),
    ("MatMul", (1, 8, 6, 5), (5, 7), (1, 8, 6, 7), {}, 8 * 6 * 5 * 7),
    ("Gemm", (5, 9), (5, 7), (9, 7), {"transA": 1}, 9 * 5 * 7),
    ("Einsum", (2, 9, 5), (2, 8, 5), (2, 9, 8), {"equation": "bqc,bkc->bqk"}, 2 * 9 * 8 * 5),
]


@pytest.mark.parametrize(("kind", "image", "kernel", "output", "attributes", "macs"), ONNX_CASES)
def test_an_onnx_layer_counts_as_by_hand(
    kind: str, image: Shape, kernel: Shape, output: Shape, attributes: dict[str, Any], macs: int
) -> None:
    nodes = [helper.make_node(kind, ["x", "w"], ["y"], **attributes)]
    cost = FORMATS["onnx"]("m.onnx", onnx_file(nodes, image, kernel, output))
    assert (cost.macs, cost.integer_macs) == (macs, 0)
    values = int(np.prod(image) + np.prod(kernel) + np.prod(output))
    assert (cost.bytes, cost.half_bytes) == (4 * values, 2 * values)


@pytest.mark.parametrize(("kind", "image", "kernel", "output", "attributes", "macs"), ONNX_CASES[:5])
def test_an_openvino_layer_counts_as_the_onnx_one(
    kind: str, image: Shape, kernel: Shape, output: Shape, attributes: dict[str, Any], macs: int
) -> None:
    pytest.importorskip("openvino")
    from edgeseg.export.to_openvino import convert_openvino

    nodes = [helper.make_node(kind, ["x", "w"], ["y"], **attributes)]
    model = onnx.load_from_string(onnx_file(nodes, image, kernel, output))
    cost = FORMATS["openvino"]("m.xml", convert_openvino(model, "fp32").data)
    assert cost.macs == macs
    assert cost.bytes == 4 * int(np.prod(image) + np.prod(kernel) + np.prod(output))


def test_a_quantised_onnx_layer_moves_bytes() -> None:
    """Dequantise, convolve, ReLU, quantise: a runtime makes one layer of 8 bits of it."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "scale", "zero"], ["xf"]),
        helper.make_node("DequantizeLinear", ["w8", "scale", "zero"], ["wf"]),
        helper.make_node("Conv", ["xf", "wf"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("QuantizeLinear", ["r", "scale", "zero"], ["y"]),
    ]
    cost = FORMATS["onnx"](
        "m.onnx", onnx_file(nodes, (1, 3, 8, 6), (4, 3, 3, 3), (1, 4, 8, 6), quantised=True)
    )
    assert cost.macs == cost.integer_macs == 8 * 6 * 4 * 27
    assert cost.bytes == cost.half_bytes == 3 * 48 + 4 * 27 + 4 * 48

    # Where something else reads the convolution too, it is written in float as well.
    nodes.append(helper.make_node("Identity", ["c"], ["other"]))
    read_twice = onnx_file(nodes, (1, 3, 8, 6), (4, 3, 3, 3), (1, 4, 8, 6), quantised=True)
    assert FORMATS["onnx"]("m.onnx", read_twice).bytes == 3 * 48 + 4 * 27 + 4 * 4 * 48


def test_shapes_that_the_file_lacks_are_inferred() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["positive"]),
        helper.make_node("Conv", ["positive", "w"], ["inner"]),
        helper.make_node("Relu", ["inner"], ["y"]),
    ]
    data = onnx_file(nodes, (1, 3, 8, 6), (4, 3, 3, 3), (1, 4, 6, 4))
    assert FORMATS["onnx"]("m.onnx", data).macs == 6 * 4 * 4 * 27


@pytest.mark.parametrize(("integer", "width"), [(False, 4), (True, 1)])
def test_litert_layers_count_as_by_hand(integer: bool, width: int) -> None:
    cost = FORMATS["tflite"]("m.tflite", litert_file(integer))
    by_kind = {layer.kind: layer for layer in cost.layers}
    assert {kind: layer.macs for kind, layer in by_kind.items()} == {
        "CONV_2D": 8 * 6 * 4 * 27,
        "DEPTHWISE_CONV_2D": 8 * 6 * 4 * 9,
        "TRANSPOSE_CONV": 8 * 6 * 4 * 4 * 5,
        "FULLY_CONNECTED": 16 * 12 * 5 * 7,
        "BATCH_MATMUL": 7 * 7 * 192,
    }
    assert by_kind["CONV_2D"].bytes == width * (8 * 6 * 3 + 4 * 27 + 8 * 6 * 4)
    assert by_kind["TRANSPOSE_CONV"].bytes == width * (8 * 6 * 4 + 5 * 4 * 4 + 16 * 12 * 5)
    assert cost.integer_macs == (cost.macs if integer else 0)


@pytest.mark.parametrize(
    ("equation", "shapes", "macs"),
    [
        ("ij,jk->ik", [(2, 3), (3, 5)], 30),
        ("...c,cd->...d", [(4, 6, 5), (5, 7)], 4 * 6 * 5 * 7),
        ("b...c, ...cd -> b...d", [(2, 1, 5), (3, 5, 7)], 2 * 3 * 5 * 7),
    ],
)
def test_einsum_by_hand(equation: str, shapes: list[Shape], macs: int) -> None:
    assert einsum_macs(equation, shapes) == macs


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("data", [b"", b"nothing of the kind", b"\x00" * 64])
def test_a_file_that_is_none_is_named(kind: str, data: bytes) -> None:
    with pytest.raises(BundleError, match="broken"):
        FORMATS[kind]("broken", data)


def test_an_openvino_graph_that_declares_entities_is_refused() -> None:
    graph, _ = toys.openvino_model(32, 64)
    head, _, rest = graph.partition("?>")
    with pytest.raises(BundleError, match="document type"):
        FORMATS["openvino"]("m.xml", f'{head}?><!DOCTYPE net [<!ENTITY a "b">]>{rest}'.encode())


@pytest.mark.heavy
def test_every_format_of_a_keras_model_counts_as_keras_does() -> None:
    """Layer by layer by hand, in LiteRT, ONNX and OpenVINO, in float and in 8 bits."""
    keras = pytest.importorskip("keras")
    pytest.importorskip("tf2onnx")
    pytest.importorskip("nncf")
    from edgeseg.training.models.cost import macs

    model = keras_model(keras)
    full, half = 32 * 48, 16 * 24
    by_hand = sorted(
        [
            half * 8 * 27,  # convolution, stride 2
            half * 8 * 9,  # depthwise
            half * 8 * 6,  # 1×1
            half * 6 * 5 * 9,  # dilated
            half * 5 * 4 * 4,  # transposed, kernel 2
            full * 4 * 3,  # 1×1 to the classes
        ]
    )
    assert macs(model) == sum(by_hand)
    for name, cost in costs_of(model).items():
        assert sorted(layer.macs for layer in cost.layers) == by_hand, name
        assert cost.integer_macs == (cost.macs if name.endswith("int8") else 0), name


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["unet_mini", pytest.param("edge", marks=pytest.mark.large)])
def test_the_projects_models_count_as_keras_does(name: str) -> None:
    pytest.importorskip("keras")
    from edgeseg.training.models import build_model, inference_model
    from edgeseg.training.models.cost import macs

    model = inference_model(build_model(name, 5, 64, 96))
    costs = costs_of(model)
    assert {format_: cost.macs for format_, cost in costs.items()} == dict.fromkeys(costs, macs(model))
    # In 8 bits there are between a quarter of the bytes and half of them: what stays in float is the least.
    for kind in ("litert", "onnx", "openvino"):
        assert 0.25 <= costs[f"{kind} int8"].bytes / costs[f"{kind} fp32"].bytes < 0.5


def keras_model(keras: Any) -> Any:
    layers = keras.layers
    image = keras.Input((32, 48, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(image)
    x = layers.ReLU()(layers.Conv2D(8, 3, strides=2, padding="same")(x))
    x = layers.ReLU()(layers.DepthwiseConv2D(3, padding="same")(x))
    x = layers.ReLU()(layers.Conv2D(6, 1)(x))
    x = layers.ReLU()(layers.Conv2D(5, 3, padding="same", dilation_rate=2)(x))
    x = layers.ReLU()(layers.Conv2DTranspose(4, 2, strides=2)(x))
    return keras.Model(image, layers.Conv2D(3, 1)(x))


def costs_of(model: Any) -> dict[str, GraphCost]:
    from edgeseg.export.int8 import Int8Settings
    from edgeseg.export.litert_int8 import LiteRTQuantiser
    from edgeseg.export.quantise import RECIPES, OnnxQuantiser
    from edgeseg.export.to_litert import convert_litert
    from edgeseg.export.to_onnx import convert_onnx
    from edgeseg.export.to_openvino import OpenVINOQuantiser, convert_openvino

    height, width = model.input_shape[1:3]
    frames = np.random.default_rng(0).integers(0, 256, (4, height, width, 3)).astype(np.uint8)
    graph, settings = convert_onnx(model, "mask"), Int8Settings()
    makers: dict[str, Callable[[], bytes]] = {
        "litert fp32": lambda: convert_litert(model, "mask", "fp32"),
        "litert int8": lambda: LiteRTQuantiser(model, "mask", frames).quantise(settings).data,
        "onnx fp32": graph.SerializeToString,
        "onnx int8": lambda: OnnxQuantiser(graph, RECIPES["onnxruntime"], frames).quantise(settings).data,
        "openvino fp32": lambda: convert_openvino(graph, "fp32").data,
        "openvino int8": lambda: OpenVINOQuantiser(graph, frames).quantise(settings).data,
    }
    kinds = {"litert": "tflite", "onnx": "onnx", "openvino": "openvino"}
    return {name: FORMATS[kinds[name.split()[0]]](name, make()) for name, make in makers.items()}


def onnx_file(
    nodes: list[Any], image: Shape, kernel: Shape, output: Shape, *, quantised: bool = False
) -> bytes:
    """``x`` and the constant ``w`` to ``y``; quantised, the constant is ``w8``."""
    constants = [
        numpy_helper.from_array(np.ones(kernel, np.int8 if quantised else np.float32), "w8"[: 1 + quantised])
    ]
    kind = TensorProto.FLOAT
    values = []
    if quantised:
        constants += [
            numpy_helper.from_array(np.float32(0.1), "scale"),
            numpy_helper.from_array(np.int8(0), "zero"),
        ]
        kind = TensorProto.INT8
        values = [
            helper.make_tensor_value_info("xf", TensorProto.FLOAT, image),
            helper.make_tensor_value_info("wf", TensorProto.FLOAT, kernel),
            helper.make_tensor_value_info("c", TensorProto.FLOAT, output),
        ]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info("y", kind, output)],
        constants,
        value_info=values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    written: bytes = model.SerializeToString()
    return written


def litert_file(integer: bool) -> bytes:
    """A chain of the layers that multiply, built table by table; it is read and never run."""
    import flatbuffers

    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    types, ops = schema.TensorType, schema.BuiltinOperator
    kind = types.INT8 if integer else types.FLOAT32
    # Of each layer: its code, its kernel's shape (None: the image itself), the shape of its output.
    chain = [
        (ops.CONV_2D, (4, 3, 3, 3), (1, 8, 6, 4)),
        (ops.DEPTHWISE_CONV_2D, (1, 3, 3, 4), (1, 8, 6, 4)),
        (ops.TRANSPOSE_CONV, (5, 2, 2, 4), (1, 16, 12, 5)),
        (ops.FULLY_CONNECTED, (7, 5), (192, 7)),
        (ops.BATCH_MATMUL, None, (7, 7)),
    ]
    graph, codes = schema.SubGraphT(), []
    graph.tensors, graph.operators = [], []

    def tensor(shape: Shape, dtype: int) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = f"t{len(graph.tensors)}", list(shape), dtype, 0
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    image = first = tensor((1, 8, 6, 3), kind)
    for index, (code, kernel, output) in enumerate(chain):
        second = image if kernel is None else tensor(kernel, kind)
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs = index, [image, second]
        if code == ops.TRANSPOSE_CONV:
            made.inputs = [tensor((4,), types.INT32), second, image]
        if code == ops.BATCH_MATMUL:
            # The product of an image with itself, turned: 7 × 7 of 192 each.
            made.builtinOptionsType = schema.BuiltinOptions.BatchMatMulOptions
            made.builtinOptions = schema.BatchMatMulOptionsT()
            made.builtinOptions.adjX = True
        image = tensor(output, kind)
        made.outputs = [image]
        graph.operators.append(made)
        known = schema.OperatorCodeT()
        known.builtinCode = known.deprecatedBuiltinCode = code
        known.version = 1
        codes.append(known)
    graph.inputs, graph.outputs = [first], [image]
    model = schema.ModelT()
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], codes
    model.buffers = [schema.BufferT()]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
