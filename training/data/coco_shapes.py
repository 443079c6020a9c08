"""A shape of COCO's annotations as pixels: polygons, and run lengths in both of their forms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import DataError

RunLengths = Any  # pycocotools' own
_FEWEST_NUMBERS = 6


@dataclass(frozen=True)
class Shape:
    """One annotation.

    Attributes:
        class_id: What it shows.
        crowd: Whether it marks a group that was not taken apart.
        segmentation: Polygons ``[[x, y, x, y, …], …]``, or run lengths
            ``{"size": [height, width], "counts": …}`` with the counts as a list or as COCO's text.
        where: File and annotation, for messages.
    """

    class_id: int
    crowd: bool
    segmentation: Any
    where: str


def run_lengths(shape: Shape, height: int, width: int) -> RunLengths:
    """The pixels of a shape by the rules of pycocotools, packed: of hundreds in an image each is small.

    Raises:
        DataError: The shape is malformed, or was drawn for an image of another size.
    """
    from pycocotools import mask

    given = shape.segmentation
    if not isinstance(given, list):
        counts = _counts(shape, given, height, width)
        return mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    if not given:
        raise _malformed(shape, "no polygon")
    return mask.merge(mask.frPyObjects([_polygon(shape, polygon) for polygon in given], height, width))


def area(runs: RunLengths) -> int:
    """How many pixels."""
    from pycocotools import mask

    return int(mask.area(runs))


def decoded(runs: RunLengths) -> npt.NDArray[np.bool_]:
    """The pixels, ``bool [height, width]``."""
    from pycocotools import mask

    pixels: npt.NDArray[np.bool_] = mask.decode(runs).astype(bool)
    return pixels


def _polygon(shape: Shape, polygon: Any) -> list[float]:
    # With four numbers pycocotools would take it for a box.
    numbers = isinstance(polygon, list) and all(
        isinstance(n, int | float) and not isinstance(n, bool) for n in polygon
    )
    if not numbers or len(polygon) < _FEWEST_NUMBERS or len(polygon) % 2 or not np.isfinite(polygon).all():
        raise _malformed(shape, f"a polygon {str(polygon)[:80]}")
    return [float(n) for n in polygon]


def _counts(shape: Shape, given: Any, height: int, width: int) -> list[int]:
    """Run lengths that cover the image exactly: pycocotools leaves what they do not cover undefined."""
    if not isinstance(given, dict) or given.get("size") != [height, width]:
        size = given.get("size") if isinstance(given, dict) else str(given)[:80]
        raise _malformed(shape, f"run lengths for {size} in an image of [{height}, {width}]")
    counts = given.get("counts")
    if isinstance(counts, str):
        counts = _parsed(counts.encode())
    if not isinstance(counts, list) or not all(isinstance(n, int) and n >= 0 for n in counts):
        raise _malformed(shape, "counts that are no run lengths")
    if sum(counts) != height * width:
        raise _malformed(shape, f"run lengths of {sum(counts)} pixels in an image of {height * width}")
    return counts


def _parsed(text: bytes) -> list[int]:
    """COCO's text as run lengths: five bits in each character, and from the fourth on differences."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return counts


def _malformed(shape: Shape, found: str) -> DataError:
    return DataError(
        shape.where,
        expected="polygons [[x, y, …], …] of three points or more, or run lengths of the image's size",
        found=found,
        next_step="Correct or remove the annotation, or export the file again.",
    )
