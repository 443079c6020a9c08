"""The curves of minutes of load: latency, clock, temperature and power below one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseg.benchmarks.drawing import new_figure, save, style
from edgeseg.benchmarks.palette import INK, SERIES, SOFT
from edgeseg.benchmarks.sustained_results import Column, Sustained, SustainedRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_INCHES = 1.7


def plot_sustained(sustained: Sustained, path: Path) -> None:
    """A panel for each quantity that was measured for some bundle, a line per bundle, time from its start.

    Latency is the median of each point, with a band to its p99. A bundle with a mark, such as throttling, is
    drawn dashed and says so in the legend; what no sensor gave is named under the panels.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    panels = {label: column for label, column in _PANELS.items() if _known(sustained, column)}
    figure, all_axes = _figure(len(panels))
    for axes, (label, column) in zip(all_axes, panels.items(), strict=True):
        for number, run in enumerate(sustained.runs):
            _draw(axes, run, column(run), SERIES[number % len(SERIES)])
        axes.set_ylabel(label, fontsize=9)
    for number, run in enumerate(sustained.runs):
        _draw_tail(all_axes[0], run, SERIES[number % len(SERIES)])
    all_axes[0].set_ylim(bottom=0)
    all_axes[0].legend(
        loc="lower left", bbox_to_anchor=(0, 1.0), ncols=3, frameon=False, fontsize=9, labelcolor=INK
    )
    missing = [label.partition(",")[0] for label in _PANELS if label not in panels]
    note = f"\nnot measured here: {', '.join(missing)}" if missing else ""
    all_axes[-1].set_xlabel(f"minutes of load{note}", fontsize=9, color=SOFT)
    save(figure, path)


def _hottest(run: SustainedRun) -> Column:
    name = run.sensed.hottest
    return run.curve.temperature_c[name] if name else np.full_like(run.curve.seconds, np.nan)


def _gpu_clock(run: SustainedRun) -> Column:
    return next(iter(run.curve.gpu_clock_mhz.values()), np.full_like(run.curve.seconds, np.nan))


_PANELS: dict[str, Callable[[SustainedRun], Column]] = {
    "latency, ms\n(median, p99)": lambda run: run.curve.p50_ms,
    "CPU clock, MHz": lambda run: run.curve.cpu_clock_mhz,
    "GPU clock, MHz": _gpu_clock,
    "temperature, °C\n(hottest)": _hottest,
    "power, W": lambda run: run.curve.watts,
}


def _known(sustained: Sustained, column: Callable[[SustainedRun], Column]) -> bool:
    return any(not np.isnan(column(run)).all() for run in sustained.runs)


def _draw(axes: Axes, run: SustainedRun, values: Column, color: str) -> None:
    marked = bool(run.marks)
    axes.plot(
        run.curve.seconds / 60,
        values,
        color=color,
        linewidth=1.4,
        linestyle="--" if marked else "-",
        marker="o" if len(values) < 2 else "",
        label=f"{run.name} ({_mark(run)})" if marked else run.name,
    )


def _draw_tail(axes: Axes, run: SustainedRun, color: str) -> None:
    axes.fill_between(
        run.curve.seconds / 60, run.curve.p50_ms, run.curve.p99_ms, color=color, alpha=0.2, linewidth=0
    )


def _mark(run: SustainedRun) -> str:
    if run.failure:
        return "ended early"
    return "throttled" if run.sensed.throttling.throttled else "clock not to be trusted"


def _figure(panels: int) -> tuple[Figure, list[Any]]:
    figure = new_figure(9, 1.2 + _PANEL_INCHES * panels)
    all_axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
    for axes in all_axes:
        style(axes)
    return figure, all_axes
