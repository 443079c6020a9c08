"""Multiply-accumulates and bytes of a LiteRT file, by the schema that comes with ``ai-edge-litert``."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any

from edgeseg.benchmarks.graph_costs.base import GraphCost, LayerCost, Shape, Stored, layer, unreadable
from edgeseg.errors import MissingExtraError

# An operation's two factors by their places among its inputs: image, kernel. A transposed convolution's first
# input is the shape of its output.
_FACTORS = {
    "CONV_2D": (0, 1),
    "DEPTHWISE_CONV_2D": (0, 1),
    "TRANSPOSE_CONV": (2, 1),
    "FULLY_CONNECTED": (0, 1),
    "BATCH_MATMUL": (0, 1),
}


def litert_cost(source: str, data: bytes) -> GraphCost:
    """The cost of a ``.tflite`` file's first graph.

    Args:
        source: The file's name, for messages.
        data: Its bytes.

    Raises:
        MissingExtraError: LiteRT is not installed.
        BundleError: The bytes are no such file, or a size in it is not fixed.
    """
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ImportError as error:
        raise MissingExtraError.of("counting in a LiteRT file", "ai-edge-litert", "litert") from error
    try:
        model = schema.Model.GetRootAs(data, 0)
        kinds = _kinds(schema, model)
        graph = model.Subgraphs(0)
        return GraphCost(tuple(_layers(schema, graph, kinds)))
    except (struct.error, IndexError, TypeError, AttributeError, ValueError) as error:
        raise unreadable(source, f"a file that is none, or has no fixed size ({error})") from error


def _kinds(schema: Any, model: Any) -> list[str]:
    """The names of the file's operations, by the numbers that its graph uses for them."""
    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}
    codes = (model.OperatorCodes(index) for index in range(model.OperatorCodesLength()))
    # Files of older schemas have the code in its old place alone.
    return [names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "") for code in codes]


def _layers(schema: Any, graph: Any, kinds: list[str]) -> list[LayerCost]:
    found = []
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        kind = kinds[operator.OpcodeIndex()]
        if kind not in _FACTORS:
            continue
        image, kernel = (_stored(schema, graph, operator.Inputs(place)) for place in _FACTORS[kind])
        output = _stored(schema, graph, operator.Outputs(0))
        if kind == "BATCH_MATMUL":
            macs = output.elements * _inner(schema, operator, image.shape)
        else:
            macs = _MACS[kind](image.shape, kernel.shape, output.shape)
        name = graph.Tensors(operator.Outputs(0)).Name().decode(errors="replace")
        found.append(layer(kind, name, macs, (image, kernel), output))
    return found


def _stored(schema: Any, graph: Any, index: int) -> Stored:
    tensor = graph.Tensors(index)
    shape = tuple(int(size) for size in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
    types, dtype = schema.TensorType, tensor.Type()
    widths = {
        types.INT8: 1,
        types.UINT8: 1,
        types.INT16: 2,
        types.FLOAT16: 2,
        types.INT32: 4,
        types.FLOAT32: 4,
    }
    if dtype not in widths or min(shape, default=1) < 1:
        raise ValueError(f"tensor {tensor.Name()!r} of type {dtype} and shape {shape}")
    return Stored(shape, widths[dtype], widths[dtype] == 1)


def _inner(schema: Any, operator: Any, left: Shape) -> int:
    options = schema.BatchMatMulOptions()
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return left[-2 if options.AdjX() else -1]


# Kernels are [channels out, height, width, channels in / groups], and of depthwise convolutions
# [1, height, width, channels].
_MACS: dict[str, Callable[[Shape, Shape, Shape], int]] = {
    "CONV_2D": lambda _image, kernel, output: math.prod(output) * math.prod(kernel[1:]),
    "DEPTHWISE_CONV_2D": lambda _image, kernel, output: math.prod(output) * math.prod(kernel[1:3]),
    "TRANSPOSE_CONV": lambda image, kernel, _output: math.prod(image) * math.prod(kernel[:3]),
    "FULLY_CONNECTED": lambda _image, kernel, output: math.prod(output) * kernel[-1],
}
