"""What a foreign model takes: its layout, its size, and how pixels become its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg.errors import UsageError
from edgeseg.export.foreign import fitting_size
from edgeseg.export.wrapping.pixels import Pixels
from edgeseg.export.wrapping.reading import Asked, InputReading, Layout
from edgeseg.export.wrapping.tensors import RawModel, Tensor, code_range
from edgeseg.training.pixel_scales import PIXEL_SCALES, channel_order

_SMALLEST, _LARGEST = 8, 8192  # as the manifest has it
_CHANNELS = 3
_INPUT_TYPES = ("float32", "float16", "uint8", "int8")
_LEAST_OVERLAP = 0.55
"""Of the values that pixels take and those that the codes can hold. 0to1 in place of minus1to1 gives half."""


def read_input(raw: RawModel, asked: Asked) -> InputReading:
    """The one input of a model, as frames are to be brought to it.

    Raises:
        UsageError: It is no image, or what must be known of it was not told or does not fit.
    """
    if len(raw.inputs) != 1:
        raise UsageError(
            raw.path,
            expected="one input, an image",
            found=f"{len(raw.inputs)}: {', '.join(map(str, raw.inputs))}",
            next_step="Convert the model so that everything but the image is a constant.",
        )
    tensor = raw.inputs[0]
    layout = _input_layout(raw.path, tensor)
    sizes = tensor.shape[1:3] if layout == "NHWC" else tensor.shape[2:]
    height, width = _size(raw.path, sizes, asked.size)
    pixels = _pixels(raw.path, tensor, asked)
    order = channel_order(asked.channel_order, pixels.name)
    return InputReading(tensor, layout, height, width, pixels, order)


def _input_layout(path: Path, tensor: Tensor) -> Layout:
    shape = tensor.shape
    fitting: list[Layout] = []
    if len(shape) == 4 and shape[0] in (None, 1) and tensor.dtype in _INPUT_TYPES:
        fitting += ["NHWC"] if shape[3] == _CHANNELS else []
        fitting += ["NCHW"] if shape[1] == _CHANNELS else []
    if len(fitting) != 1:
        raise UsageError(
            path,
            expected=f"an input [1, H, W, 3] or [1, 3, H, W] of {', '.join(_INPUT_TYPES)}",
            found=str(tensor),
            next_step="Convert the model with batch 1 and three channels.",
        )
    return fitting[0]


def _size(path: Path, known: Sequence[int | None], asked: tuple[int, int] | None) -> tuple[int, int]:
    height, width = fitting_size(path, known, asked)
    if not all(_SMALLEST <= side <= _LARGEST for side in (height, width)):
        raise UsageError(
            path,
            expected=f"an input of {_SMALLEST} to {_LARGEST} pixels a side",
            found=f"{height}x{width}",
            next_step="Convert the model for frames of a camera.",
        )
    return height, width


def _pixels(path: Path, tensor: Tensor, asked: Asked) -> Pixels:
    quantised = tensor.quantisation is not None
    if tensor.dtype == "int8" and not quantised:
        raise UsageError(
            path,
            expected="an int8 input with scale and zero point",
            found=f"{tensor}, which says neither",
            next_step="Convert the model again, with a float32 or uint8 input for instance.",
        )
    raw_pixels = tensor.dtype == "uint8" and not quantised
    name = asked.pixel_scale or ("none" if raw_pixels else None)
    known = ["none"] if raw_pixels else list(PIXEL_SCALES)
    if name not in known:
        raise UsageError(
            "--pixel-scale",
            expected=f"what training made of the pixels for the input of {path}: one of {', '.join(known)}",
            found=name or f"none, and it takes {_holding(tensor)}",
            next_step="Give what its training did with an image, for instance --pixel-scale imagenet.",
        )
    pixels = Pixels(name, tensor.dtype, tensor.quantisation)
    if quantised:
        _refuse_codes_of_other_values(pixels, tensor)
    return pixels


def _refuse_codes_of_other_values(pixels: Pixels, tensor: Tensor) -> None:
    low, high = _held(tensor)
    least, most = pixels.span
    shared = max(0.0, min(high, most) - max(low, least)) / (max(high, most) - min(low, least))
    if shared < _LEAST_OVERLAP:
        raise UsageError(
            f"--pixel-scale {pixels.name}",
            expected=f"the values that the model was quantised for: it takes {_holding(tensor)}",
            found=f"pixels that become {least:.3g} to {most:.3g}",
            next_step="Give the scale that its calibration images had.",
        )


def _held(tensor: Tensor) -> tuple[float, float]:
    """The values that the codes of a quantised tensor stand for."""
    if tensor.quantisation is None:
        raise ValueError(f"{tensor} is not quantised")
    low, high = (tensor.quantisation.scale * (q - tensor.quantisation.zero) for q in code_range(tensor.dtype))
    return low, high


def _holding(tensor: Tensor) -> str:
    if tensor.quantisation is None:
        return f"{tensor.dtype} pixels"
    low, high = _held(tensor)
    return f"{tensor.dtype} codes of {low:.3g} to {high:.3g}"
