"""What a foreign model gives: which output, in which layout, and what its numbers mean."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from edgeseg.errors import DataError, UsageError
from edgeseg.export.wrapping.reading import Asked, InputReading, Kind, OutputLayout, OutputReading
from edgeseg.export.wrapping.tensors import RawModel, Tensor
from edgeseg.labels import LabelSet

_Read = tuple[OutputLayout, int, int]


def chosen_output(raw: RawModel, asked: Asked) -> Tensor:
    """The output that gives the classes.

    Raises:
        UsageError: There are several, and none or an unknown one was named.
    """
    listed = ", ".join(map(str, raw.outputs))
    if asked.output_name is None and len(raw.outputs) == 1:
        return raw.outputs[0]
    named = [t for t in raw.outputs if asked.output_name in (t.name, t.alias)] if asked.output_name else []
    if len(named) != 1:
        raise UsageError(
            "--output-name",
            expected=f"the one of the outputs of {raw.path} that gives the classes: {listed}",
            found=repr(asked.output_name) if asked.output_name else f"none, and there are {len(raw.outputs)}",
            next_step="Name one of them.",
        )
    return named[0]


def read_output(
    path: Path, tensor: Tensor, given: InputReading, asked: Asked, labels: LabelSet
) -> OutputReading:
    """That output, by the shape that it really has.

    Raises:
        UsageError: It is no map of the input, or can be read in several ways.
        DataError: The labels are not as many as its classes.
    """
    layout, height, width = _output_layout(path, tensor, given, asked, labels)
    kind = "scores" if layout != "plane" else _plane_kind(path, tensor, asked, labels)
    if kind != "threshold":
        _refuse_threshold(tensor, asked)
    threshold = asked.threshold or 0.0
    if tensor.quantisation is not None:
        threshold = threshold / tensor.quantisation.scale + tensor.quantisation.zero
    return OutputReading(tensor, layout, height, width, kind, threshold)


def _output_layout(path: Path, tensor: Tensor, given: InputReading, asked: Asked, labels: LabelSet) -> _Read:
    every = _ways_to_read(tensor, asked)
    if not every:
        raise UsageError(
            path,
            expected="an output [1, H, W], [1, H, W, classes] or [1, classes, H, W]",
            found=str(tensor),
            next_step="Name another --output-name, or convert the model without reshaping its map.",
        )
    fitting = [(read, channels) for read, channels in every if _in_proportion(read, given)]
    if not fitting:
        raise UsageError(
            path,
            expected=f"an output map in the proportions of the input, {given.height}x{given.width}",
            found=str(tensor),
            next_step="Name another --output-name; a map that was cropped or padded cannot be wrapped.",
        )
    right = [read for read, channels in fitting if channels in (1, len(labels))]
    if not right:
        raise DataError(
            f"labels {labels.name!r}",
            expected=f"{fitting[0][1]} classes, as many as {path} gives in {tensor}",
            found=f"{len(labels)}: {', '.join(labels.names)}",
            next_step="List the model's classes in their order, or name another --output-name.",
        )
    if len(right) > 1:
        raise UsageError(
            "--output-layout",
            expected=f"NHWC or NCHW, for {tensor} of {path} can be read both ways",
            found="none",
            next_step="Give the one that the model has.",
        )
    return right[0]


def _ways_to_read(tensor: Tensor, asked: Asked) -> list[tuple[_Read, int]]:
    """Layout, height and width, and the number of channels, of every way; those told apart by layout."""
    shape = [int(size or 0) for size in tensor.shape]
    if asked.output_layout not in (None, "NHWC", "NCHW"):
        raise UsageError(
            "--output-layout",
            expected="NHWC or NCHW",
            found=repr(asked.output_layout),
            next_step="Choose one, or leave it out.",
        )
    if len(shape) == 2:
        return [(("plane", shape[0], shape[1]), 1)]
    if len(shape) not in (3, 4) or shape[0] != 1:
        return []
    if len(shape) == 3:
        return [(("plane", shape[1], shape[2]), 1)]
    _, a, b, c = shape
    ways: list[tuple[_Read, int]] = []
    if asked.output_layout != "NCHW":
        ways.append((("NHWC" if c > 1 else "plane", a, b), c))
    if asked.output_layout != "NHWC":
        ways.append((("NCHW" if a > 1 else "plane", b, c), a))
    return ways


def _in_proportion(read: _Read, given: InputReading) -> bool:
    """The same part of the input in both directions, but for a pixel that rounding gives or takes."""
    _, height, width = read
    if not (height and width):
        return False
    rows, columns = given.height / height, given.width / width
    return abs(given.height - columns * height) < columns and abs(given.width - rows * width) < rows


def _plane_kind(path: Path, tensor: Tensor, asked: Asked, labels: LabelSet) -> Kind:
    if asked.threshold is not None:
        if not math.isfinite(asked.threshold):
            raise UsageError(
                "--threshold", expected="a number", found=str(asked.threshold), next_step="Correct it."
            )
        if len(labels) != 2:
            raise UsageError(
                "--threshold",
                expected="labels of two classes",
                found=f"{len(labels)} in {labels.name!r}",
                next_step="Leave it out, or give the labels of the two.",
            )
        return "threshold"
    whole = np.issubdtype(np.dtype(tensor.dtype), np.integer) or tensor.dtype == "bool"
    if whole and tensor.quantisation is None:
        return "class ids"
    if len(labels) == 2 or tensor.quantisation is not None:
        raise UsageError(
            "--threshold",
            expected=f"the value of {tensor} of {path} above which a pixel is of the second class",
            found="none",
            next_step="Give 0.5 for a probability, or 0 for a logit; class ids must be whole numbers.",
        )
    return "class ids"


def _refuse_threshold(tensor: Tensor, asked: Asked) -> None:
    if asked.threshold is not None:
        raise UsageError(
            "--threshold",
            expected=f"none, for {tensor} has a score for every class",
            found=str(asked.threshold),
            next_step="Leave it out.",
        )
