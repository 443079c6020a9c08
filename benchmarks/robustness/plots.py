"""The plots of a robustness result. Matplotlib is imported here alone, and only when something is drawn."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.benchmarks.corruptions import CORRUPTIONS
from edgeseg.benchmarks.drawing import new_figure, save, style
from edgeseg.benchmarks.palette import INK, SERIES, SOFT
from edgeseg.benchmarks.robustness.plan import CLEAN, Cell
from edgeseg.benchmarks.robustness.results import BundleRobustness, RobustnessResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vPX"
_SMALL_COLUMNS = 5


def plot_heat_map(result: RobustnessResult, path: Path) -> None:
    """mIoU retained in %, a panel per bundle, a row per corruption, a column per severity.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    names, severities = result.suite.corruptions, result.suite.severities
    count = len(result.bundles)
    size = (2.0 + max(2.2, 0.55 * len(severities)) * count, 1.3 + 0.29 * len(names))
    figure, panels = _figure(size, 1, count)
    for axes, bundle in zip(panels, result.bundles, strict=True):
        values = np.array([[100 * bundle.retained(cell) for cell in result.cells_of(name)] for name in names])
        axes.imshow(values, cmap="RdYlBu", vmin=0, vmax=100, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            ink = "white" if value < 18 or value > 85 else INK
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=ink)
        _lines_between_groups(axes, names)
        axes.grid(visible=False)
        axes.set_xticks(range(len(severities)), [str(severity) for severity in severities])
        axes.set_yticks(range(len(names)), names if axes is panels[0] else [])
        axes.set_title(f"{bundle.name}\nmean {100 * bundle.mean_retained():.1f}", fontsize=9, color=INK)
        axes.set_xlabel("severity", fontsize=9)
    save(figure, path)


def plot_curves(result: RobustnessResult, path: Path) -> None:
    """mIoU retained in % over the severity, a panel per corruption and one for their mean, a line per bundle.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    severities = result.suite.severities
    titles: list[str | None] = [None, *result.suite.corruptions]
    columns = min(_SMALL_COLUMNS, len(titles))
    rows = -(-len(titles) // columns)
    figure, panels = _figure((2.3 * columns + 0.4, 1.75 * rows + 0.5), rows, columns)
    # A model may do better on some corruption than on clean images.
    most = max(bundle.retained(cell) for bundle in result.bundles for cell in bundle.cells)
    for axes, title in zip(panels, titles, strict=False):
        for index, bundle in enumerate(result.bundles):
            means = [100 * bundle.mean_retained(result.cells_of(title, severity)) for severity in severities]
            axes.plot(severities, means, label=bundle.name, **_line(index))
        axes.set_title(title or "mean of all", fontsize=9, color=INK, weight="normal" if title else "bold")
        axes.set_ylim(0, max(105, 100 * most + 4))
        axes.set_xticks(severities)
    for axes in panels[len(titles) :]:
        axes.set_visible(False)
    figure.supxlabel("severity", fontsize=9, color=SOFT)
    figure.supylabel("mIoU retained, %", fontsize=9, color=SOFT)
    _legend(figure, panels[0])
    save(figure, path)


def plot_reliability(result: RobustnessResult, path: Path) -> None:
    """Share of right pixels over confidence, a panel for the clean images and one for each severity.

    On the diagonal a model is as sure as it is right; below it, too sure.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    severities = (0, *result.suite.severities)
    figure, panels = _figure((2.3 * len(severities) + 0.4, 2.9), 1, len(severities))
    for axes, severity in zip(panels, severities, strict=True):
        axes.plot([0, 100], [0, 100], color=SOFT, linewidth=1, linestyle=":")
        for index, bundle in enumerate(result.bundles):
            _draw_reliability(
                axes, index, bundle, result.cells_of(severity=severity) if severity else [CLEAN]
            )
        axes.set_title(f"severity {severity}" if severity else "clean", fontsize=9, color=INK)
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.set_aspect("equal")
    figure.supxlabel("confidence, %", fontsize=9, color=SOFT)
    figure.supylabel("pixels right, %", fontsize=9, color=SOFT)
    _legend(figure, panels[0])
    save(figure, path)


def _draw_reliability(axes: Axes, index: int, bundle: BundleRobustness, chosen: list[Cell]) -> None:
    found = bundle.calibration(chosen)
    # A bin with next to nothing in it says nothing, and would be seen as much as the others.
    bins = [one for one in found.bins if one.pixels > found.pixels / 1000] if found else []
    sure, right = [100 * one.confidence for one in bins], [100 * one.accuracy for one in bins]
    if found:
        axes.plot(sure, right, label=f"{bundle.name}", **_line(index))


def _lines_between_groups(axes: Axes, names: tuple[str, ...]) -> None:
    for row, (above, below) in enumerate(pairwise(names)):
        if CORRUPTIONS[above].group != CORRUPTIONS[below].group:
            axes.axhline(row + 0.5, color="white", linewidth=2.5)


def _line(index: int) -> dict[str, Any]:
    return {
        "color": SERIES[index % len(SERIES)],
        "marker": _MARKERS[index % len(_MARKERS)],
        "markersize": 4,
        "linewidth": 1.4,
    }


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize=9)


def _figure(size: tuple[float, float], rows: int, columns: int) -> tuple[Figure, list[Axes]]:
    figure = new_figure(*size)
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for axes in panels:
        style(axes)
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(labelsize=8)
    return figure, panels
