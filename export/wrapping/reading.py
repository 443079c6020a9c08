"""How a foreign model's input and output are to be read: what is asked of its owner, and what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeseg.export.wrapping.pixels import Pixels
from edgeseg.export.wrapping.tensors import Tensor, shown
from edgeseg.training.pixel_scales import Order

Layout = Literal["NHWC", "NCHW"]
OutputLayout = Literal["NHWC", "NCHW", "plane"]
Kind = Literal["class ids", "scores", "threshold"]


@dataclass(frozen=True)
class Asked:
    """What only its owner knows of a foreign model.

    Args:
        pixel_scale: One of ``PIXEL_SCALES``: what its training made of pixels of 0 to 255.
        channel_order: ``rgb`` or ``bgr``: the order of colours that it takes; ``None``: its scale's.
        size: Height and width of its input, where the file leaves them open.
        output_name: Which of several outputs gives the classes.
        output_layout: ``NHWC`` or ``NCHW``, where the output's shape can be read both ways.
        threshold: Above which the one channel of a model of two classes means the second.
    """

    pixel_scale: str | None = None
    channel_order: str | None = None
    size: tuple[int, int] | None = None
    output_name: str | None = None
    output_layout: str | None = None
    threshold: float | None = None


@dataclass(frozen=True)
class InputReading:
    tensor: Tensor
    layout: Layout
    height: int
    width: int
    pixels: Pixels
    order: Order

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The input's own shape, batch 1."""
        if self.layout == "NHWC":
            return (1, self.height, self.width, 3)
        return (1, 3, self.height, self.width)


@dataclass(frozen=True)
class OutputReading:
    """``layout`` is ``plane`` for a map without a dimension of channels, or with one of size 1.

    ``threshold`` is in the numbers that the output really holds: codes, where it is quantised.
    """

    tensor: Tensor
    layout: OutputLayout
    height: int
    width: int
    kind: Kind
    threshold: float = 0.0


@dataclass(frozen=True)
class Reading:
    input: InputReading
    output: OutputReading
    classes: int

    @property
    def resized(self) -> bool:
        """Whether the output has another size than the input."""
        made, wanted = self.output, self.input
        return (made.height, made.width) != (wanted.height, wanted.width)


def described(tensor: Tensor, layout: str) -> str:
    """A tensor in the manifest's words."""
    codes = f", {tensor.quantisation}" if tensor.quantisation else ""
    return f"{shown(tensor.dtype, tensor.shape)}, {layout}{codes}"
