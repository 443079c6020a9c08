"""What TensorRT is known to refuse, found in an ONNX file before any time is spent on building.

The oldest TensorRT that is meant is 10.3; some of these have been taken since. Sources: the support matrix
of NVIDIA's ONNX parser, what the parser itself answers, and the notes on ``DataType.UINT8`` in TensorRT's
documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeseg.errors import EngineBuildError
from edgeseg.runtimes.onnx_graph import FLOAT, INT32, INTEGERS, UINT8, Graph, Node, Tensor, read_graph

REFUSED_OPS = frozenset({
    "AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "CenterCropPad", "Col2Im", "Compress", "ConcatFromSequence", "ConvInteger", "DFT", "DeformConv", "Det",
    "DynamicQuantizeLinear", "ImageDecoder", "MatMulInteger", "MaxRoiPool", "MaxUnpool", "MelWeightMatrix",
    "Multinomial", "NegativeLogLikelihoodLoss", "Optional", "OptionalGetElement", "OptionalHasElement",
    "QLinearConv", "QLinearMatMul", "RegexFullMatch", "SequenceAt", "SequenceConstruct", "SequenceEmpty",
    "SequenceErase", "SequenceInsert", "SequenceLength", "SequenceMap", "SoftmaxCrossEntropyLoss",
    "SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit", "TfIdfVectorizer", "Unique",
})  # fmt: skip
"""Standard operations that NVIDIA's parser does not know."""

_QUANTISING = ("QuantizeLinear", "DequantizeLinear")
_SHOWN = 5
_EXPORT_AGAIN = "export the model with --target jetson, whose graphs are free of it"


@dataclass(frozen=True)
class Finding:
    """A part of a graph that TensorRT refuses.

    Args:
        node: Which node, as it is named in the file.
        problem: What is wrong with it.
        cure: What to change, as a clause.
    """

    node: str
    problem: str
    cure: str

    def __str__(self) -> str:
        return f"{self.node}: {self.problem} (cure: {self.cure})"


def refuse_known_bad(source: str, data: bytes) -> None:
    """Let no ONNX file through to TensorRT that it is known to refuse.

    Args:
        source: The model file, for messages.
        data: Its bytes.

    Raises:
        EngineBuildError: It holds such a node; the message names the first of them and their cures.
    """
    try:
        found = findings_of(read_graph(data))
    except ValueError as error:
        raise EngineBuildError(
            source,
            expected="an ONNX model",
            found=f"damaged bytes ({error})",
            next_step="Export the bundle again.",
        ) from error
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise EngineBuildError(
            source,
            expected="a graph that TensorRT takes",
            found="; ".join(map(str, found[:_SHOWN])) + more,
            next_step="Change the model or the export as said, and export the bundle again.",
        )


def findings_of(graph: Graph) -> list[Finding]:
    """Every node that TensorRT 10.3 is known to refuse, in the graph's order."""
    types = _types(graph)
    found: list[Finding] = []
    for node in graph.nodes:
        found += _unknown_operation(node)
        found += _quantisation(node, graph.constants)
        found += _resize(node)
        found += _uint8(node, graph.inputs, types)
    return found


def _unknown_operation(node: Node) -> Iterator[Finding]:
    if node.domain not in ("", "ai.onnx"):
        yield Finding(
            str(node),
            f"{node.op} is of the domain {node.domain!r}, and no plugin of that name is loaded",
            "use standard operations",
        )
    elif node.op in REFUSED_OPS:
        cure = _EXPORT_AGAIN if node.op.startswith("QLinear") or "Integer" in node.op else "use another layer"
        yield Finding(str(node), f"the parser has no {node.op}", cure)


def _quantisation(node: Node, constants: Mapping[str, Tensor]) -> Iterator[Finding]:
    if node.op not in _QUANTISING:
        return
    given = constants.get(node.inputs[0])
    if node.op == "DequantizeLinear" and given is not None and given.dtype == INT32:
        yield Finding(
            str(node),
            f"{given.name!r} is an int32 bias between quantised tensors",
            f"leave biases in floating point (QuantizeBias=False), or {_EXPORT_AGAIN}",
        )
    zero_point = constants.get(node.inputs[2]) if len(node.inputs) > 2 else None
    if zero_point is not None and not zero_point.is_zero:
        yield Finding(
            str(node),
            f"its zero point {zero_point.name!r} is not 0: quantisation is asymmetric",
            f"quantise symmetrically (ActivationSymmetric=True), or {_EXPORT_AGAIN}",
        )
    elif zero_point is not None and zero_point.dtype == UINT8:
        yield Finding(
            str(node),
            f"its zero point {zero_point.name!r} is uint8",
            f"quantise to int8, or {_EXPORT_AGAIN}",
        )


def _resize(node: Node) -> Iterator[Finding]:
    if node.op == "Resize" and node.text("coordinate_transformation_mode") == "tf_half_pixel_for_nn":
        yield Finding(
            str(node),
            "it resizes by the rule 'tf_half_pixel_for_nn'",
            "enlarge by whole factors, which are exported as 'asymmetric', or resize bilinearly",
        )


def _uint8(node: Node, inputs: Sequence[str], types: Mapping[str, int]) -> Iterator[Finding]:
    if node.op == "Cast":
        source = types.get(node.inputs[0], 0)
        if node.number("to", FLOAT) == UINT8 and source in INTEGERS and source != UINT8:
            yield Finding(str(node), "it casts an integer to uint8", "cast to float first, and that to uint8")
        return
    if any(types.get(name) == UINT8 for name in node.inputs if name in inputs):
        yield Finding(
            str(node), "it takes the uint8 input as it is", "cast the input to float before anything else"
        )


def _types(graph: Graph) -> dict[str, int]:
    """Element types of the tensors, as described or as their makers tell."""
    types = {name: value.dtype for name, value in graph.values.items() if value.dtype}
    for node in graph.nodes:
        if node.op == "Cast":
            types.setdefault(node.outputs[0], node.number("to", FLOAT))
        elif node.op in ("ArgMax", "ArgMin", "Shape"):
            types.setdefault(node.outputs[0], INTEGERS[-1])
    return types
