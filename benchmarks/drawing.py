"""What every plot is drawn on: figures of one style.

Matplotlib is imported here, and only when something is drawn.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.atomic import atomic_file
from edgeseg.benchmarks.palette import GRID, INK, PRECISIONS, RUNTIMES
from edgeseg.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    try:
        # The class and not pyplot: no global state, no window, safe beside any other use of matplotlib.
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError.of("drawing a plot", "matplotlib", "benchmark") from error
    return Figure((width, height), layout="constrained")


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of a single plot.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    figure = new_figure(width, height)
    axes = figure.add_subplot()
    style(axes)
    return figure, axes


def style(axes: Axes) -> None:
    """A grid behind what is drawn, and a line at the bottom alone."""
    axes.set_axisbelow(True)
    axes.grid(visible=True, color=GRID)
    axes.spines[["top", "right", "left"]].set_visible(False)
    ticks: dict[str, Any] = {"colors": INK, "length": 0, "labelsize": 9}
    axes.tick_params(**ticks, which="both")


def add_legend(axes: Axes, runtimes: Collection[str], precisions: Collection[str]) -> None:
    """The marks of these runtimes and the colours of these precisions, above the plot."""
    for name in (name for name in RUNTIMES if name in runtimes):
        axes.plot([], [], color=INK, marker=RUNTIMES[name], linestyle="", label=name)
    for name in (name for name in PRECISIONS if name in precisions):
        axes.plot([], [], color=PRECISIONS[name], linewidth=5, label=name)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=7, frameon=False, fontsize=9)


def save(figure: Figure, path: Path) -> None:
    """As a PNG file, which appears whole or not at all."""
    with atomic_file(path) as staging:
        figure.savefig(staging, dpi=150, format="png")
