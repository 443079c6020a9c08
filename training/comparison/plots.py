"""The two pictures of a comparison: scores with every seed, and each class's IoU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.training.comparison.table import Row
from edgeseg.training.plots import INK, MARK, TRAIN, VAL, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_INCHES = 0.42
_LEAST_CONTRAST = 3.0
_SPREAD: dict[str, Any] = {"alpha": 0.3, "linewidth": 10, "solid_capstyle": "butt"}
_MEAN: dict[str, Any] = {"markersize": 15, "markeredgewidth": 2.5}
_SEED: dict[str, Any] = {"markersize": 5, "markeredgecolor": "white", "markeredgewidth": 0.6}


def plot_scores(path: Path, rows: Sequence[Row], title: str) -> None:
    """mIoU of each variant: every seed as a dot, their mean and spread; beside it the time of an epoch.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    height = 1.5 + _ROW_INCHES * len(rows)
    with new_figure(path, 10.5, height, columns=2, widths=(3, 1)) as (_, [[scores, times]]):
        for position, row in enumerate(rows):
            _draw_row(scores, position, row)
        _explain(scores, rows)
        scores.grid(axis="x")
        scores.margins(x=0.06)
        scores.set(title=title, xlabel="mIoU in points, label resolution, best epoch of each run")
        seconds = [row.epoch_seconds or 0 for row in rows]
        bars = times.barh(range(len(rows)), seconds, 0.5, color=TRAIN)
        times.bar_label(bars, [f"{s:.1f}" if s else "" for s in seconds], padding=3, fontsize=8, color=INK)
        times.set(title="Seconds an epoch", xlabel="of the median epoch")
        times.margins(x=0.22)
        for axes, names in ((scores, [row.variant for row in rows]), (times, [""] * len(rows))):
            axes.set_yticks(range(len(rows)), names)
            axes.set_ylim(len(rows) - 0.5, -0.5)
            axes.tick_params(axis="y", length=0)
            axes.set_axisbelow(True)


def plot_classes(path: Path, rows: Sequence[Row], title: str) -> None:
    """Mean IoU of each class and variant; the colour says how far it is from the class's mean.

    A class that is hard for all would make every row look alike if its colour were its IoU.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    names = list(rows[0].class_iou)
    values = np.array([[_points(row, name) for name in names] for row in rows])
    with np.errstate(invalid="ignore"):
        difference = values - np.nansum(values, axis=0) / np.maximum((~np.isnan(values)).sum(axis=0), 1)
    limit = max(_LEAST_CONTRAST, float(np.nanmax(np.abs(difference), initial=0)))
    width, height = 2.6 + 0.72 * len(names), 1.7 + _ROW_INCHES * len(rows)
    with new_figure(path, width, height) as (figure, [[axes]]):
        shown = axes.imshow(difference, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            text = "n/a" if np.isnan(value) else f"{value:.1f}"
            color = "white" if abs(difference[i, j]) > 0.55 * limit else INK
            axes.text(j, i, text, ha="center", va="center", color=color, fontsize=8.5)
        axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(rows)), [row.variant for row in rows])
        axes.set_title(title)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        label = "points from the\nclass's mean"
        figure.colorbar(shown, ax=axes, label=label, pad=0.02, fraction=0.05).outline.set_visible(False)


def _draw_row(axes: Axes, position: int, row: Row) -> None:
    beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center"}
    if row.failed:
        failed = f"{len(row.failed)} of {len(row.outcomes)} failed"
        axes.text(1.01, position + 0.3 * bool(row.miou), failed, color=MARK, fontsize=7.5, **beside)
    if row.miou is None:
        return
    low, high = row.miou.reach
    axes.plot([100 * low, 100 * high], [position] * 2, color=VAL, **_SPREAD)
    axes.plot(100 * row.miou.mean, position, "|", color=VAL, **_MEAN)
    for value in row.miou.values:
        axes.plot(100 * value, position, "o", color=INK, **_SEED)
    axes.text(1.01, position, row.miou.in_points(), fontsize=9, **beside)


def _explain(axes: Axes, rows: Sequence[Row]) -> None:
    deviation = any(row.miou and row.miou.deviation is not None for row in rows)
    axes.plot([], [], "o", color=INK, label="one seed", **_SEED)
    axes.plot([], [], "|", color=VAL, label="mean", **_MEAN)
    axes.plot([], [], color=VAL, label="± standard deviation" if deviation else "range", **_SPREAD)
    axes.figure.legend(loc="outside lower left", ncols=3, fontsize=8.5)


def _points(row: Row, name: str) -> float:
    spread = row.class_iou[name]
    return 100 * spread.mean if spread else float("nan")
