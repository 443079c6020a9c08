"""What keeps a node of an ONNX file off a Jetson's DLA, by NVIDIA's texts; each reason names its own.

The ranges of kernels, windows, strides, paddings and dilations were written down without the text at hand,
and their reasons say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgeseg.runtimes.onnx_graph import FLOAT, FLOAT16, INT8, INT32, INT64, UINT8, Graph, Node

RESTRICTIONS = "TensorRT documentation, 'DLA Supported Layers and Restrictions'"
RANGES = f"{RESTRICTIONS}; the range from memory, look it up"
OPERATORS = "NVIDIA Deep-Learning-Accelerator-SW, operators/README.md, 'Operator Support Matrix'"

_NATIVE = frozenset({
    "Abs", "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose", "Cos",
    "Equal", "Gemm", "Identity", "LRN", "LeakyRelu", "MatMul", "Max", "MaxPool", "Mul", "PRelu", "Relu",
    "Reshape", "Resize", "Sigmoid", "Slice", "Softmax", "Sub", "Sum", "Tanh", "Transpose", "Upsample",
})  # fmt: skip
"""Operations that the matrix calls native on Orin through TensorRT; Identity does nothing."""

_ELEMENTWISE = ("Add", "Sub", "Mul", "Max", "Sum", "Transpose", "Reshape", "Softmax")
_NAMES = {FLOAT: "fp32", UINT8: "uint8", INT8: "int8", INT32: "int32", INT64: "int64", FLOAT16: "fp16"}
_LARGEST_DIMENSION = 8192
_LARGEST_BATCH = 4096
_LARGEST_SCALE = 32
_CHANNEL_AXES = (1, -3)

_LOGITS = "export with --output logits and take the largest class elsewhere"
_NO_CONFIDENCE = "export with --output mask or logits"
_NO_QDQ = "give the DLA the fp16 file"
_NO_GLOBAL_POOL = "leave out squeeze-and-excitation and image pooling, or pool over a fixed window"
_UPSAMPLING = "upsample by Conv2DTranspose with kernel 2 and stride 2, which needs no padding, or by a resize"
_CONTRACT = "nothing: the contract's input is uint8, and the GPU prepares it"
_CHANGES = {
    "ArgMax": _LOGITS,
    "ReduceMax": _NO_CONFIDENCE,
    "Round": _NO_CONFIDENCE,
    "QuantizeLinear": _NO_QDQ,
    "DequantizeLinear": _NO_QDQ,
    "GlobalAveragePool": _NO_GLOBAL_POOL,
    "ReduceMean": _NO_GLOBAL_POOL,
    "HardSwish": "use ReLU",
    "HardSigmoid": "use a sigmoid",
}


@dataclass(frozen=True)
class Reason:
    """Why a node would leave: what is so, which text says that it must not be, and what to change."""

    reason: str
    source: str
    change: str


@dataclass(frozen=True)
class Layer:
    """A node in its graph."""

    node: Node
    graph: Graph

    def shape(self, name: str) -> tuple[int, ...]:
        value = self.graph.values.get(name)
        return value.shape if value is not None else ()

    def dtype(self, name: str) -> str:
        """As people call it; empty where the file does not tell."""
        value = self.graph.values.get(name)
        return _NAMES.get(value.dtype, f"type {value.dtype}") if value is not None and value.dtype else ""

    @property
    def kernel(self) -> tuple[int, ...]:
        weights = self.graph.constants.get(self.node.inputs[1])
        return self.node.numbers("kernel_shape") or (weights.shape[2:] if weights else ())


def first_reason(node: Node, graph: Graph) -> Reason | None:
    """The first reason that the node has to leave the DLA; ``None`` where none is known."""
    layer = Layer(node, graph)
    for rule in (_operation, _types, _sizes, *_RULES.get(node.op, ())):
        for reason in rule(layer):
            return reason
    return None


def _operation(layer: Layer) -> Iterator[Reason]:
    node = layer.node
    if node.op == "Cast":
        kinds = f"{layer.dtype(node.inputs[0])} to {layer.dtype(node.outputs[0])}"
        change = _CONTRACT if node.inputs[0] in layer.graph.inputs else _LOGITS
        yield Reason(f"casts {kinds}: a DLA computes fp16 and int8 alone", RESTRICTIONS, change)
    elif node.op not in _NATIVE:
        change = _CHANGES.get(node.op, "use another layer, where there is one")
        yield Reason(f"{node.op} is no native operation of Orin's DLA", OPERATORS, change)


def _types(layer: Layer) -> Iterator[Reason]:
    for name in (*layer.node.inputs, *layer.node.outputs):
        dtype = layer.dtype(name)
        if name not in layer.graph.constants and dtype not in ("", "fp16", "int8"):
            yield Reason(f"{name!r} is {dtype}, not fp16 or int8", RESTRICTIONS, _NO_QDQ)


def _sizes(layer: Layer) -> Iterator[Reason]:
    for name in layer.node.outputs:
        shape = layer.shape(name)
        said = f"{name!r} {list(shape)}"
        if any(size > _LARGEST_DIMENSION for size in shape[-3:]):
            yield Reason(f"{said} exceeds {_LARGEST_DIMENSION}", RESTRICTIONS, "use a smaller input size")
        if math.prod(shape[:-3]) > _LARGEST_BATCH:
            yield Reason(f"{said} is a batch over {_LARGEST_BATCH}", RESTRICTIONS, "use a batch of 1")


def _convolution(layer: Layer) -> Iterator[Reason]:
    if len(layer.kernel) != 2:
        yield Reason("only two-dimensional convolutions run there", RESTRICTIONS, "use two dimensions")
    yield from _within("kernel", layer.kernel, 1, 32)
    yield from _within("stride", layer.node.numbers("strides"), 1, 8)
    yield from _within("padding", layer.node.numbers("pads"), 0, 31)
    yield from _within("dilation", layer.node.numbers("dilations"), 1, 32)


def _transposed_convolution(layer: Layer) -> Iterator[Reason]:
    node = layer.node
    padded = any(node.numbers("pads")) or any(node.numbers("output_padding"))
    if padded or node.text("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        kernel = "×".join(map(str, layer.kernel))
        yield Reason(
            f"a transposed convolution {kernel} with padding, which must be 0", RESTRICTIONS, _UPSAMPLING
        )
    if node.number("group", 1) != 1 or any(dilation != 1 for dilation in node.numbers("dilations")):
        yield Reason("a transposed convolution that is grouped or dilated", RESTRICTIONS, _UPSAMPLING)
    yield from _within("kernel", layer.kernel, 1, 32)


def _pooling(layer: Layer) -> Iterator[Reason]:
    yield from _within("window", layer.node.numbers("kernel_shape"), 1, 8)
    yield from _within("stride", layer.node.numbers("strides"), 1, 16)
    yield from _within("padding", layer.node.numbers("pads"), 0, 7)


def _concatenation(layer: Layer) -> Iterator[Reason]:
    axis = layer.node.number("axis", 0)
    if axis not in _CHANNEL_AXES:
        yield Reason(f"joins along axis {axis}, not channels", RESTRICTIONS, "join channels")


def _resize(layer: Layer) -> Iterator[Reason]:
    node = layer.node
    mode = node.text("mode", "nearest")
    rule = node.text("coordinate_transformation_mode", "half_pixel")
    if mode not in ("nearest", "linear"):
        yield Reason(f"resizes by {mode!r}", RESTRICTIONS, "resize bilinearly or by nearest pixels")
    if mode == "linear" and not rule.endswith("half_pixel"):
        yield Reason(f"resizes bilinearly by {rule!r}", RESTRICTIONS, "resize by 'half_pixel', as Keras does")
    before, after = layer.shape(node.inputs[0]), layer.shape(node.outputs[0])
    if not _by_whole_factors(before, after):
        yield Reason(
            f"resizes {list(before)} to {list(after)}, not by whole factors up to {_LARGEST_SCALE}",
            RESTRICTIONS,
            "enlarge height and width by whole factors",
        )


def _by_whole_factors(before: Sequence[int], after: Sequence[int]) -> bool:
    if len(before) != 4 or len(after) != 4 or 0 in before or before[:2] != after[:2]:
        return False
    return all(a % b == 0 and a // b <= _LARGEST_SCALE for b, a in zip(before, after, strict=True))


def _matrix_product(layer: Layer) -> Iterator[Reason]:
    if not any(name in layer.graph.constants for name in layer.node.inputs[1:2]):
        yield Reason("multiplies two matrices that are both computed", OPERATORS, "leave out attention")


def _four_dimensions(layer: Layer) -> Iterator[Reason]:
    for name in layer.node.outputs:
        shape = layer.shape(name)
        if len(shape) not in (0, 4):
            yield Reason(
                f"{name!r} {list(shape)} is not [N, C, H, W]", RESTRICTIONS, "keep to four dimensions"
            )


def _within(what: str, sizes: Sequence[int], least: int, most: int) -> Iterator[Reason]:
    if any(not least <= size <= most for size in sizes):
        said = f"{what} {list(sizes)} is not from {least} to {most}"
        yield Reason(said, RANGES, f"use a {what} from {least} to {most}")


_RULES: dict[str, tuple[Callable[[Layer], Iterator[Reason]], ...]] = {
    "Conv": (_convolution,),
    "ConvTranspose": (_transposed_convolution,),
    "MaxPool": (_pooling,),
    "AveragePool": (_pooling,),
    "Concat": (_four_dimensions, _concatenation),
    "Resize": (_resize,),
    "Upsample": (_resize,),
    "MatMul": (_matrix_product, _four_dimensions),
    "Gemm": (_matrix_product,),
    **dict.fromkeys(_ELEMENTWISE, (_four_dimensions,)),
}
