"""The pictures of a sweep: how it went, what each value gave, what mattered, and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.training.plots import INK, MARK, TRAIN, VAL, new_figure
from edgeseg.training.sweep.results import Result, Results
from edgeseg.training.sweep.space import Choices, Parameter, Range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS, _MOST_TICKS = 4, 8
_FINISHED: dict[str, Any] = {"color": VAL, "marker": "o", "markersize": 6, "markeredgecolor": "white"}
_PRUNED: dict[str, Any] = {"color": TRAIN, "marker": "x", "markersize": 6, "markeredgewidth": 1.5}
_NAME: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8, "ha": "right", "va": "bottom"}
_ABOVE: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8.5, "ha": "center", "va": "bottom"}
_LEADS: dict[str, Any] = {"color": MARK, "marker": "o", "markersize": 9, "markeredgecolor": "white"}


def plot_history(path: Path, results: Results, title: str) -> None:
    """Each trial's mIoU in the order they were begun with the best so far; beside it every trial's epochs.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    with new_figure(path, 11, 3.9, columns=2, widths=(1.25, 1)) as (figure, [[order, epochs]]):
        _draw_order(order, results)
        for result in results.trials:
            _draw_curve(epochs, result)
        order.set(title=title, xlabel="trial", ylabel="mIoU in points, label resolution")
        epochs.set(title="Epoch by epoch", xlabel="epoch", ylabel="val mIoU in points, model resolution")
        for axes in (order, epochs):
            _whole_numbers(axes)
            axes.grid(axis="y")
            axes.set_axisbelow(True)
        figure.legend(loc="outside lower left", ncols=5, fontsize=8.5)


def plot_values(path: Path, results: Results) -> None:
    """For each field, what its values gave: where the good ones are, and whether the range was wide enough.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    space = results.sweep.space
    columns = min(_COLUMNS, len(space))
    rows = -(-len(space) // columns)
    with new_figure(path, 0.8 + 2.9 * columns, 0.7 + 2.7 * rows, rows=rows, columns=columns) as (
        figure,
        grid,
    ):
        for axes in grid.flat[len(space) :]:
            axes.set_axis_off()
        for axes, parameter in zip(grid.flat, space, strict=False):
            _draw_values(axes, parameter, results.trials)
        for axes in grid[:, 0]:
            axes.set_ylabel("mIoU in points")
        for axes in grid[:, 1:].flat:
            axes.tick_params(axis="y", labelleft=False)
        _explain(figure, results)


def plot_importance(path: Path, results: Results) -> None:
    """Each field's share of what made mIoU differ, the largest first.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    shares = sorted(results.importance.items(), key=lambda item: item[1])
    finished = sum(result.miou is not None for result in results.trials)
    with new_figure(path, 6.5, 1.1 + 0.4 * len(shares)) as (_, [[axes]]):
        bars = axes.barh([name for name, _ in shares], [100 * share for _, share in shares], 0.55, color=VAL)
        axes.bar_label(bars, [f"{100 * share:.0f} %" for _, share in shares], padding=3, fontsize=8.5)
        axes.set(title=f"What mattered, by PED-ANOVA over {finished} finished trials", xlim=(0, 112))
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.tick_params(axis="y", length=0)


def plot_front(path: Path, results: Results, title: str) -> None:
    """mIoU against latency; the trials that none beats in both are marked, joined and named.

    Raises:
        MissingExtraError: Matplotlib is not installed.
    """
    with new_figure(path, 7.5, 4.6) as (figure, [[axes]]):
        finished = [result for result in results.trials if result.miou is not None]
        front = sorted((result for result in finished if result.leads), key=_latency)
        for result in finished:
            if not result.leads:
                axes.plot(_latency(result), _points(result), linestyle="", **_FINISHED)
        x, y = [_latency(result) for result in front], [_points(result) for result in front]
        axes.margins(x=0.12, y=0.14)
        axes.plot(x, y, linestyle="", label="Pareto front", **_LEADS)
        axes.set_xlim(axes.get_xlim())
        axes.step([*x, axes.get_xlim()[1]], [*y, y[-1]], where="post", color=MARK, linewidth=1, alpha=0.6)
        for result in front:
            axes.annotate(str(_number(result)), (_latency(result), _points(result)), (-5, 4), **_NAME)
        axes.plot([], [], linestyle="", label="beaten", **_FINISHED)
        axes.set(title=title, xlabel="latency of the int8 bundle, whole path, p50 in ms")
        axes.set_ylabel("mIoU in points, label resolution")
        axes.grid(visible=True)
        axes.set_axisbelow(True)
        figure.legend(loc="outside lower left", ncols=2, fontsize=8.5)


def _draw_order(axes: Axes, results: Results) -> None:
    scored = [(_number(result), _points(result)) for result in results.trials if result.miou is not None]
    if scored:
        best = [(x, max(y for other, y in scored if other <= x)) for x, _ in scored]
        last = (max(_number(result) for result in results.trials), best[-1][1])
        axes.step(*_columns([*best, last]), where="post", color=MARK, linewidth=1.2, label="best so far")
        axes.plot(*_columns(scored), linestyle="", label="finished", **_FINISHED)
    pruned = [
        (_number(result), 100 * (result.last_miou or 0)) for result in results.trials if _pruned(result)
    ]
    if pruned:
        axes.plot(*_columns(pruned), linestyle="", label="pruned, at its best epoch", **_PRUNED)
    failed = [_number(result) for result in results.trials if result.trial.state == "failed"]
    if failed:
        at = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot(failed, [0] * len(failed), "v", color=INK, markersize=6, label="failed", **at)
    for result in results.trials:
        if result.leads:
            axes.plot(_number(result), _points(result), linestyle="", **_LEADS)
    if results.best:
        place = (_number(results.best), _points(results.best))
        axes.annotate(f"{place[1]:.1f}", place, (0, 6), color=MARK, **_ABOVE)
        axes.margins(y=0.12)


def _draw_curve(axes: Axes, result: Result) -> None:
    if not result.epochs:
        return
    color = MARK if result.leads else VAL if result.trial.state == "finished" else TRAIN
    faint = {"alpha": 1.0, "zorder": 3} if result.leads else {"alpha": 0.55}
    x, y = [row.epoch for row in result.epochs], [100 * row.val_miou for row in result.epochs]
    axes.plot(x, y, color=color, linewidth=1.6 if result.leads else 1.1, **faint)
    axes.plot(x[-1], y[-1], "x" if result.trial.state == "pruned" else ".", color=color, **faint)


def _draw_values(axes: Axes, parameter: Parameter, trials: Sequence[Result]) -> None:
    names: list[Any] = [*parameter.values] if isinstance(parameter, Choices) else []
    for number, result in enumerate(
        result for result in trials if result.miou is not None or _pruned(result)
    ):
        value = result.trial.params[parameter.field]
        # Trials of one choice stand a little apart, or one would hide the other.
        x = names.index(value) + 0.07 * (number % 5 - 2) if names else value
        y = _points(result) if result.miou is not None else 100 * (result.last_miou or 0)
        mark = _LEADS if result.leads else _PRUNED if _pruned(result) else _FINISHED
        axes.plot(x, y, linestyle="", clip_on=False, **mark)
    if isinstance(parameter, Choices):
        axes.set_xticks(range(len(names)), [_cut(name) for name in names], rotation=20, ha="right")
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif parameter.log:
        axes.set_xscale("log")
        axes.set_xlim(parameter.low, parameter.high)
    else:
        pad = 0.04 * (parameter.high - parameter.low)
        axes.set_xlim(parameter.low - pad, parameter.high + pad)
        if parameter.whole:
            _whole_numbers(axes, parameter)
    axes.set_title(parameter.field)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _explain(figure: Figure, results: Results) -> None:
    axes = figure.axes[0]
    lead = "best" if len(results.sweep.objectives) == 1 else "Pareto front"
    kinds = [(lead, _LEADS), ("finished", _FINISHED)]
    kinds += [("pruned, at its best epoch", _PRUNED)] if any(map(_pruned, results.trials)) else []
    handles = [axes.plot([], [], linestyle="", label=label, **mark)[0] for label, mark in kinds]
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=8.5)


def _columns(pairs: Sequence[tuple[int, float]]) -> tuple[Sequence[int], Sequence[float]]:
    return [x for x, _ in pairs], [y for _, y in pairs]


def _points(result: Result) -> float:
    return 100 * (result.miou or 0.0)


def _latency(result: Result) -> float:
    return result.trial.values["latency"]


def _number(result: Result) -> int:
    return int(result.name.removeprefix("trial-"))


def _pruned(result: Result) -> bool:
    return result.trial.state == "pruned" and result.last_miou is not None


def _cut(text: str) -> str:
    return text if len(text) <= 18 else f"…{text[-17:]}"


def _whole_numbers(axes: Axes, steps: Range | None = None) -> None:
    from matplotlib.ticker import MaxNLocator

    if steps and steps.step and (steps.high - steps.low) / steps.step < _MOST_TICKS:
        axes.set_xticks(range(int(steps.low), int(steps.high) + 1, int(steps.step)))
        return
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
