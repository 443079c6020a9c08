"""A class map drawn over its frame, for people."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from edgeseg.errors import UsageError
from edgeseg.labels import LabelClass, LabelSet, Mask
from edgeseg.resize import Image

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_WHITE = (255, 255, 255)
_RED = (255, 70, 70)
_PANEL = (18, 18, 22)
_PANEL_ALPHA = 0.8
_SMALLEST_HEIGHT = 120
# Of each value of a pixel, the same pixel on an outline: 45 % of it, and 55 % white.
_LIGHTER = np.asarray(
    cv2.addWeighted(np.arange(256, dtype=np.uint8), 0.45, np.full(256, 255, np.uint8), 0.55, 0), np.uint8
).reshape(256)


def draw_overlay(
    frame: Image, mask: Mask, labels: LabelSet, alpha: float = 0.5, *, legend: bool = True
) -> Image:
    """Blend each pixel with its class's colour, and outline the classes.

    Args:
        frame: ``uint8 [H, W, 3]`` RGB; it is not changed.
        mask: Class ids ``uint8 [H, W]``. Ids that are no class, as the ignore index, are left as they are.
        labels: Names and colours of the classes.
        alpha: Share of the class colour, 0 to 1.
        legend: Name the classes in the upper left corner, where the frame is large enough for that.

    Returns:
        ``uint8 [H, W, 3]`` RGB.

    Raises:
        UsageError: Frame and mask differ in size, or ``alpha`` is out of range.
    """
    if not 0 <= alpha <= 1:
        raise UsageError("alpha", expected="from 0 to 1", found=str(alpha), next_step="Correct it.")
    if frame.shape[:2] != mask.shape:
        raise UsageError(
            "mask",
            expected=f"the frame's size, {list(frame.shape[:2])}",
            found=str(list(mask.shape)),
            next_step="Bring it there with edgeseg.resize.resize_mask.",
        )
    picture = np.empty(frame.shape, np.uint8)
    # In place: each array that is touched less is a third of a millisecond at 1280×720.
    cv2.applyColorMap(mask, _color_table(labels.classes), picture)
    cv2.addWeighted(frame, 1 - alpha, picture, alpha, 0, picture)
    if alpha:
        _draw_outlines(picture, mask)
        if int(mask.max(initial=0)) >= len(labels):
            cv2.copyTo(frame, np.asarray(mask >= len(labels), np.uint8), picture)
    if legend:
        _blend(picture, _legend_panel(labels.classes, *picture.shape[:2]), 0, 0)
    return picture


def draw_caption(picture: Image, text: str, *, warn: bool = False) -> Image:
    """A line of text in the lower left corner, in red where it warns.

    Args:
        picture: ``uint8 [H, W, 3]`` RGB; it is drawn on, and returned.
        text: ASCII: the font has nothing else.
        warn: Whether the line should catch the eye.
    """
    height, width = picture.shape[:2]
    if height < _SMALLEST_HEIGHT:
        return picture
    unit = _unit(height)
    (text_width, _), _ = cv2.getTextSize(text, _FONT, unit / 22, _thickness(unit))
    panel = np.full((2 * unit, min(text_width + 2 * unit, width), 3), _PANEL, np.uint8)
    _write(panel, text, unit, round(1.35 * unit), unit, _RED if warn else _WHITE)
    _blend(picture, panel, height - len(panel), 0)
    return picture


def _draw_outlines(picture: Image, mask: Mask) -> None:
    """Thin light lines where one class ends: they show small things that the colour alone hides."""
    width, ids = mask.shape[1], mask.reshape(-1)
    # As one long row, which NumPy compares several times faster; what wraps around is no edge.
    edges = np.zeros(ids.shape, np.bool_)
    np.not_equal(ids[1:], ids[:-1], out=edges[1:])
    edges[::width] = False
    edges[width:] |= ids[width:] != ids[:-width]
    # They are few: looking each up costs a fifth of lightening the picture and copying from it.
    places = np.flatnonzero(edges)
    for channel in range(3):
        values = picture.reshape(-1)[channel::3]
        values[places] = _LIGHTER[values[places]]


@lru_cache(maxsize=8)
def _color_table(classes: tuple[LabelClass, ...]) -> Image:
    return LabelSet("", classes).palette().reshape(256, 1, 3)


@lru_cache(maxsize=8)
def _legend_panel(classes: tuple[LabelClass, ...], height: int, width: int) -> Image:
    """The legend for frames of one size; empty where it would not fit."""
    unit = _unit(height)
    row = round(1.6 * unit)
    text_width = max(cv2.getTextSize(c.name, _FONT, unit / 22, _thickness(unit))[0][0] for c in classes)
    panel = np.full((row * len(classes) + unit, text_width + 4 * unit, 3), _PANEL, np.uint8)
    if height < _SMALLEST_HEIGHT or panel.shape[0] > height or panel.shape[1] > width // 2:
        return np.zeros((0, 0, 3), np.uint8)
    for i, c in enumerate(classes):
        top = unit // 2 + i * row
        cv2.rectangle(panel, (unit, top + row // 5), (2 * unit, top + row // 5 + unit), c.color, cv2.FILLED)
        _write(panel, c.name, round(2.7 * unit), top + round(1.15 * unit), unit, _WHITE)
    return panel


def _blend(picture: Image, panel: Image, top: int, left: int) -> None:
    height, width = panel.shape[:2]
    if height and width:
        region = picture[top : top + height, left : left + width]
        region[:] = cv2.addWeighted(region, 1 - _PANEL_ALPHA, panel, _PANEL_ALPHA, 0)


def _write(
    picture: Image, text: str, left: int, baseline: int, unit: int, color: tuple[int, int, int]
) -> None:
    cv2.putText(picture, text, (left, baseline), _FONT, unit / 22, color, _thickness(unit), cv2.LINE_AA)


def _unit(height: int) -> int:
    """The size of small print in pixels: it grows with the frame."""
    return max(8, height // 45)


def _thickness(unit: int) -> int:
    return max(1, round(unit / 12))
