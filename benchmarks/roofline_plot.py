"""The picture of a roofline: both axes logarithmic, the roofs, and a numbered marker for each model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.benchmarks.drawing import add_legend, new_axes, save
from edgeseg.benchmarks.palette import INK, PRECISIONS, RUNTIMES, SOFT
from edgeseg.benchmarks.peaks import Peaks
from edgeseg.benchmarks.roofline import Placed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_KEY: dict[str, Any] = {"fontsize": 9.5, "color": INK, "weight": "bold"}
_NOTE: dict[str, Any] = {"fontsize": 8.5, "color": SOFT}
_LINE_INCHES = 0.52
_GIGA = 1e9
# Room around the outermost marker or corner, as a factor.
_MARGIN = 2.0


def plot_roofline(models: Sequence[Placed], path: Path) -> None:
    """Reached multiply-accumulates a second against those for each byte.

    The slope is the memory's bound, each level line the arithmetic's in one precision; a line drops from its
    own roof to each model, so that its length is what is not reached.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    figure, axes = new_axes(10.5, max(5.2, 1.2 + _LINE_INCHES * len(models)))
    peaks = models[0].peaks
    left, right = _limits(models, peaks)
    bottom = min(model.macs_per_second for model in models) / _GIGA / _MARGIN
    top = _MARGIN * max(peak.per_second for peak in peaks.compute.values()) / _GIGA
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
    _draw_roofs(axes, peaks, left, right)
    for model in models:
        _draw_model(axes, model)
    _write_plain_numbers(axes)
    axes.set_xlabel("multiply-accumulates per byte that the layers read and write", color=INK)
    axes.set_ylabel("GMACs a second", color=INK)
    add_legend(axes, {model.loaded.runtime for model in models}, {model.loaded.precision for model in models})
    _key(axes, models)
    # What follows needs to know where the axes will lie.
    figure.draw_without_rendering()
    _number(axes, models, figure.dpi / 72)
    _write_along(axes, left, peaks.memory.per_second / _GIGA)
    save(figure, path)


def _limits(models: Sequence[Placed], peaks: Peaks) -> tuple[float, float]:
    corners = [peak.per_second / peaks.memory.per_second for peak in peaks.compute.values()]
    places = [*corners, *(model.intensity for model in models)]
    return min(places) / _MARGIN, max(places) * _MARGIN


def _write_plain_numbers(axes: Axes) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _draw_roofs(axes: Axes, peaks: Peaks, left: float, right: float) -> None:
    bandwidth = peaks.memory.per_second
    highest = max(peak.per_second for peak in peaks.compute.values())
    corner = highest / bandwidth
    axes.plot([left, corner], [left * bandwidth / _GIGA, highest / _GIGA], color=INK, linewidth=1.5)
    for name, peak in peaks.compute.items():
        level = peak.per_second / _GIGA
        axes.plot([peak.per_second / bandwidth, right], [level, level], color=PRECISIONS[name])
        text = f"{name}: {level:.0f} GMACs/s"
        axes.annotate(
            text, (right, level), (-4, 3), textcoords="offset points", ha="right", fontsize=8.5, color=SOFT
        )


def _write_along(axes: Axes, left: float, gigabytes: float) -> None:
    """The memory's rate, written along its line."""
    start = max(left, axes.get_ylim()[0] / gigabytes) * 1.1
    (x0, y0), (x1, y1) = axes.transData.transform([(x, x * gigabytes) for x in (start, 2 * start)])
    angle = math.atan2(y1 - y0, x1 - x0)
    axes.annotate(
        f"memory: {gigabytes:.1f} GB/s",
        (start, start * gigabytes),
        (-4 * math.sin(angle), 4 * math.cos(angle)),
        textcoords="offset points",
        rotation=math.degrees(angle),
        rotation_mode="anchor",
        fontsize=8.5,
        color=SOFT,
    )


def _draw_model(axes: Axes, model: Placed) -> None:
    x, y = model.intensity, model.macs_per_second / _GIGA
    color = PRECISIONS.get(model.loaded.precision, INK)
    if model.roof is not None:
        axes.plot([x, x], [y, model.roof / _GIGA], color=color, linewidth=1, alpha=0.5, linestyle=(0, (2, 2)))
    marker = RUNTIMES.get(model.loaded.runtime, "o")
    axes.plot([x], [y], color=color, marker=marker, markersize=10, markeredgecolor="white", zorder=3)


def _number(axes: Axes, models: Sequence[Placed], pixels: float) -> None:
    """A number beside each marker, one place further to the right for each that it would cover.

    ``pixels`` are those of a point, of a figure that is laid out already.
    """
    taken: list[tuple[float, float]] = []
    for number, model in enumerate(models, start=1):
        point = (model.intensity, model.macs_per_second / _GIGA)
        x, y = axes.transData.transform(point) / pixels
        shift = 8.0
        while any(abs(x + shift - x0) < 11 and abs(y - y0) < 10 for x0, y0 in taken):
            shift += 12
        taken.append((x + shift, y))
        axes.annotate(str(number), point, (shift, 0), textcoords="offset points", va="center", **_KEY)


def _key(axes: Axes, models: Sequence[Placed]) -> None:
    """What the numbers stand for, beside the axes: names beside the markers would cover one another."""
    step = 0.92 / max(9, len(models))
    for number, model in enumerate(models, start=1):
        top = 1 - step * (number - 1)
        share = model.share(model.roof)
        reached = "no peak measured" if share is None else f"{100 * share:.0f} % of its roof ({model.bound})"
        numbers = f"{model.cost.macs / 1e9:.2f} GMACs, {model.infer.p50:.1f} ms: {reached}"
        axes.text(1.03, top, f"{number}  {model.name}", transform=axes.transAxes, va="top", **_KEY)
        axes.text(1.03, top - 0.44 * step, f"     {numbers}", transform=axes.transAxes, va="top", **_NOTE)
