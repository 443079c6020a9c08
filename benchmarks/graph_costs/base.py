"""Multiply-accumulates and bytes of a graph, whatever file it was read from.

Counted are the layers that multiply: convolutions of every kind, dense layers, matrix products and
``einsum``, with the products that fall on padding, as is usual in publications. Additions, activations,
poolings, resizes and the argmax are not.

A layer's bytes are those of its input, its weights and its output, each once and at the width in which they
lie in memory: one byte for what a quantised graph keeps in 8 bits. A runtime that keeps a part of them in its
caches moves fewer, and what is not counted comes on top; so they are the traffic of a machine that computes
layer by layer, and the same for every runtime.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeseg.errors import BundleError

Shape = Sequence[int]


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in memory: its shape, and the bytes of one value."""

    shape: tuple[int, ...]
    width: int
    integer: bool = False

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.width


@dataclass(frozen=True)
class LayerCost:
    """A layer that multiplies.

    Args:
        kind: The format's name of the operation.
        name: The file's name of the layer, or of its output.
        macs: Multiply-accumulates.
        bytes: Read and written.
        wide_bytes: Those of them that are values of 32 bits.
        integer: Both of what it multiplies are stored in 8 bits.
    """

    kind: str
    name: str
    macs: int
    bytes: int
    wide_bytes: int
    integer: bool


@dataclass(frozen=True)
class GraphCost:
    """The layers of a graph that multiply, in the order of the file."""

    layers: tuple[LayerCost, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)

    @property
    def integer_macs(self) -> int:
        """Those of them whose factors are stored in 8 bits."""
        return sum(layer.macs for layer in self.layers if layer.integer)

    @property
    def bytes(self) -> int:
        """Bytes that the layers read and write, as the file has them."""
        return sum(layer.bytes for layer in self.layers)

    @property
    def half_bytes(self) -> int:
        """The same where a runtime keeps values of 32 bits in 16, as one that computes in bfloat16 does."""
        return self.bytes - sum(layer.wide_bytes for layer in self.layers) // 2


def layer(kind: str, name: str, macs: int, factors: tuple[Stored, Stored], output: Stored) -> LayerCost:
    """A layer of two factors, such as an image and a kernel."""
    tensors = (*factors, output)
    moved = sum(tensor.bytes for tensor in tensors)
    wide = sum(tensor.bytes for tensor in tensors if tensor.width == 4)
    return LayerCost(kind, name, macs, moved, wide, all(factor.integer for factor in factors))


def einsum_macs(equation: str, shapes: Sequence[Shape]) -> int:
    """Multiply-accumulates of ``einsum`` of these operands: the product of all different axes."""
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    sizes: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for axis, size in zip(_axes(term, len(shape)), shape, strict=True):
            # An axis of an ellipsis may be of size 1 in one operand, and repeated.
            sizes[axis] = max(sizes.get(axis, 1), size)
    return math.prod(sizes.values())


def unreadable(source: str, found: str) -> BundleError:
    """What a counter says of a file that it cannot count."""
    return BundleError(
        source,
        expected="a graph whose layers and shapes can be read",
        found=found,
        next_step="Export it again with a static size; 'edgeseg verify' says whether it is whole.",
    )


def _axes(term: str, rank: int) -> list[str]:
    """A label for each axis; those of an ellipsis are numbered from its end."""
    before, dots, after = term.partition("...")
    hidden = rank - len(before) - len(after) if dots else 0
    return [*before, *(f"...{number}" for number in range(hidden, 0, -1)), *after]
