"""Graphs that TensorRT is known to refuse are named before it is asked, node by node."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeseg.errors import EngineBuildError
from edgeseg.runtimes.onnx_graph import read_graph
from edgeseg.runtimes.tensorrt.api import Api
from edgeseg.runtimes.tensorrt.builder import build_engine
from edgeseg.runtimes.tensorrt.graph_check import REFUSED_OPS, findings_of, refuse_known_bad
from edgeseg.runtimes.tensorrt.memory import MIB

SCALE = ("scale", np.float32(0.1))
WEIGHTS = ("weights", np.ones((4, 3, 3, 3), np.float32))
FRAME = [
    helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
    helper.make_node("Transpose", ["float"], ["x"], perm=[0, 3, 1, 2]),
]


def graph_of(*nodes: onnx.NodeProto, constants: Any = (), dtype: int = TensorProto.FLOAT) -> bytes:
    graph = helper.make_graph(
        nodes,
        "case",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("out", dtype, None)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())


def quantised(zero: Any) -> bytes:
    return graph_of(
        *FRAME,
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["out"], name="back"),
        constants=[SCALE, ("zero", zero)],
    )


def int32_bias() -> bytes:
    constants = [WEIGHTS, ("bias_q", np.arange(4, dtype=np.int32)), ("s", np.ones(4, np.float32))]
    constants.append(("z", np.zeros(4, np.int32)))
    return graph_of(
        *FRAME,
        helper.make_node("DequantizeLinear", ["bias_q", "s", "z"], ["bias"], name="bias_back", axis=0),
        helper.make_node("Conv", ["x", "weights", "bias"], ["out"]),
        constants=constants,
    )


def resized() -> bytes:
    rule = "tf_half_pixel_for_nn"
    return graph_of(
        *FRAME,
        helper.make_node(
            "Resize",
            ["x", "", "sizes"],
            ["out"],
            name="up1",
            mode="nearest",
            coordinate_transformation_mode=rule,
        ),
        constants=[("sizes", np.array([1, 1, 2, 2], np.float32))],
    )


def zero_from_a_node() -> bytes:
    zero = helper.make_tensor("z", TensorProto.INT8, [], [3])
    return graph_of(
        *FRAME,
        helper.make_node("Constant", [], ["zero"], value=zero),
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="quantise"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["out"], name="back"),
        constants=[SCALE],
    )


def integer_products() -> bytes:
    return graph_of(
        helper.make_node("Transpose", ["frame"], ["x"], name="turn", perm=[0, 3, 1, 2]),
        helper.make_node("ConvInteger", ["x", "w8"], ["i"], name="product"),
        helper.make_node("Cast", ["i"], ["out"], to=TensorProto.FLOAT),
        constants=[("w8", np.ones((4, 3, 3, 3), np.uint8))],
    )


def foreign_operation() -> bytes:
    node = helper.make_node("FusedConv", ["x", "weights"], ["out"], name="fused", domain="com.microsoft")
    return graph_of(*FRAME, node, constants=[WEIGHTS])


def integer_to_uint8() -> bytes:
    return graph_of(
        helper.make_node("Cast", ["frame"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ArgMax", ["float"], ["ids"], axis=3, keepdims=0),
        helper.make_node("Cast", ["ids"], ["out"], name="last", to=TensorProto.UINT8),
        dtype=TensorProto.UINT8,
    )


CASES: dict[str, tuple[bytes, list[str]]] = {
    "int32 bias": (int32_bias(), [r"'bias_back' \(Deq.*'bias_q' is an int32 bias.*QuantizeBias=False"]),
    "asymmetric int8": (quantised(np.int8(3)), ["'quantise'.*not 0.*ActivationSymmetric", "'back'.*not 0"]),
    "asymmetric uint8": (quantised(np.uint8(128)), ["'quantise'.*not 0", "'back'.*not 0"]),
    "uint8": (quantised(np.uint8(0)), ["'quantise'.*is uint8.*to int8", "'back'.*is uint8"]),
    "zero point of a node": (zero_from_a_node(), ["'quantise'.*not 0", "'back'.*not 0"]),
    "resize": (resized(), [r"'up1' \(Resize\).*tf_half_pixel_for_nn.*whole factors"]),
    "integer products": (
        integer_products(),
        ["'turn'.*uint8 input", "'product'.*no ConvInteger.*--target jetson"],
    ),
    "foreign operation": (foreign_operation(), [r"'fused' \(FusedConv\).*domain 'com.microsoft'"]),
    "integer to uint8": (integer_to_uint8(), ["'last'.*integer to uint8.*cast to float first"]),
}


@pytest.mark.parametrize("case", CASES)
def test_known_bad_graphs_are_named_node_by_node(case: str) -> None:
    data, expected = CASES[case]
    found = [str(finding) for finding in findings_of(read_graph(data))]
    assert len(found) == len(expected), found
    for text, pattern in zip(found, expected, strict=True):
        assert re.search(pattern, text), text
    with pytest.raises(
        EngineBuildError, match=r"model\.onnx: expected a graph that TensorRT takes.*cure"
    ) as caught:
        refuse_known_bad("model.onnx", data)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("zero", [np.int8(0), np.zeros(3, np.int8)], ids=["one", "per channel"])
def test_symmetric_quantisation_passes(zero: Any) -> None:
    refuse_known_bad("model.onnx", quantised(zero))


@pytest.mark.parametrize("output", ["mask", "logits", "mask+confidence"])
def test_good_graphs_pass(make_onnx: Callable[..., bytes], output: str) -> None:
    refuse_known_bad("model.onnx", make_onnx(32, 64, output))


def test_bytes_that_are_no_model() -> None:
    for data in (b"", b"\x3a\x7f", b"\x3a\x03\x0a\x01x"):
        with pytest.raises(EngineBuildError, match="damaged bytes"):
            refuse_known_bad("model.onnx", data)


def test_many_findings_are_counted_and_not_all_listed() -> None:
    names = [f"y{index}" for index in range(9)]
    nodes = [helper.make_node("Det", ["x"], [name], name=name) for name in names]
    with pytest.raises(EngineBuildError, match=r"'y4'.*; and 4 more"):
        refuse_known_bad("model.onnx", graph_of(*FRAME, *nodes))


def test_the_graph_is_read_as_onnx_reads_it(make_onnx: Callable[..., bytes]) -> None:
    data = make_onnx(32, 64, "mask+confidence")
    theirs, ours = onnx.load_from_string(data).graph, read_graph(data)
    assert [(n.op_type, tuple(n.input), tuple(n.output)) for n in theirs.node] == [
        (n.op, n.inputs, n.outputs) for n in ours.nodes
    ]
    for mine, other in zip(ours.nodes, theirs.node, strict=True):
        expected = {a.name: helper.get_attribute_value(a) for a in other.attribute}
        assert dict(mine.attributes) == expected
    assert {(t.name, t.data_type, tuple(t.dims)) for t in theirs.initializer} == {
        (t.name, t.dtype, t.shape) for t in ours.constants.values()
    }
    assert ours.inputs == ("frame",)
    assert ours.values["frame"].shape == (1, 32, 64, 3)


def test_every_kind_of_attribute_is_read() -> None:
    node = helper.make_node("X", ["a"], ["out"], i=-3, f=0.5, s="text", ints=[1, -2, 300])
    (read,) = read_graph(graph_of(node)).nodes
    assert dict(read.attributes) == {"i": -3, "f": 0.5, "s": "text", "ints": (1, -2, 300)}


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("values", [[0, 0], [0, 5], [0, -1]])
@pytest.mark.parametrize(
    "dtype", [TensorProto.INT8, TensorProto.UINT8, TensorProto.INT64], ids=["i8", "u8", "i64"]
)
def test_zero_is_seen_in_each_way_of_writing_it(raw: bool, values: list[int], dtype: int) -> None:
    if dtype == TensorProto.UINT8:
        values = [abs(value) for value in values]
    kind = helper.tensor_dtype_to_np_dtype(dtype)
    data = np.array(values, kind).tobytes() if raw else values
    tensor = helper.make_tensor("t", dtype, [2], data, raw=raw)
    node = helper.make_node("Constant", [], ["out"], value=tensor)
    assert read_graph(graph_of(node)).constants["out"].is_zero is (not any(values))


# What NVIDIA's own parser says of the same graphs.


@pytest.fixture
def rtx() -> Api:
    module = pytest.importorskip("tensorrt_rtx", reason="pip install 'edgeseg[tensorrt-rtx]' to run NVIDIA's")
    return Api.of(module, "tensorrt_rtx")


def _parses(rtx: Api, data: bytes) -> bool:
    builder = rtx.module.Builder(rtx.messages.logger)
    network = builder.create_network(0)
    return bool(rtx.module.OnnxParser(network, rtx.messages.logger).parse(data))


@pytest.mark.parametrize(
    "case",
    [
        "int32 bias",
        "asymmetric int8",
        "asymmetric uint8",
        "zero point of a node",
        "integer products",
        "foreign operation",
    ],
)
def test_its_parser_refuses_them_too(rtx: Api, case: str) -> None:
    # The others are taken by RTX 1.7, and refused by TensorRT 10.3 or changed silently.
    assert not _parses(rtx, CASES[case][0])


def test_its_parser_knows_none_of_the_refused_operations(rtx: Api) -> None:
    builder = rtx.module.Builder(rtx.messages.logger)
    parser = rtx.module.OnnxParser(builder.create_network(0), rtx.messages.logger)
    assert [op for op in sorted(REFUSED_OPS) if parser.supports_operator(op)] == []
    standard = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == ""}
    assert standard >= REFUSED_OPS


def test_symmetric_int8_is_built(rtx: Api) -> None:
    assert build_engine(rtx, "case", quantised(np.int8(0)), [64 * MIB]).engine
