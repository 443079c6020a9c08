"""Below the comparison: scores over many images of the split, and which of them to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import streamlit as st

from edgeseg.dashboard.markup import Cell, Group, Row, best_of, table
from edgeseg.dashboard.model import Model
from edgeseg.dashboard.page_images import Chosen
from edgeseg.dashboard.page_models import predict
from edgeseg.dashboard.scores import Looked, Survey, Tally
from edgeseg.tables import points

_AT_FIRST = 20
_LISTED = 10
_KEPT = "survey"


def show_survey(found: Chosen, models: Mapping[str, Model]) -> None:
    """A button that scores the first so many images, and what came of it.

    Raises:
        EdgesegError: An image cannot be read, or a model fails on it.
    """
    split = found.split
    if split is None:
        return
    st.subheader(f"Many images of {found.split_name}", anchor=False)
    field, button = st.columns([1, 3], vertical_alignment="bottom")
    most = len(split.names)
    count = int(field.number_input(f"Images, of {most}", 1, most, min(_AT_FIRST, most)))
    asked = (found.split_name, count, *(f"{name} {model.digest}" for name, model in models.items()))
    if button.button("Score them", icon=":material/leaderboard:"):
        st.session_state[_KEPT] = asked, _survey(found, models, count)
    kept = st.session_state.get(_KEPT)
    if kept and kept[0] == asked:
        _show(found, list(models), kept[1])


def score_table(names: Sequence[str], tally: Tally) -> str:
    """IoU and Dice of each class, a column for each model, and their means."""
    rows, scores = tally.rows(), tally.scores
    colors = {c.id: c.color for c in tally.labels.classes}
    body: list[Row] = [
        [Cell(row.name, swatch=colors[row.id]), points(row.share), *_scored(row.iou), *_scored(row.dice)]
        for row in rows
    ]
    means: Row = ["mean", "", *_scored([s.miou for s in scores]), *_scored([s.mean_dice for s in scores])]
    groups = [Group("", 2), Group("IoU", len(names)), Group("Dice", len(names))]
    return table(["class", "% of pixels", *names, *names], body, [means], groups)


def _survey(found: Chosen, models: Mapping[str, Model], count: int) -> Survey:
    split = found.split
    if split is None or found.picture.labels is None:
        raise ValueError("a survey needs a split")
    survey = Survey(list(models.values()), found.picture.labels)
    progress = st.progress(0.0)
    for index, name in enumerate(split.names[:count]):
        progress.progress(index / count, text=f"{index} of {count}: {name}")
        picture = split.read(name)
        survey.add(picture, [predict(model, picture) for model in models.values()])
    progress.empty()
    return survey


def _show(found: Chosen, names: list[str], survey: Survey) -> None:
    st.html(score_table(names, survey.tally))
    times = ", ".join(
        f"{name} {median(look.ms[i] for look in survey.looked):.1f} ms" for i, name in enumerate(names)
    )
    st.caption(f"Of {len(survey.looked)} images together, at the labels' own size. Median latency: {times}.")
    worst = survey.worst(_LISTED)
    by = "on which the models disagree most" if len(names) > 1 else "of the lowest mIoU"
    st.markdown(f"**The images {by}**")
    header: Row = [Cell("image", left=True), "disagreement, %", *(f"mIoU {name}" for name in names)]
    rows: list[Row] = [[look.name, points(look.disagreement), *_scored(look.miou)] for look in worst]
    st.html(table(header, rows))
    _offer(found, worst)


def _offer(found: Chosen, worst: Sequence[Looked]) -> None:
    field, button = st.columns([3, 1], vertical_alignment="bottom")
    name = field.selectbox("Look at", [look.name for look in worst])
    button.button("Show it above", icon=":material/visibility:", on_click=found.look_at, args=(name,))


def _scored(values: Sequence[float]) -> list[Cell]:
    return best_of(values, [points(value) for value in values])
