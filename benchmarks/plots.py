"""The two pictures of a benchmark. Matplotlib is imported here alone, and only when something is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.atomic import atomic_file
from edgeseg.benchmarks.results import BenchmarkResult, BundleResult
from edgeseg.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours: told apart by the colour-blind too, and in grey.
_PRECISION_COLORS = {"fp32": "#0072B2", "fp16": "#E69F00", "int8": "#009E73"}
_RUNTIME_MARKERS = {"litert": "o", "onnx": "s", "openvino": "D", "tensorrt": "^"}
_STAGE_COLORS = {"decode": "#9AA5B1", "resize": "#E69F00", "infer": "#0072B2", "post": "#009E73"}
_KEY_INCHES = 0.52
_INK, _SOFT, _GRID = "#1F2933", "#616E7C", "#E4E7EB"
_KEY: dict[str, Any] = {"fontsize": 9.5, "color": _INK, "weight": "bold"}
_NOTE: dict[str, Any] = {"fontsize": 8.5, "color": _SOFT}


def plot_accuracy_latency(result: BenchmarkResult, path: Path) -> None:
    """mIoU against latency: a numbered marker at the median of the whole path, a line on to its p99.

    Without accuracy measured in this run, the mIoU is the one recorded at export, and the axis says so. A p99
    far off the medians is cut at the edge; the key beside the axes has its value.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    figure, axes = _figure(10, max(5.0, _KEY_INCHES * len(result.bundles)))
    measured = all(bundle.accuracy for bundle in result.bundles)
    mious = [100 * _miou(bundle, measured) for bundle in result.bundles]
    totals = [bundle.latency.total for bundle in result.bundles]
    margin = max(1.0, 0.2 * (max(mious) - min(mious)))
    axes.set_ylim(max(0, min(mious) - margin), min(100, max(mious) + margin))
    axes.set_xlim(0, 1.05 * min(max(t.p99 for t in totals), 2 * max(t.p50 for t in totals)))
    for bundle, miou in zip(result.bundles, mious, strict=True):
        _draw_point(axes, bundle, miou)
    _number_points(axes, [(total.p50, miou) for total, miou in zip(totals, mious, strict=True)])
    axes.set_xlabel("latency of the whole path, ms: marker at p50, line to p99")
    axes.set_ylabel(_miou_axis(result, measured))
    _legend(axes, result)
    _key(axes, result, mious)
    _save(figure, path)


def plot_latency_stages(result: BenchmarkResult, path: Path) -> None:
    """Where the time goes: per bundle the mean of each stage, which add up, with the tail of the whole path.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    figure, axes = _figure(8, 1.5 + 0.6 * len(result.bundles))
    rows = list(reversed(result.bundles))
    lefts = [0.0] * len(rows)
    for stage, color in _STAGE_COLORS.items():
        means = [bundle.latency.stages[stage].mean for bundle in rows]
        axes.barh(range(len(rows)), means, left=lefts, height=0.5, color=color, label=stage)
        lefts = [left + mean for left, mean in zip(lefts, means, strict=True)]
    for index, bundle in enumerate(rows):
        total = bundle.latency.total
        axes.plot([total.p50, total.p999], [index, index], color=_INK, linewidth=1, zorder=3)
        for value, marker in ((total.p50, "|"), (total.p99, "o"), (total.p999, "D")):
            axes.plot([value], [index], color=_INK, marker=marker, markersize=5, zorder=3)
    axes.plot([], [], color=_INK, marker="|", linestyle="", label="p50")
    axes.plot([], [], color=_INK, marker="o", markersize=5, linestyle="", label="p99")
    axes.plot([], [], color=_INK, marker="D", markersize=5, linestyle="", label="p99.9")
    axes.set_yticks(range(len(rows)), [f"{bundle.subject.name}\n{_kind(bundle)}" for bundle in rows])
    axes.grid(visible=False, axis="y")
    axes.set_xlim(left=0)
    axes.set_xlabel("ms per frame: bars are means of the stages, marks are percentiles of the whole path")
    axes.legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=7, frameon=False, fontsize=9, columnspacing=1.2
    )
    _save(figure, path)


def _miou(bundle: BundleResult, measured: bool) -> float:
    return bundle.accuracy.miou if measured and bundle.accuracy else bundle.exported.miou


def _miou_axis(result: BenchmarkResult, measured: bool) -> str:
    if not measured:
        return "mIoU in points, as recorded at export"
    accuracy = result.bundles[0].accuracy
    return f"mIoU in points, label resolution, {accuracy.split} split" if accuracy else "mIoU in points"


def _kind(bundle: BundleResult) -> str:
    return str(bundle.latency.loaded)


def _draw_point(axes: Axes, bundle: BundleResult, miou: float) -> None:
    loaded, total = bundle.latency.loaded, bundle.latency.total
    color = _PRECISION_COLORS.get(loaded.precision, _INK)
    marker = _RUNTIME_MARKERS.get(loaded.runtime, "o")
    axes.plot([total.p50, total.p99], [miou, miou], color=color, linewidth=1.5, alpha=0.6)
    axes.plot([total.p99], [miou], color=color, marker="|", markersize=9)
    axes.plot([total.p50], [miou], color=color, marker=marker, markersize=10, markeredgecolor="white")


def _number_points(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """A number above each point, one line higher for each that it would cover."""
    axes.figure.draw_without_rendering()
    pixels = axes.figure.dpi / 72
    taken: list[tuple[float, float]] = []
    for number, (x, y) in sorted(enumerate(points, start=1), key=lambda numbered: numbered[1]):
        left, bottom = axes.transData.transform((x, y)) / pixels
        lift = 9.0
        while any(abs(left - x0) < 14 and abs(bottom + lift - y0) < 11 for x0, y0 in taken):
            lift += 11
        taken.append((left, bottom + lift))
        axes.annotate(str(number), (x, y), (0, lift), textcoords="offset points", ha="center", **_KEY)


def _key(axes: Axes, result: BenchmarkResult, mious: Sequence[float]) -> None:
    """What the numbers stand for, beside the axes: names beside the points would cover one another."""
    step = 0.92 / max(9, len(mious))
    for number, (bundle, miou) in enumerate(zip(result.bundles, mious, strict=True), start=1):
        top = 1 - step * (number - 1)
        total = bundle.latency.total
        numbers = f"{miou:.1f} points, {total.p50:.1f} ms, p99 {total.p99:.1f} ms"
        axes.text(1.03, top, f"{number}  {bundle.subject.name}", transform=axes.transAxes, va="top", **_KEY)
        axes.text(1.03, top - 0.44 * step, f"     {numbers}", transform=axes.transAxes, va="top", **_NOTE)


def _legend(axes: Axes, result: BenchmarkResult) -> None:
    runtimes = {bundle.latency.loaded.runtime for bundle in result.bundles}
    precisions = {bundle.latency.loaded.precision for bundle in result.bundles}
    for name in (name for name in _RUNTIME_MARKERS if name in runtimes):
        axes.plot([], [], color=_INK, marker=_RUNTIME_MARKERS[name], linestyle="", label=name)
    for name in (name for name in _PRECISION_COLORS if name in precisions):
        axes.plot([], [], color=_PRECISION_COLORS[name], linewidth=5, label=name)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=7, frameon=False, fontsize=9)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    try:
        # The class and not pyplot: no global state, no window, safe beside any other use of matplotlib.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.of("drawing a plot", "matplotlib", "benchmark") from error
    figure = Figure((width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=_GRID)
    axes.spines[["top", "right", "left"]].set_visible(False)
    style: dict[str, Any] = {"colors": _INK, "length": 0, "labelsize": 9}
    axes.tick_params(**style)
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    with atomic_file(path) as staging:
        figure.savefig(staging, dpi=150, format="png")
