"""The two pictures of a benchmark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.benchmarks.drawing import add_legend, new_axes, save
from edgeseg.benchmarks.palette import INK, PRECISIONS, RUNTIMES, SOFT
from edgeseg.benchmarks.pareto import pareto_set
from edgeseg.benchmarks.results import BenchmarkResult, ModelResult
from edgeseg.tables import points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DASHED: dict[str, Any] = {"linewidth": 1, "linestyle": (0, (4, 3))}
_STAGE_COLORS = {"decode": "#9AA5B1", "resize": "#E69F00", "infer": "#0072B2", "post": "#009E73"}
_KEY_INCHES = 0.52
_KEY: dict[str, Any] = {"fontsize": 9.5, "color": INK, "weight": "bold"}
_NOTE: dict[str, Any] = {"fontsize": 8.5, "color": SOFT}


def plot_accuracy_latency(result: BenchmarkResult, path: Path) -> None:
    """mIoU against latency: a numbered marker at the median of the whole path, a line on to its p99.

    Without accuracy measured in this run, the mIoU is the one recorded at export, and the axis says so. A
    model with neither has its line in the key and no marker. A p99 far off the medians is cut at the edge;
    the key beside the axes has its value.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    figure, axes = new_axes(10, max(5.0, _KEY_INCHES * len(result.models)))
    measured = all(model.accuracy for model in result.models)
    mious = [100 * _miou(model, measured) for model in result.models]
    totals = [model.latency.total for model in result.models]
    known = [miou for miou in mious if not math.isnan(miou)] or [0.0, 100.0]
    margin = max(1.0, 0.2 * (max(known) - min(known)))
    axes.set_ylim(max(0, min(known) - margin), min(100, max(known) + margin))
    axes.set_xlim(0, 1.05 * min(max(t.p99 for t in totals), 2 * max(t.p50 for t in totals)))
    _draw_pareto(axes, [(total.p50, miou) for total, miou in zip(totals, mious, strict=True)])
    for model, miou in zip(result.models, mious, strict=True):
        _draw_point(axes, model, miou)
    _number_points(axes, [(total.p50, miou) for total, miou in zip(totals, mious, strict=True)])
    axes.set_xlabel("latency of the whole path, ms: marker at p50, line to p99")
    axes.set_ylabel(_miou_axis(result, measured))
    add_legend(
        axes,
        {model.latency.loaded.runtime for model in result.models},
        {model.latency.loaded.precision for model in result.models},
    )
    _key(axes, result, mious)
    save(figure, path)


def plot_latency_stages(result: BenchmarkResult, path: Path) -> None:
    """Where the time goes: per model the mean of each stage, which add up, with the tail of the whole path.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    figure, axes = new_axes(8, 1.5 + 0.6 * len(result.models))
    rows = list(reversed(result.models))
    lefts = [0.0] * len(rows)
    for stage, color in _STAGE_COLORS.items():
        means = [model.latency.stages[stage].mean for model in rows]
        axes.barh(range(len(rows)), means, left=lefts, height=0.5, color=color, label=stage)
        lefts = [left + mean for left, mean in zip(lefts, means, strict=True)]
    for index, model in enumerate(rows):
        total = model.latency.total
        axes.plot([total.p50, total.p999], [index, index], color=INK, linewidth=1, zorder=3)
        for value, marker in ((total.p50, "|"), (total.p99, "o"), (total.p999, "D")):
            axes.plot([value], [index], color=INK, marker=marker, markersize=5, zorder=3)
    axes.plot([], [], color=INK, marker="|", linestyle="", label="p50")
    axes.plot([], [], color=INK, marker="o", markersize=5, linestyle="", label="p99")
    axes.plot([], [], color=INK, marker="D", markersize=5, linestyle="", label="p99.9")
    axes.set_yticks(range(len(rows)), [f"{model.subject.name}\n{_kind(model)}" for model in rows])
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0)
    axes.set_xlabel("ms per frame: bars are means of the stages, marks are percentiles of the whole path")
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=7, frameon=False, fontsize=9, columnspacing=1.2
    )
    save(figure, path)


def _miou(model: ModelResult, measured: bool) -> float:
    found = model.accuracy if measured else model.exported
    return found.miou if found else math.nan


def _miou_axis(result: BenchmarkResult, measured: bool) -> str:
    if not measured:
        return "mIoU in points, as recorded at export"
    accuracy = result.models[0].accuracy
    return f"mIoU in points, label resolution, {accuracy.scored_on}" if accuracy else "mIoU in points"


def _kind(model: ModelResult) -> str:
    return str(model.latency.loaded)


def _draw_pareto(axes: Axes, markers: Sequence[tuple[float, float]]) -> None:
    """Steps through the models that none other beats in both: what lies below and to the right is beaten."""
    best = sorted(point for point, kept in zip(markers, pareto_set(markers), strict=True) if kept)
    if best:
        x, y = zip(*best, strict=True)
        axes.step([*x, axes.get_xlim()[1]], [*y, y[-1]], where="post", color=SOFT, **_DASHED)
        axes.plot([], [], color=SOFT, label="Pareto set", **_DASHED)


def _draw_point(axes: Axes, model: ModelResult, miou: float) -> None:
    loaded, total = model.latency.loaded, model.latency.total
    color = PRECISIONS.get(loaded.precision, INK)
    marker = RUNTIMES.get(loaded.runtime, "o")
    axes.plot([total.p50, total.p99], [miou, miou], color=color, linewidth=1.5, alpha=0.6)
    axes.plot([total.p99], [miou], color=color, marker="|", markersize=9)
    axes.plot([total.p50], [miou], color=color, marker=marker, markersize=10, markeredgecolor="white")


def _number_points(axes: Axes, markers: Sequence[tuple[float, float]]) -> None:
    """A number above each point that is known, one line higher for each that it would cover."""
    axes.figure.draw_without_rendering()
    pixels = axes.figure.dpi / 72
    taken: list[tuple[float, float]] = []
    known = [(number, point) for number, point in enumerate(markers, start=1) if not math.isnan(point[1])]
    for number, (x, y) in sorted(known, key=lambda numbered: numbered[1]):
        left, bottom = axes.transData.transform((x, y)) / pixels
        lift = 9.0
        while any(abs(left - x0) < 14 and abs(bottom + lift - y0) < 11 for x0, y0 in taken):
            lift += 11
        taken.append((left, bottom + lift))
        axes.annotate(str(number), (x, y), (0, lift), textcoords="offset points", ha="center", **_KEY)


def _key(axes: Axes, result: BenchmarkResult, mious: Sequence[float]) -> None:
    """What the numbers stand for, beside the axes: names beside the points would cover one another."""
    step = 0.92 / max(9, len(mious))
    for number, (model, miou) in enumerate(zip(result.models, mious, strict=True), start=1):
        top = 1 - step * (number - 1)
        total = model.latency.total
        numbers = f"{points(miou / 100)} points, {total.p50:.1f} ms, p99 {total.p99:.1f} ms"
        axes.text(1.03, top, f"{number}  {model.subject.name}", transform=axes.transAxes, va="top", **_KEY)
        axes.text(1.03, top - 0.44 * step, f"     {numbers}", transform=axes.transAxes, va="top", **_NOTE)
