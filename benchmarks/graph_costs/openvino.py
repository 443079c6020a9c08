"""Multiply-accumulates and bytes of an OpenVINO graph (``.xml``), read without OpenVINO."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from edgeseg.benchmarks.graph_costs.base import (
    GraphCost,
    LayerCost,
    Shape,
    Stored,
    einsum_macs,
    layer,
    unreadable,
)
from edgeseg.runtimes.openvino_ir import unsafe_part

_WIDTHS = {"FP32": 4, "FP16": 2, "BF16": 2, "I8": 1, "U8": 1, "I16": 2, "U16": 2, "I32": 4, "I64": 8}
_EIGHT_BITS = ("I8", "U8")
_QUANTISES = "FakeQuantize"
# Between a layer and the 8-bit constant of its weights.
_DEQUANTISES = {"Convert", "Subtract", "Multiply", "Reshape"}
# The runtime moves quantisation through these, which compute nothing new.
_MOVES = {
    *("MaxPool", "Concat", "Interpolate", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Split", "Pad"),
    *("VariadicSplit", "StridedSlice", "DepthToSpace", "SpaceToDepth", "BatchToSpace", "SpaceToBatch"),
}
# The runtime computes these along with what comes before, so that only what comes after them is written.
_FUSED = {
    *("Add", "Multiply", "Maximum", "Minimum", "Clamp", "ReLU", "Relu", "PRelu", "Sigmoid", "Swish"),
    *("HSwish", "HSigmoid"),
}


@dataclass(frozen=True)
class _Layer:
    """A layer of the file; shapes and types are by port, outputs' ports follow the inputs'."""

    kind: str
    name: str
    attributes: Mapping[str, str]
    inputs: tuple[Stored, ...]
    outputs: Mapping[str, Stored]
    element_type: str


def openvino_cost(source: str, data: bytes) -> GraphCost:
    """The cost of an OpenVINO graph.

    Args:
        source: The file's name, for messages.
        data: The bytes of the ``.xml``; the weights are not needed.

    Raises:
        BundleError: The bytes are no such graph, are unsafe, or a size in it is not fixed.
    """
    try:
        # A document type declaration could unpack to any size.
        if unsafe := unsafe_part(data):
            raise ValueError(unsafe)
        return GraphCost(tuple(_Counter(ElementTree.fromstring(data)).layers()))
    except (ValueError, KeyError, IndexError, ElementTree.ParseError) as error:
        raise unreadable(source, f"a file that is none, or has no fixed size ({error})") from error


class _Counter:
    """One graph, with what makes and what reads the outputs of each layer."""

    def __init__(self, net: ElementTree.Element) -> None:
        self._layers = {element.attrib["id"]: _read(element) for element in net.iter("layer")}
        self._makers: dict[tuple[str, int], str] = {}
        self._readers: Mapping[str, list[str]] = defaultdict(list)
        places: Mapping[str, list[str]] = {
            element.attrib["id"]: [port.attrib["id"] for port in element.findall("input/port")]
            for element in net.iter("layer")
        }
        for edge in net.iter("edge"):
            maker, reader = edge.attrib["from-layer"], edge.attrib["to-layer"]
            self._makers[reader, places[reader].index(edge.attrib["to-port"])] = maker
            self._readers[maker].append(reader)

    def layers(self) -> list[LayerCost]:
        return [self._cost(number) for number, found in self._layers.items() if found.kind in _MACS]

    def _cost(self, number: str) -> LayerCost:
        found = self._layers[number]
        left, right = (self._factor(number, place) for place in (0, 1))
        (output,) = found.outputs.values()
        if self._is_quantised(number):
            output = Stored(output.shape, 1, True)
        macs = _MACS[found.kind](found.attributes, left.shape, right.shape, output.shape)
        return layer(found.kind, found.name, macs, (left, right), output)

    def _factor(self, number: str, place: int) -> Stored:
        """An input; of one that is quantised before, the width of what lies in memory."""
        given = self._layers[number].inputs[place]
        integer = self._is_integer_constant(number, place) or self._comes_quantised(number, place)
        return Stored(given.shape, 1, True) if integer else given

    def _is_integer_constant(self, number: str, place: int) -> bool:
        maker = self._layers[self._makers[number, place]]
        if maker.kind == "Const":
            return maker.element_type.upper() in _EIGHT_BITS
        return maker.kind in _DEQUANTISES and self._is_integer_constant(self._makers[number, place], 0)

    def _comes_quantised(self, number: str, place: int) -> bool:
        maker = self._layers[self._makers[number, place]]
        if maker.kind == _QUANTISES:
            return True
        return maker.kind in _MOVES and self._comes_quantised(self._makers[number, place], 0)

    def _is_quantised(self, number: str) -> bool:
        """Whether all that reads a layer's output, past what is fused or only moves it, quantises it."""
        readers = self._readers.get(number, [])
        return bool(readers) and all(
            self._layers[reader].kind == _QUANTISES
            or (self._layers[reader].kind in _FUSED | _MOVES and self._is_quantised(reader))
            for reader in readers
        )


def _read(element: ElementTree.Element) -> _Layer:
    data = element.find("data")
    attributes = dict(data.attrib) if data is not None else {}
    return _Layer(
        element.attrib["type"],
        element.attrib.get("name", ""),
        attributes,
        tuple(_stored(port) for port in element.findall("input/port")),
        {port.attrib["id"]: _stored(port) for port in element.findall("output/port")},
        attributes.get("element_type", ""),
    )


def _stored(port: ElementTree.Element) -> Stored:
    shape = tuple(int(dim.text or "") for dim in port.findall("dim"))
    precision = port.attrib.get("precision", "FP32")
    if min(shape, default=1) < 0:
        raise ValueError(f"a shape {shape}")
    return Stored(shape, _WIDTHS.get(precision, 4), precision in _EIGHT_BITS)


def _product(attributes: Mapping[str, str], left: Shape, _right: Shape, output: Shape) -> int:
    transposed = attributes.get("transpose_a", "false") in ("true", "1")
    return math.prod(output) * left[-2 if transposed else -1]


# Kernels are [channels out, channels in, height, width], and [channels in, channels out, height, width] of
# transposed convolutions; those of groups have the groups before.
_MACS: dict[str, Callable[[Mapping[str, str], Shape, Shape, Shape], int]] = {
    "Convolution": lambda _, _image, kernel, output: math.prod(output) * math.prod(kernel[1:]),
    "GroupConvolution": lambda _, _image, kernel, output: math.prod(output) * math.prod(kernel[2:]),
    "ConvolutionBackpropData": lambda _, image, kernel, _output: math.prod(image) * math.prod(kernel[1:]),
    "GroupConvolutionBackpropData": lambda _, image, kernel, _output: (
        math.prod(image) * math.prod(kernel[2:])
    ),
    "MatMul": _product,
    "Einsum": lambda data, left, right, _output: einsum_macs(data["equation"], (left, right)),
}
