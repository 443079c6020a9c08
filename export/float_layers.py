"""Layers that are to compute in float in a quantised ONNX graph, kept from ONNX Runtime's own rounding.

Its optimiser (``WeightBiasQuantization``) takes a convolution with float weights between Q/DQ pairs for one
that was forgotten, and rounds its weights, a whole tensor by one scale. Leaving a depthwise layer of a
MobileNet in float cost 35 points of mIoU so.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

_FORGOTTEN = ("Conv", "ConvTranspose", "Gemm")
_LARGEST = 2**30


def guard_float_layers(model: onnx.ModelProto, float_layers: Collection[str]) -> None:
    """Give these layers a bias that is no constant: such a layer the optimiser leaves alone.

    The bias becomes int32 with a scale, which ``DequantizeLinear`` turns into what it was, to the last bits
    of float32; it is as many values as the layer has channels.

    Args:
        model: The quantised graph; it is changed.
        float_layers: Names of nodes.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for index, node in reversed(list(enumerate(model.graph.node))):
        if node.name in float_layers and node.op_type in _FORGOTTEN and node.input[1] in constants:
            _guard(model.graph, index, constants)
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in used]:
        model.graph.initializer.remove(tensor)


def _guard(graph: onnx.GraphProto, index: int, constants: dict[str, onnx.TensorProto]) -> None:
    from onnx import helper, numpy_helper

    node = graph.node[index]
    given = node.input[2] if len(node.input) > 2 else ""
    if given and given not in constants:
        return
    bias = (
        numpy_helper.to_array(constants[given]) if given else np.zeros(_channels(node, constants), np.float32)
    )
    scale = np.float32(max(np.abs(bias).max(initial=0.0), np.finfo(np.float32).tiny * _LARGEST) / _LARGEST)
    steps = np.round(bias.astype(np.float64) / scale).astype(np.int32)
    names = [f"{node.name}_bias_{part}" for part in ("int32", "scale", "float")]
    graph.initializer.extend(
        [numpy_helper.from_array(steps, names[0]), numpy_helper.from_array(np.asarray(scale), names[1])]
    )
    node.input[:] = [*node.input[:2], names[2]]
    graph.node.insert(
        index, helper.make_node("DequantizeLinear", names[:2], names[2:], name=f"{node.name}_bias")
    )


def _channels(node: onnx.NodeProto, constants: dict[str, onnx.TensorProto]) -> int:
    from onnx import helper

    options = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    kernel = constants[node.input[1]].dims
    if node.op_type == "ConvTranspose":
        return int(kernel[1]) * int(options.get("group", 1))
    return int(kernel[1] if node.op_type == "Gemm" and not options.get("transB", 0) else kernel[0])
