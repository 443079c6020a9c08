"""Layers that are to compute in float in a quantised ONNX graph, kept from ONNX Runtime's own rounding.

Its optimiser (``WeightBiasQuantization``) takes a layer with float weights between Q/DQ pairs for one that
was forgotten, and rounds its weights, a whole tensor by one scale. Leaving the first depthwise layer of
``edge`` in float cost 35 points of mIoU so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

    Constants = dict[str, onnx.TensorProto]

_WITH_BIAS = ("Conv", "ConvTranspose", "Gemm")
"""What the optimiser rounds; of a MatMul and the addition after it ONNX Runtime makes a Gemm."""


def guard_float_layers(model: onnx.ModelProto, float_layers: Collection[str]) -> None:
    """Give these layers a bias that is no constant: such a layer the optimiser leaves alone.

    The bias becomes int32 with a scale for each of its values, which ``DequantizeLinear`` multiplies into
    exactly what it was.

    Args:
        model: The quantised graph; it is changed.
        float_layers: Names of nodes.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    replaced = set()
    for node in [node for node in model.graph.node if node.name in float_layers]:
        adds = _bias_of(model.graph, node, constants)
        if adds is not None:
            replaced.add(_guard(model.graph, node.name, *adds, constants))
    for name in replaced & constants.keys() - set(_read(model.graph)):
        model.graph.initializer.remove(constants[name])


def _bias_of(
    graph: onnx.GraphProto, node: onnx.NodeProto, constants: Constants
) -> tuple[onnx.NodeProto, int] | None:
    """The node that adds the bias of a layer, and at which input; ``None`` where it needs no guard."""
    if node.input[1] not in constants:
        return None
    if node.op_type in _WITH_BIAS:
        return node, 2
    if node.op_type == "MatMul":
        readers = [reader for reader in graph.node if node.output[0] in reader.input]
        if len(readers) == 1 and readers[0].op_type == "Add":
            place = 1 - list(readers[0].input).index(node.output[0])
            return (readers[0], place) if readers[0].input[place] in constants else None
    return None


def _guard(graph: onnx.GraphProto, layer: str, node: onnx.NodeProto, place: int, constants: Constants) -> str:
    """Replace the bias, and give the name of the constant that it was."""
    from onnx import helper, numpy_helper

    given = node.input[place] if len(node.input) > place else ""
    if given and given not in constants:
        return given
    bias = (
        numpy_helper.to_array(constants[given]) if given else np.zeros(_channels(node, constants), np.float32)
    )
    if not bias.ndim or bias.size != bias.shape[-1]:
        return given  # Neither does the optimiser know what to make of such a one.
    scale = np.where(bias == 0, np.float32(1), np.abs(bias)).reshape(-1)
    names = [f"{layer}_bias_{part}" for part in ("sign", "size", "float")]
    parts = (np.sign(bias).astype(np.int32), scale)
    graph.initializer.extend(
        numpy_helper.from_array(part, name) for part, name in zip(parts, names, strict=False)
    )
    made = helper.make_node(
        "DequantizeLinear", names[:2], names[2:], name=f"{layer}_bias", axis=bias.ndim - 1
    )
    graph.node.insert(list(graph.node).index(node), made)
    if given:
        node.input[place] = names[2]
    else:
        node.input[:] = [*node.input[:2], names[2]]
    return given


def _channels(node: onnx.NodeProto, constants: Constants) -> int:
    from onnx import helper

    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kernel = constants[node.input[1]].dims
    if node.op_type == "ConvTranspose":
        return int(kernel[1]) * int(options.get("group", 1))
    return int(kernel[1] if node.op_type == "Gemm" and not options.get("transB", 0) else kernel[0])


def _read(graph: onnx.GraphProto) -> Iterator[str]:
    """Names that a graph, or one inside it, reads or gives."""
    for node in graph.node:
        yield from node.input
        for attribute in node.attribute:
            yield from _read(attribute.g)
    yield from (output.name for output in graph.output)
