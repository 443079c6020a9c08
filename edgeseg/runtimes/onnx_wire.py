"""Whether an ONNX file refers to tensor data outside itself, read from its bytes as protobuf reads them.

No ONNX package is needed in a vehicle, and none has parsed the file before this has seen all of it: the
wire format is walked field by field, and every tensor that there is in any graph is looked at.
:mod:`edgeseg.runtimes.onnx_graph` reads nodes and shapes by the same walk.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: how a field's value is written."""

# Of onnx.proto: the messages that can hold a tensor, and in which of their fields what lies.
_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA = 13
_DATA_LOCATION = 14
_LONGEST_VARINT = 10
# As in protobuf's own readers.
_DEEPEST = 100


def has_external_data(data: bytes) -> bool:
    """Whether any tensor of this ``ModelProto`` has, or says that it has, its data in another file.

    Raises:
        ValueError: The bytes are not protobuf messages.
    """
    # Those that are open, outermost first: however many messages there are, no more is held of them.
    messages = [("model", fields(data, 0, len(data)))]
    while messages:
        kind, open_fields = messages[-1]
        field = next(open_fields, None)
        if field is None:
            messages.pop()
            continue
        number, wire_type, value, after = field
        if kind == "tensor":
            if _is_external(number, wire_type, value):
                return True
        elif wire_type == BYTES and number in _FIELDS[kind]:
            if len(messages) == _DEEPEST:
                raise ValueError(f"messages inside of messages, more than {_DEEPEST} deep")
            messages.append((_FIELDS[kind][number], fields(data, value, after)))
    return False


def _is_external(number: int, wire_type: int, value: int) -> bool:
    if number == _DATA_LOCATION and wire_type == VARINT:
        return value != 0
    return number == _EXTERNAL_DATA and wire_type == BYTES


def fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field: number, wire type, value (of bytes: where they begin), and where the next field begins."""
    while start < end:
        tag, start = varint(data, start, end)
        number, wire_type = tag >> 3, tag & 7
        # Protobuf would cut a longer tag down to 32 bits, to a number that was not checked here.
        if not number or tag >= 1 << 32:
            raise ValueError(f"field number {number}")
        if wire_type == VARINT:
            value, after = varint(data, start, end)
        elif wire_type == BYTES:
            length, value = varint(data, start, end)
            after = value + length
        elif wire_type in (FIXED64, FIXED32):
            value, after = start, start + (8 if wire_type == FIXED64 else 4)
        else:
            raise ValueError(f"wire type {wire_type}")
        if after > end:
            raise ValueError(f"field {number} reaches past its message")
        yield number, wire_type, value, after
        start = after


def varint(data: bytes, start: int, end: int) -> tuple[int, int]:
    """The number at ``start``, in however many bytes it is written, and where it ends."""
    value = 0
    for index in range(_LONGEST_VARINT):
        if start + index >= end:
            raise ValueError("a number reaches past its message")
        byte = data[start + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, start + index + 1
    raise ValueError(f"a number of more than {_LONGEST_VARINT} bytes")
