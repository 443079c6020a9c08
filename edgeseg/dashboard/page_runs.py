"""The second sheet: runs beside one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from edgeseg.dashboard.figures import confusion, curves, series_colors
from edgeseg.dashboard.markup import Cell, Row, best_of, legend, plain, table
from edgeseg.dashboard.parts import Parts, Run, Settings
from edgeseg.tables import points

MOST_RUNS = 8
_AT_FIRST = 4


def show_runs(settings: Settings, parts: Parts) -> None:
    """Curves, confusion matrices, prediction grids and recipes of the runs that are chosen.

    Raises:
        EdgesegError: The folder of runs cannot be read.
    """
    runs = {run.name: run for run in parts.find_runs(Path(settings.runs))} if settings.runs else {}
    if not runs:
        where = f"below {settings.runs}" if settings.runs else "here: name a folder of them with --runs"
        st.info(plain(f"There are no runs {where}."), icon=":material/info:")
        return
    names = st.sidebar.multiselect(
        f"Runs, of {len(runs)}", list(runs), default=list(runs)[:_AT_FIRST], max_selections=MOST_RUNS
    )
    chosen = [runs[name] for name in names]
    for run in chosen:
        if run.fault:
            st.warning(plain(run.fault), icon=":material/warning:")
    if not chosen:
        st.info("Choose runs in the sidebar.", icon=":material/info:")
        return
    _show_table(chosen)
    _show_curves([run for run in chosen if run.rows], parts)
    _show_confusion(chosen)
    _show_grids(chosen)
    _show_recipes(chosen)


def _show_table(runs: Sequence[Run]) -> None:
    st.subheader("Runs", anchor=False)
    scores = [float(run.summary.get("miou", "nan")) for run in runs]
    cells = best_of(scores, [points(score) for score in scores])
    rows: list[Row] = []
    for run, miou in zip(runs, cells, strict=True):
        best = max(run.rows, key=lambda row: row["val_miou"], default=None)
        rows.append(
            [
                run.name,
                *(Cell(str(run.recipe.get(key, "")), left=True) for key in ("model", "loss", "data")),
                f"{len(run.rows)} of {run.recipe.get('epochs', '?')}",
                f"{best['epoch']:.0f}" if best else "",
                points(best["val_miou"]) if best else "n/a",
                miou,
                f"{sum(row['seconds'] for row in run.rows) / 60:.1f}",
            ]
        )
    left = [Cell(name, left=True) for name in ("model", "loss", "data")]
    header: Row = ["run", *left, "epochs", "best", "val mIoU, model size", "mIoU, label size", "minutes"]
    st.html(table(header, rows))


def _show_curves(runs: Sequence[Run], parts: Parts) -> None:
    st.subheader("Curves", anchor=False)
    if not runs:
        st.caption("No epoch of these runs has ended yet.")
        return
    colors = series_colors(runs, parts.palette)
    st.html(legend(colors.items()))
    for pair in (("mIoU", "loss"), ("learning rate", "largest class")):
        for column, name in zip(st.columns(2, gap="medium"), pair, strict=True):
            column.plotly_chart(curves(runs, name, colors), key=f"curve {name}", config=_CHART)
    st.caption("Drawn through: validation. Dotted: training, on augmented images. Ringed: the best epoch.")


def _show_confusion(runs: Sequence[Run]) -> None:
    found = [run for run in runs if run.confusion or _matrix(run)]
    if not found:
        return
    st.subheader("Confusion", anchor=False)
    columns = st.columns(min(2, len(found)), gap="medium")
    for index, run in enumerate(found):
        with columns[index % len(columns)]:
            st.markdown(f"**{plain(run.name)}**")
            matrix = _matrix(run)
            if matrix:
                st.plotly_chart(confusion(*matrix), key=f"confusion {run.name}", config=_CHART)
            elif run.confusion:
                st.image(str(run.confusion), width="stretch")
    st.caption("Of the best checkpoint, at the label's size: each row in per cent of the true class.")


def _matrix(run: Run) -> tuple[list[list[int]], list[str]] | None:
    evaluation: Mapping[str, Any] = run.summary.get("evaluation", {})
    names = list(evaluation.get("label_resolution", {}).get("per_class", {}))
    matrix = evaluation.get("confusion_matrix")
    return (matrix, names) if matrix and len(matrix) == len(names) else None


def _show_grids(runs: Sequence[Run]) -> None:
    epochs = sorted({epoch for run in runs for epoch in run.grids})
    if not epochs:
        return
    st.subheader("Predictions", anchor=False)
    epoch = st.select_slider("Epoch", epochs, value=epochs[-1]) if len(epochs) > 1 else epochs[0]
    found = [run for run in runs if run.grids]
    columns = st.columns(min(2, len(found)), gap="medium")
    for index, run in enumerate(found):
        with columns[index % len(columns)]:
            # A run that ended earlier, or keeps fewer, shows the last it has until then.
            until = max((e for e in run.grids if e <= epoch), default=min(run.grids))
            st.markdown(f"**{plain(run.name)}**, epoch {until}")
            st.image(str(run.grids[until]), width="stretch")


def _show_recipes(runs: Sequence[Run]) -> None:
    st.subheader("Recipes", anchor=False)
    fields = list(dict.fromkeys(field for run in runs for field in run.recipe))
    differing = [f for f in fields if len({_value(run.recipe, f) for run in runs}) > 1]
    if len(runs) > 1 and differing:
        names = [Cell(run.name, left=True) for run in runs]
        rows: list[Row] = [
            [field, *(Cell(_value(run.recipe, field), left=True) for run in runs)] for field in differing
        ]
        st.html(table(["differs in", *names], rows))
    elif len(runs) > 1:
        st.caption("They are all the same.")
    for run in runs:
        with st.expander(f"recipe.yaml of {plain(run.name)}"):
            fields_of: list[Row] = [[f, Cell(_value(run.recipe, f), left=True)] for f in run.recipe]
            st.html(table(["field", Cell("value", left=True)], fields_of))


def _value(recipe: Mapping[str, Any], field: str) -> str:
    return str(recipe[field]) if field in recipe else "–"


_CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}
