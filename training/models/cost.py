"""How many multiply-accumulates a model needs for one image, counted in its TensorFlow graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    Counter = Callable[[tf.Operation], int]


def macs(model: keras.Model) -> int:
    """Multiply-accumulates of one forward pass of a single image.

    Convolutions (plain, grouped, depthwise, separable, dilated, transposed), dense layers, matrix products
    and ``einsum`` count, with the products that fall on padding, as is usual in publications. Additions,
    activations, norms, poolings and resizes do not.

    Args:
        model: Of one input of a static size; its batch counts as 1.

    Raises:
        UsageError: It has several inputs, or one without a static size.
    """
    import tensorflow as tf

    shape = (1, *_input_shape(model))

    @tf.function(input_signature=[tf.TensorSpec(shape, model.inputs[0].dtype)])
    def forward(image: tf.Tensor) -> Any:
        return model(image, training=False)

    return _counted(forward.get_concrete_function().graph)


def _counted(graph: tf.Graph) -> int:
    """Keras writes all layers into one graph, those of nested models too; grouped convolutions are calls."""
    total = 0
    for op in graph.get_operations():
        if op.type in _COUNTERS:
            total += _COUNTERS[op.type](op)
        elif op.type in _CALLS:
            total += _counted(graph._get_function(op.get_attr("f").name).graph)
    return total


def _input_shape(model: keras.Model) -> tuple[int, ...]:
    shapes = [tuple(given.shape)[1:] for given in model.inputs]
    if len(shapes) != 1 or None in shapes[0]:
        raise UsageError(
            f"model {model.name!r}",
            expected="one input of a static size",
            found=", ".join(map(str, shapes)),
            next_step="Build it with a height and a width.",
        )
    return shapes[0]


def _convolution(op: tf.Operation) -> int:
    # Of a kernel [kh, kw, channels in / groups, channels out], each output value sees all but the last.
    return _elements(op.outputs[0]) * math.prod(op.inputs[1].shape[:-1])


def _depthwise(op: tf.Operation) -> int:
    return _elements(_unfolded(op)) * math.prod(op.inputs[1].shape[:2])


def _unfolded(op: tf.Operation) -> tf.Tensor:
    """The output of a depthwise convolution.

    TensorFlow writes a dilated one as a plain one on the image folded into the batch, with more pixels than
    there are; what unfolds it again has the right shape.
    """
    (output,) = op.outputs
    unfolding = [reader.outputs[0] for reader in output.consumers() if reader.type == "BatchToSpaceND"]
    return unfolding[0] if unfolding else output


def _transposed(op: tf.Operation) -> int:
    # Each value of the input meets all of its slice of a kernel [kh, kw, channels out, channels in].
    return _elements(op.inputs[2]) * math.prod(op.inputs[1].shape[:3])


def _product(transposed: str) -> Counter:
    def count(op: tf.Operation) -> int:
        inner = op.inputs[0].shape[-2 if op.get_attr(transposed) else -1]
        return _elements(op.outputs[0]) * int(inner)

    return count


def _einsum(op: tf.Operation) -> int:
    terms = op.get_attr("equation").decode().partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, operand in zip(terms, op.inputs, strict=True):
        for label, size in zip(_labels(term, len(operand.shape)), operand.shape, strict=True):
            # An axis of an ellipsis may be of size 1 in one operand, and repeated.
            sizes[label] = max(sizes.get(label, 1), int(size))
    return math.prod(sizes.values())


def _labels(term: str, rank: int) -> Sequence[str]:
    """One label for each axis of an operand; those of an ellipsis are numbered from its end."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return [*before, *(f"...{number}" for number in range(hidden, 0, -1)), *after]


def _elements(tensor: tf.Tensor) -> int:
    return math.prod(tensor.shape)


_CALLS = ("PartitionedCall", "StatefulPartitionedCall")
_COUNTERS: dict[str, Counter] = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "MatMul": _product("transpose_a"),
    "BatchMatMul": _product("adj_x"),
    "BatchMatMulV2": _product("adj_x"),
    "BatchMatMulV3": _product("adj_x"),
    "Einsum": _einsum,
}
