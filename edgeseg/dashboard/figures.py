"""The page's charts, as Plotly takes them: plain values. Streamlit fits paper, grid and text to its theme."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.dashboard.parts import Measured, Palette, Run

Figure = dict[str, Any]


@dataclass(frozen=True)
class Curve:
    """Columns of ``metrics.csv`` in training (where there is one) and validation, and how they are drawn."""

    train: str | None
    val: str
    scale: float
    axis: str


CURVES = {
    "mIoU": Curve("miou", "val_miou", 100, "mIoU in points, model resolution"),
    "loss": Curve("loss", "val_loss", 1, "loss"),
    "learning rate": Curve(None, "learning_rate", 1, "learning rate"),
    "largest class": Curve(None, "top_class_share", 100, "% of pixels given to the most predicted class"),
}
_SYMBOLS = {
    "litert": "circle",
    "onnx": "square",
    "openvino": "diamond",
    "tensorrt": "triangle-up",
    "keras predict": "cross",
    "tf.function": "x",
}
_GREY = "#8A94A0"
_NEAR_X, _NEAR_Y = 0.025, 0.12
"""Shares of the axes within which the numbers of two markers would touch."""
_LIFT, _LINE = 16, 13
"""Pixels from a marker to its number, and from one line of numbers to the next."""
_DARK_FROM = 45
"""Per cent from which the heatmap's blue is too dark for dark text."""


def series_colors(runs: Sequence[Run], palette: Palette) -> dict[str, str]:
    """Run to its colour, the same in all charts."""
    return {run.name: palette.series[index % len(palette.series)] for index, run in enumerate(runs)}


def curves(runs: Sequence[Run], name: str, colors: Mapping[str, str]) -> Figure:
    """One curve of several runs by epoch: validation drawn through, training dotted, the best ringed."""
    curve = CURVES[name]
    traces: list[dict[str, Any]] = []
    for run in runs:
        color = colors[run.name]
        if curve.train:
            line = {"color": color, "width": 1.4, "dash": "dot"}
            traces.append(_by_epoch(run, curve.train, curve.scale, "training", mode="lines", line=line))
        line = {"color": color, "width": 2.2}
        traces.append(_by_epoch(run, curve.val, curve.scale, "", mode="lines+markers", line=line))
        if name == "mIoU":
            traces.append(_ring(run, curve, color))
    layout = _layout("epoch", curve.axis)
    layout["xaxis"]["tickformat"] = "d"
    layout["showlegend"] = False
    return {"data": traces, "layout": layout}


def confusion(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """A confusion matrix ``[C, C]``, row = truth, each row in percent; the first class is at the top."""
    counts = np.asarray(matrix, np.float64)
    rows = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    trace = {
        "type": "heatmap",
        "z": rows.round(2).tolist(),
        "x": list(names),
        "y": list(names),
        "zmin": 0,
        "zmax": 100,
        "colorscale": "Blues",
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": "% of the true class", "side": "right"}, "thickness": 12},
        "hovertemplate": "%{y} taken for %{x}: %{z:.1f} %<extra></extra>",
    }
    layout = _layout("predicted", "truth", height=max(320, 34 * len(names) + 130))
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    layout["xaxis"] |= {"tickangle": -40, "showgrid": False}
    layout["annotations"] = [
        _cell(value, names[column], names[row])
        for (row, column), value in np.ndenumerate(rows)
        if value >= 0.5
    ]
    return {"data": [trace], "layout": layout}


def accuracy_latency(models: Sequence[Measured], kept: Sequence[bool], palette: Palette) -> Figure:
    """mIoU against the median of the whole path, a line on to its p99, numbered as the models are ordered.

    Args:
        models: Of one machine, scored on the same images; those without accuracy have no marker.
        kept: Of each, whether it is in the Pareto set, which a dashed line goes through.
        palette: The colours of the precisions.
    """
    known = [(n, m, k) for n, (m, k) in enumerate(zip(models, kept, strict=True), 1) if m.miou is not None]
    # A p99 far off the medians is cut at the edge; the table has its value.
    slowest = 2 * max((m.ms["p50"] for _, m, _ in known), default=0)
    right = 1.05 * min(max((m.ms["p99"] for _, m, _ in known), default=0), slowest)
    traces = [_frontier([model for _, model, best in known if best], right)]
    traces += [_marker(model, best, palette) for _, model, best in known]
    for runtime in dict.fromkeys(model.runtime for _, model, _ in known):
        traces.append(_key(runtime, _GREY, _SYMBOLS.get(runtime, "circle")))
    for precision in dict.fromkeys(model.precision for _, model, _ in known):
        traces.append(_key(precision, _precision_color(palette, precision), "line-ew-open", width=5))
    layout = _layout("latency of the whole path in ms: marker at p50, line to p99", "mIoU in points")
    bottom, top = _miou_range([100 * (model.miou or 0) for _, model, _ in known])
    layout["xaxis"]["range"], layout["yaxis"]["range"] = [0, right], [bottom, top]
    layout["annotations"] = _numbers([(n, model) for n, model, _ in known], right, top - bottom)
    return {"data": traces, "layout": layout | {"height": 460}}


def _by_epoch(run: Run, column: str, scale: float, suffix: str, **drawn: Any) -> dict[str, Any]:
    name = f"{run.name}, {suffix}" if suffix else run.name
    return {
        "type": "scatter",
        "x": [row["epoch"] for row in run.rows],
        "y": [scale * row[column] for row in run.rows],
        "name": name,
        "marker": {"size": 5},
        "hovertemplate": f"epoch %{{x}}: %{{y:.4g}}<extra>{html.escape(name)}</extra>",
        **drawn,
    }


def _ring(run: Run, curve: Curve, color: str) -> dict[str, Any]:
    best = max(run.rows, key=lambda row: row["val_miou"])
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [best["epoch"]],
        "y": [curve.scale * best[curve.val]],
        "marker": {"size": 13, "symbol": "circle-open", "color": color, "line": {"width": 2.5}},
        "hovertemplate": f"best: epoch %{{x}}, %{{y:.1f}}<extra>{html.escape(run.name)}</extra>",
    }


def _frontier(best: Sequence[Measured], right: float) -> dict[str, Any]:
    """Steps through the models that none other beats in both: what lies below and to the right is beaten."""
    ordered = sorted(best, key=lambda model: model.ms["p50"])
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [*(model.ms["p50"] for model in ordered), right],
        "y": [100 * (model.miou or 0) for model in [*ordered, *ordered[-1:]]],
        "line": {"shape": "hv", "dash": "dash", "width": 1.5, "color": _GREY},
        "name": "Pareto set",
        "hoverinfo": "skip",
    }


def _miou_range(mious: Sequence[float]) -> tuple[float, float]:
    """With room around it, so that a difference of a tenth of a point does not look like one."""
    lowest, highest = min(mious, default=0.0), max(mious, default=100.0)
    margin = max(1.0, 0.2 * (highest - lowest))
    return max(0.0, lowest - margin), min(100.0, highest + margin)


def _numbers(models: Sequence[tuple[int, Measured]], width: float, height: float) -> list[dict[str, Any]]:
    """A number above each marker, one line higher for each that it would cover."""
    placed: list[tuple[float, float, int]] = []
    drawn = []
    for number, model in models:
        x, y = model.ms["p50"], 100 * (model.miou or 0)
        near = [p for p in placed if abs(x - p[0]) < _NEAR_X * width and abs(y - p[1]) < _NEAR_Y * height]
        taken = {line for _, _, line in near}
        line = next(line for line in range(len(near) + 1) if line not in taken)
        # Lines are counted from one height, or a marker that lies a little lower would put two on one.
        base = max([y, *(above for _, above, _ in near)])
        placed.append((x, base, line))
        text = {"text": f"<b>{number}</b>", "showarrow": False, "yshift": _LIFT + _LINE * line}
        drawn.append({"x": x, "y": base, **text})
    return drawn


def _marker(model: Measured, best: bool, palette: Palette) -> dict[str, Any]:
    color = _precision_color(palette, model.precision)
    ms, kind = model.ms, f"{model.runtime} {model.precision}"
    outline = {"width": 2 if best else 0, "color": _GREY}
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [ms["p50"]],
        "y": [100 * (model.miou or 0)],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [ms["p99"] - ms["p50"]],
            "arrayminus": [0],
            "color": color,
            "thickness": 1.5,
            "width": 5,
        },
        "marker": {
            "size": 13,
            "color": color,
            "symbol": _SYMBOLS.get(model.runtime, "circle"),
            "line": outline,
        },
        "showlegend": False,
        "hovertemplate": f"{html.escape(model.name)}<br>{html.escape(kind)}<br>"
        f"%{{y:.1f}} points, p50 %{{x:.2f}} ms, p99 {ms['p99']:.2f} ms<extra></extra>",
    }


def _key(name: str, color: str, symbol: str, width: float = 0) -> dict[str, Any]:
    """An entry of the legend alone."""
    marker = {"size": 11, "color": color, "symbol": symbol, "line": {"width": width, "color": color}}
    drawn = {"type": "scatter", "mode": "markers", "x": [None], "y": [None]}
    return {**drawn, "name": html.escape(name), "marker": marker}


def _precision_color(palette: Palette, precision: str) -> str:
    return palette.precisions.get(precision, _GREY)


def _cell(value: float, x: str, y: str) -> dict[str, Any]:
    """The number in a cell of a heatmap; Plotly itself writes dark on dark."""
    color = "white" if value > _DARK_FROM else "#1f2933"
    return {"x": x, "y": y, "text": f"{value:.0f}", "showarrow": False, "font": {"color": color, "size": 12}}


def _layout(x: str, y: str, height: int = 380) -> dict[str, Any]:
    axis: Mapping[str, Any] = {"automargin": True, "zeroline": False}
    return {
        "height": height,
        "margin": {"l": 10, "r": 10, "t": 30, "b": 10},
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y}},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "hoverlabel": {"align": "left"},
    }
