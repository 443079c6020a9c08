"""An ONNX file's nodes, constants and shapes, read from its bytes: no ONNX package is needed in a vehicle.

Only the outermost graph is read; weights are views of the file's bytes and are not copied.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Union

from edgeseg.runtimes.onnx_wire import BYTES, FIXED32, VARINT, fields, varint

FLOAT, UINT8, INT8, UINT16, INT16, INT32, INT64, FLOAT16 = 1, 2, 3, 4, 5, 6, 7, 10
"""Of ``TensorProto.DataType``: those that the checks here ask for."""
INTEGERS = (UINT8, INT8, UINT16, INT16, INT32, INT64)

# Of onnx.proto: the numbers of the fields that are read.
_MODEL_GRAPH = 7
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE = 1, 5, 11, 12, 13
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OP, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_ATTRIBUTE_NAME, _ATTRIBUTE_F, _ATTRIBUTE_I, _ATTRIBUTE_S, _ATTRIBUTE_T, _ATTRIBUTE_INTS = 1, 2, 3, 4, 5, 8
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_INT32, _TENSOR_INT64, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 5, 7, 8, 9
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE = 1, 2
_SHAPE_DIM = 1
_DIM_VALUE = 1


@dataclass(frozen=True)
class Tensor:
    """A constant: its element type, its shape, and whether any of its values is other than zero."""

    name: str
    dtype: int
    shape: tuple[int, ...]
    contents: tuple[memoryview, ...]

    @property
    def is_zero(self) -> bool:
        return not any(any(part) for part in self.contents)


Attribute = Union[int, float, str, "tuple[int, ...]", Tensor]


@dataclass(frozen=True)
class Node:
    op: str
    name: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]

    def __str__(self) -> str:
        return f"node {self.name!r} ({self.op})" if self.name else f"the {self.op} of {self.outputs[0]!r}"

    def text(self, attribute: str, default: str = "") -> str:
        return str(self.attributes.get(attribute, default))

    def number(self, attribute: str, default: int) -> int:
        value = self.attributes.get(attribute, default)
        return value if isinstance(value, int) else default

    def numbers(self, attribute: str) -> tuple[int, ...]:
        value = self.attributes.get(attribute, ())
        return value if isinstance(value, tuple) else ()


@dataclass(frozen=True)
class Value:
    """What the file says of a tensor between nodes; a dimension that is not fixed is 0."""

    dtype: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """``constants`` are initializers and what Constant nodes give; ``values`` are all tensors described."""

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: Mapping[str, Tensor]
    values: Mapping[str, Value]


def read_graph(data: bytes) -> Graph:
    """The graph of a ``ModelProto``.

    Raises:
        ValueError: The bytes are not protobuf messages, or hold no graph.
    """
    for number, wire_type, start, end in fields(data, 0, len(data)):
        if (number, wire_type) == (_MODEL_GRAPH, BYTES):
            return _graph(data, start, end)
    raise ValueError("no graph")


def _graph(data: bytes, start: int, end: int) -> Graph:
    nodes: list[Node] = []
    constants: dict[str, Tensor] = {}
    values: dict[str, Value] = {}
    ports: dict[int, list[str]] = {_GRAPH_INPUT: [], _GRAPH_OUTPUT: []}
    for number, begin, after in _messages(data, start, end):
        if number == _GRAPH_NODE:
            nodes.append(_node(data, begin, after))
        elif number == _GRAPH_INITIALIZER:
            tensor = _tensor(data, begin, after)
            constants[tensor.name] = tensor
        elif number in (_GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE):
            name, value = _value(data, begin, after)
            values[name] = value
            ports.get(number, []).append(name)
    for node in nodes:
        value_of = node.attributes.get("value")
        if node.op == "Constant" and isinstance(value_of, Tensor):
            constants[node.outputs[0]] = value_of
    inputs = tuple(name for name in ports[_GRAPH_INPUT] if name not in constants)
    return Graph(tuple(nodes), inputs, tuple(ports[_GRAPH_OUTPUT]), constants, values)


def _node(data: bytes, start: int, end: int) -> Node:
    texts: dict[int, str] = {}
    inputs: list[str] = []
    outputs: list[str] = []
    attributes: dict[str, Attribute] = {}
    for number, begin, after in _messages(data, start, end):
        if number == _NODE_INPUT:
            inputs.append(_text(data, begin, after))
        elif number == _NODE_OUTPUT:
            outputs.append(_text(data, begin, after))
        elif number == _NODE_ATTRIBUTE:
            attributes.update(_attribute(data, begin, after))
        elif number in (_NODE_NAME, _NODE_OP, _NODE_DOMAIN):
            texts[number] = _text(data, begin, after)
    if not outputs:
        raise ValueError(f"a node {texts.get(_NODE_OP, '')!r} without outputs")
    return Node(
        texts.get(_NODE_OP, ""),
        texts.get(_NODE_NAME, ""),
        texts.get(_NODE_DOMAIN, ""),
        tuple(inputs),
        tuple(outputs),
        attributes,
    )


def _attribute(data: bytes, start: int, end: int) -> dict[str, Attribute]:
    name = ""
    value: Attribute | None = None
    numbers: list[int] = []
    for number, wire_type, begin, after in fields(data, start, end):
        if (number, wire_type) == (_ATTRIBUTE_NAME, BYTES):
            name = _text(data, begin, after)
        elif (number, wire_type) == (_ATTRIBUTE_I, VARINT):
            value = _signed(begin)
        elif (number, wire_type) == (_ATTRIBUTE_F, FIXED32):
            value = float(struct.unpack_from("<f", data, begin)[0])
        elif (number, wire_type) == (_ATTRIBUTE_S, BYTES):
            value = _text(data, begin, after)
        elif (number, wire_type) == (_ATTRIBUTE_T, BYTES):
            value = _tensor(data, begin, after)
        elif number == _ATTRIBUTE_INTS:
            numbers += _numbers(data, wire_type, begin, after)
    found = tuple(numbers) if numbers else value
    return {} if found is None else {name: found}


def _tensor(data: bytes, start: int, end: int) -> Tensor:
    name, dtype = "", 0
    shape: list[int] = []
    contents: list[memoryview] = []
    view = memoryview(data)
    for number, wire_type, begin, after in fields(data, start, end):
        if number == _TENSOR_DIMS:
            shape += _numbers(data, wire_type, begin, after)
        elif (number, wire_type) == (_TENSOR_TYPE, VARINT):
            dtype = begin
        elif (number, wire_type) == (_TENSOR_NAME, BYTES):
            name = _text(data, begin, after)
        elif (number, wire_type) == (_TENSOR_RAW, BYTES):
            contents.append(view[begin:after])
        elif number in (_TENSOR_INT32, _TENSOR_INT64):
            # Zero is written as zero bytes in either form, and nothing else is.
            contents.append(view[begin:after] if wire_type == BYTES else memoryview(bytes([begin != 0])))
    return Tensor(name, dtype, tuple(shape), tuple(contents))


def _value(data: bytes, start: int, end: int) -> tuple[str, Value]:
    name, value = "", Value(0, ())
    for number, begin, after in _messages(data, start, end):
        if number == _VALUE_NAME:
            name = _text(data, begin, after)
        elif number == _VALUE_TYPE:
            value = _type(data, begin, after)
    return name, value


def _type(data: bytes, start: int, end: int) -> Value:
    for number, begin, after in _messages(data, start, end):
        if number == _TYPE_TENSOR:
            dtype = 0
            shape: list[int] = []
            for part, wire_type, inside, last in fields(data, begin, after):
                if (part, wire_type) == (_TENSOR_TYPE_ELEMENT, VARINT):
                    dtype = inside
                elif (part, wire_type) == (_TENSOR_TYPE_SHAPE, BYTES):
                    shape = [
                        _dimension(data, b, a) for n, b, a in _messages(data, inside, last) if n == _SHAPE_DIM
                    ]
            return Value(dtype, tuple(shape))
    return Value(0, ())


def _dimension(data: bytes, start: int, end: int) -> int:
    for number, wire_type, value, _ in fields(data, start, end):
        if (number, wire_type) == (_DIM_VALUE, VARINT):
            return _signed(value)
    return 0


def _messages(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields that are bytes: number, and where they begin and end."""
    for number, wire_type, begin, after in fields(data, start, end):
        if wire_type == BYTES:
            yield number, begin, after


def _numbers(data: bytes, wire_type: int, begin: int, after: int) -> list[int]:
    """One number, or many that are packed."""
    if wire_type == VARINT:
        return [_signed(begin)]
    found = []
    while wire_type == BYTES and begin < after:
        number, begin = varint(data, begin, after)
        found.append(_signed(number))
    return found


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _text(data: bytes, start: int, end: int) -> str:
    return data[start:end].decode("utf-8", errors="replace")
