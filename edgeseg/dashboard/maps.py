"""Pictures of where models differ from the truth and from one another, and of how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.labels import Color, Mask
from edgeseg.resize import Image

WRONG: Color = (229, 57, 53)
IGNORED: Color = (38, 40, 46)
TWO_CLASSES: Color = (255, 160, 0)
MORE_CLASSES: Color = (171, 71, 188)
_SHARE = 0.82
"""Of the colour in what is marked; the rest is the picture."""


def error_map(image: Image, truth: Mask, prediction: Mask, ignore_index: int) -> Image:
    """The image in pale grey, with what is wrong in ``WRONG`` and what has no label in ``IGNORED``.

    All are of one size: ``uint8 [H, W, 3]`` RGB and class ids ``uint8 [H, W]``.
    """
    ignored = truth == ignore_index
    picture = _pale(image)
    _mark(picture, (truth != prediction) & ~ignored, WRONG)
    _mark(picture, ignored, IGNORED)
    return picture


def disagreement_map(image: Image, predictions: Sequence[Mask]) -> Image:
    """The image in pale grey, marked where the models name two classes, or more than two.

    Args:
        image: ``uint8 [H, W, 3]`` RGB.
        predictions: At least one class map ``uint8 [H, W]``.
    """
    classes = distinct_classes(predictions)
    picture = _pale(image)
    _mark(picture, classes == 2, TWO_CLASSES)
    _mark(picture, classes > 2, MORE_CLASSES)
    return picture


def distinct_classes(predictions: Sequence[Mask]) -> npt.NDArray[np.int64]:
    """Of each pixel, how many different classes the maps ``uint8 [H, W]`` name: ``int64 [H, W]``."""
    ordered = np.sort(np.stack(predictions), axis=0)
    different: npt.NDArray[np.int64] = 1 + (ordered[1:] != ordered[:-1]).sum(axis=0, dtype=np.int64)
    return different


def confidence_map(confidence: Mask) -> Image:
    """Confidence ``uint8 [H, W]`` as a picture ``uint8 [H, W, 3]`` RGB: dark is unsure, yellow is sure."""
    bgr = cv2.applyColorMap(confidence, cv2.COLORMAP_VIRIDIS)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def confidence_colors(steps: int = 6) -> list[Color]:
    """The colours of :func:`confidence_map` from 0 to 1, in equal steps."""
    levels = np.linspace(0, 255, steps).round().astype(np.uint8)
    return [(int(r), int(g), int(b)) for r, g, b in confidence_map(levels[np.newaxis])[0]]


def _pale(image: Image) -> Image:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return np.asarray(
        cv2.cvtColor(cv2.convertScaleAbs(grey, alpha=0.5, beta=105), cv2.COLOR_GRAY2RGB), np.uint8
    )


def _mark(picture: Image, where: npt.NDArray[np.bool_], color: Color) -> None:
    blended = (1 - _SHARE) * picture[where] + _SHARE * np.array(color)
    picture[where] = blended.round().astype(np.uint8)
