"""Multiply-accumulates and bytes of an ONNX file, read by edgeseg itself."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping

from edgeseg.benchmarks.graph_costs.base import (
    GraphCost,
    LayerCost,
    Shape,
    Stored,
    einsum_macs,
    layer,
    unreadable,
)
from edgeseg.errors import MissingExtraError
from edgeseg.runtimes.onnx_graph import (
    FLOAT,
    FLOAT16,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    Graph,
    Node,
    Value,
    read_graph,
)

_WIDTHS = {FLOAT: 4, FLOAT16: 2, INT8: 1, UINT8: 1, INT16: 2, UINT16: 2, INT32: 4, INT64: 8}
# A node's two factors by their places among its inputs: image, kernel.
_FACTORS = {
    "Conv": (0, 1),
    "ConvTranspose": (0, 1),
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    "Einsum": (0, 1),
    "ConvInteger": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearConv": (0, 3),
    "QLinearMatMul": (0, 3),
}
# Runtimes compute these along with what comes before, so that only what comes after them is written.
_FUSED = {"Add", "Mul", "Max", "Min", "Clip", "Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish"}


def onnx_cost(source: str, data: bytes) -> GraphCost:
    """The cost of an ``.onnx`` file's outermost graph.

    Shapes that the file does not hold are inferred by the package ``onnx``.

    Args:
        source: The file's name, for messages.
        data: Its bytes.

    Raises:
        MissingExtraError: Shapes are missing, and ONNX is not installed.
        BundleError: The bytes are no such file, or a size in it is not fixed.
    """
    try:
        graph = read_graph(data)
        if not all(_known(graph, name) for node in _multiplying(graph) for name in _needed(node)):
            graph = read_graph(_with_shapes(data))
        return GraphCost(tuple(_Counter(graph).layers()))
    except (ValueError, KeyError, IndexError) as error:
        raise unreadable(source, f"a file that is none, or has no fixed size ({error})") from error


def _multiplying(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op in _FACTORS]


def _needed(node: Node) -> tuple[str, ...]:
    return (*(node.inputs[place] for place in _FACTORS[node.op]), node.outputs[0])


def _known(graph: Graph, name: str) -> bool:
    value = _value(graph, name)
    return value is not None and value.dtype in _WIDTHS and all(size > 0 for size in value.shape)


def _value(graph: Graph, name: str) -> Value | None:
    if name in graph.constants:
        return Value(graph.constants[name].dtype, graph.constants[name].shape)
    return graph.values.get(name)


def _with_shapes(data: bytes) -> bytes:
    try:
        import onnx
    except ImportError as error:
        raise MissingExtraError.of("counting in an ONNX file without shapes", "onnx", "export") from error
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(data), data_prop=True)
    written: bytes = inferred.SerializeToString()
    return written


class _Counter:
    """One graph, with who makes and who reads each tensor."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._makers = {output: node for node in graph.nodes for output in node.outputs}
        self._readers: Mapping[str, list[Node]] = defaultdict(list)
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name].append(node)

    def layers(self) -> list[LayerCost]:
        return [self._layer(node) for node in _multiplying(self._graph)]

    def _layer(self, node: Node) -> LayerCost:
        left, right, output = (self._stored(name) for name in _needed(node))
        if self._is_quantised(node.outputs[0]):
            output = Stored(output.shape, 1, True)
        macs = _MACS[node.op](node, left.shape, right.shape, output.shape)
        return layer(node.op, node.name or node.outputs[0], macs, (left, right), output)

    def _stored(self, name: str) -> Stored:
        """A tensor; of one that is dequantised just before, the width of what lies in memory."""
        value = _value(self._graph, name)
        if value is None or not _known(self._graph, name):
            raise ValueError(f"tensor {name!r} of no known shape")
        maker = self._makers.get(name)
        if maker is not None and maker.op == "DequantizeLinear":
            behind = _value(self._graph, maker.inputs[0])
            width = _WIDTHS.get(behind.dtype, 1) if behind else 1
            return Stored(value.shape, width, width == 1)
        return Stored(value.shape, _WIDTHS[value.dtype], value.dtype in (INT8, UINT8))

    def _is_quantised(self, name: str) -> bool:
        """Whether all that reads a tensor, past what a runtime fuses, quantises it first."""
        readers = self._readers.get(name, [])
        return bool(readers) and all(
            node.op == "QuantizeLinear" or (node.op in _FUSED and self._is_quantised(node.outputs[0]))
            for node in readers
        )


def _convolution(_node: Node, _image: Shape, kernel: Shape, output: Shape) -> int:
    # Kernels are [channels out, channels in / groups, height, width].
    return math.prod(output) * math.prod(kernel[1:])


def _transposed(_node: Node, image: Shape, kernel: Shape, _output: Shape) -> int:
    # Kernels are [channels in, channels out / groups, height, width].
    return math.prod(image) * math.prod(kernel[1:])


def _product(_node: Node, left: Shape, _right: Shape, output: Shape) -> int:
    return math.prod(output) * left[-1]


def _general_product(node: Node, left: Shape, _right: Shape, output: Shape) -> int:
    return math.prod(output) * left[0 if node.number("transA", 0) else 1]


def _einsum(node: Node, left: Shape, right: Shape, _output: Shape) -> int:
    return einsum_macs(node.text("equation"), (left, right))


_MACS: dict[str, Callable[[Node, Shape, Shape, Shape], int]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": _convolution,
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _general_product,
    "Einsum": _einsum,
}
