"""The graph contract, written into an ``.onnx`` file around what it holds.

The model's own nodes stay as they are: what is put before them ends in the tensor that was the input, what is
put after them begins with the tensor that was the output. Other outputs, and nodes that only they need, go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseg.export.converter import converting
from edgeseg.export.wrapping.reading import InputReading, Reading
from edgeseg.export.wrapping.tensors import PREFIX

if TYPE_CHECKING:
    import onnx

_ADVICE = "Convert the model again with opset 13 or later; --debug shows more."
_OLDEST_OPSET, _OPSET = 13, 17
_OLDEST_IR = 4
_CHANNELS = 3


def graft(data: bytes, reading: Reading) -> bytes:
    """The file with the contract around it.

    Raises:
        ConversionError: Its opset could not be raised, or the graph could not be written.
    """
    with converting("wrapping an ONNX model", _ADVICE):
        import onnx
        from onnx import TensorProto, helper

        model = _recent(onnx.load_from_string(data))
        graph = model.graph
        before, after = _Chain(graph, "in"), _Chain(graph, "out")
        read = reading.input
        frame, mask = f"{PREFIX}image", f"{PREFIX}mask"
        _make_input(before, frame, read)
        _make_mask(after, mask, reading)
        nodes = [*before.nodes, *_needed(graph, reading.output.tensor.name), *after.nodes]
        plane = (1, read.height, read.width)
        _replace(graph.node, nodes)
        _replace(graph.input, [helper.make_tensor_value_info(frame, TensorProto.UINT8, (*plane, _CHANNELS))])
        _replace(graph.output, [helper.make_tensor_value_info(mask, TensorProto.UINT8, plane)])
        _drop_unused(graph)
        # Earlier versions want every constant among the inputs.
        model.ir_version = max(model.ir_version, _OLDEST_IR)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def _recent(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    return model if opset >= _OLDEST_OPSET else onnx.version_converter.convert_version(model, _OPSET)


def _replace(field: Any, values: Sequence[Any]) -> None:
    # Copies: what is in a field goes with it.
    copies = [type(value).FromString(value.SerializeToString()) for value in values]
    del field[:]
    field.extend(copies)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Constants that nothing needs any more, and notes on tensors, which may tell of sizes that were open."""
    used = set().union(*map(_inputs, graph.node))
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in used])
    del graph.value_info[:]


def _needed(graph: onnx.GraphProto, output: str) -> list[onnx.NodeProto]:
    """The nodes that one output comes from, in their order."""
    wanted, kept = {output}, []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(_inputs(node))
            kept.append(node)
    return kept[::-1]


def _inputs(node: onnx.NodeProto) -> set[str]:
    """What a node needs; the graphs inside of it may use any tensor around them."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
            names |= {value.name for value in graph.output}
            for inner in graph.node:
                names |= _inputs(inner)
    return names


class _Chain:
    """Nodes one after the other, with the constants that they add to a graph."""

    def __init__(self, graph: onnx.GraphProto, name: str) -> None:
        self._graph, self._name = graph, f"{PREFIX}{name}"
        self.nodes: list[onnx.NodeProto] = []
        self._count = 0

    def add(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        from onnx import helper

        made = output or self._new()
        self.nodes.append(helper.make_node(operation, inputs, [made], self._new(), **attributes))
        return made

    def constant(self, values: npt.NDArray[Any]) -> str:
        from onnx import numpy_helper

        name = self._new()
        self._graph.initializer.append(numpy_helper.from_array(values, name))
        return name

    def cast(self, tensor: str, dtype: str, output: str | None = None) -> str:
        from onnx import TensorProto

        names = {"float32": "FLOAT"}
        return self.add(
            "Cast", tensor, output=output, to=TensorProto.DataType.Value(names.get(dtype, dtype.upper()))
        )

    def reshape(self, tensor: str, shape: Sequence[int]) -> str:
        return self.add("Reshape", tensor, self.constant(np.array(shape, np.int64)))

    def resize(self, tensor: str, shape: Sequence[int], **attributes: Any) -> str:
        """``[1, C, h, w]`` to a shape, pixels being areas."""
        sizes = self.constant(np.array(shape, np.int64))
        rule = "half_pixel"
        return self.add("Resize", tensor, "", "", sizes, coordinate_transformation_mode=rule, **attributes)

    def _new(self) -> str:
        self._count += 1
        return f"{self._name}_{self._count}"


def _make_input(chain: _Chain, frame: str, read: InputReading) -> None:
    now = frame
    if read.order == "bgr":
        now = chain.add("Gather", now, chain.constant(np.array([2, 1, 0], np.int64)), axis=_CHANNELS)
    if not read.pixels.as_they_are:
        now = _scaled(chain, now, read)
    if read.layout == "NCHW":
        now = chain.add("Transpose", now, perm=[0, 3, 1, 2])
    chain.add("Identity", now, output=read.tensor.name)


def _scaled(chain: _Chain, frame: str, read: InputReading) -> str:
    pixels, dtype = read.pixels, read.tensor.dtype
    order = slice(None, None, -1 if read.order == "bgr" else 1)
    real = chain.cast(frame, "float32")
    for operation, values, neutral in (("Mul", pixels.multiply, 1), ("Add", pixels.add, 0)):
        if (values != neutral).any():
            real = chain.add(operation, real, chain.constant(np.ascontiguousarray(values[order])))
    if pixels.quantisation is None:
        return real if dtype == "float32" else chain.cast(real, dtype)
    scale = chain.constant(np.array(pixels.quantisation.scale, np.float32))
    return chain.add("QuantizeLinear", real, scale, chain.constant(np.array(pixels.quantisation.zero, dtype)))


def _make_mask(chain: _Chain, mask: str, reading: Reading) -> None:
    read, wanted = reading.output, reading.input
    name = read.tensor.name
    if read.kind == "scores":
        ids = _highest(chain, name, reading)
    else:
        plane = chain.reshape(chain.cast(name, "float32"), (1, 1, read.height, read.width))
        ids = _over(chain, plane, reading) if read.kind == "threshold" else _given(chain, plane, reading)
        ids = chain.reshape(ids, (1, wanted.height, wanted.width))
    # Float between whole numbers and uint8: TensorRT makes uint8 outputs from floating point alone.
    chain.cast(chain.cast(ids, "float32"), "uint8", mask)


def _highest(chain: _Chain, scores: str, reading: Reading) -> str:
    axis = 3 if reading.output.layout == "NHWC" else 1
    if reading.output.tensor.dtype != "float32":
        # Codes as whole numbers, not what they stand for: their order is the same, and their means are exact.
        scores = chain.cast(scores, "float32")
    if reading.resized:
        if axis == _CHANNELS:
            scores, axis = chain.add("Transpose", scores, perm=[0, 3, 1, 2]), 1
        shape = (1, reading.classes, reading.input.height, reading.input.width)
        scores = chain.resize(scores, shape, mode="linear")
    return chain.add("ArgMax", scores, axis=axis, keepdims=0)


def _over(chain: _Chain, plane: str, reading: Reading) -> str:
    if reading.resized:
        plane = chain.resize(plane, (1, 1, reading.input.height, reading.input.width), mode="linear")
    return chain.add("Greater", plane, chain.constant(np.array(reading.output.threshold, np.float32)))


def _given(chain: _Chain, plane: str, reading: Reading) -> str:
    if not reading.resized:
        return plane
    shape = (1, 1, reading.input.height, reading.input.width)
    return chain.resize(plane, shape, mode="nearest", nearest_mode="round_prefer_ceil")
