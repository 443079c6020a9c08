"""The first sheet: one image, and what several models say of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from edgeseg.dashboard.images import Picture
from edgeseg.dashboard.maps import (
    IGNORED,
    MORE_CLASSES,
    TWO_CLASSES,
    WRONG,
    confidence_colors,
    confidence_map,
    disagreement_map,
    distinct_classes,
    error_map,
)
from edgeseg.dashboard.markup import Cell, Row, empty, heading, legend, plain, table
from edgeseg.dashboard.model import Model, Prediction
from edgeseg.dashboard.page_images import choose_picture
from edgeseg.dashboard.page_models import open_models, predict
from edgeseg.dashboard.page_survey import score_table, show_survey
from edgeseg.dashboard.parts import Parts, Settings
from edgeseg.dashboard.scores import agreements, confidence_line, picture_tally, refuse_other_classes
from edgeseg.errors import EdgesegError
from edgeseg.labels import IGNORE_INDEX, LabelSet, Mask
from edgeseg.metrics import Scores
from edgeseg.overlay import draw_overlay
from edgeseg.resize import Image, resize_image, resize_mask
from edgeseg.tables import points

MOST_MODELS = 4
_SHOWN_WIDTH = 900


@dataclass(frozen=True)
class Answer:
    """A model that was asked, and what it said.

    Args:
        name: What the model is called on this page.
        scores: Beside the truth, where there is one of the model's classes.
    """

    name: str
    model: Model
    prediction: Prediction
    scores: Scores | None = None


def show_compare(settings: Settings, parts: Parts) -> None:
    """Image, truth and predictions side by side, what differs, scores and times.

    Raises:
        EdgesegError: The dataset or the image cannot be read.
    """
    models = open_models(settings, parts)
    chosen = _choose_models(models)
    found = choose_picture(settings, parts)
    if found is None:
        st.info("Upload an image in the sidebar.", icon=":material/image:")
        return
    picture = found.picture
    answers = _ask(chosen, models, picture)
    overlay = st.sidebar.toggle("Classes over the image", help="Off: the classes' colours alone.")
    if picture.truth is not None:
        answers = [_scored(picture, answer) for answer in answers]
    scored = [answer for answer in answers if answer.scores]
    _show_legend(picture, answers)
    _show_matrix(picture, answers, overlay)
    if scored:
        _show_scores(picture, scored)
    if answers:
        _show_times(answers)
    if scored and found.split:
        show_survey(found, {answer.name: answer.model for answer in scored})


def _choose_models(models: dict[str, Model]) -> list[str]:
    if not models:
        st.sidebar.info("No model is open: name bundles, .keras files or services after 'edgeseg dashboard'.")
        return []
    names = list(models)
    return st.sidebar.multiselect(
        "Models", names, default=names[: min(3, MOST_MODELS)], max_selections=MOST_MODELS
    )


def _ask(names: Sequence[str], models: dict[str, Model], picture: Picture) -> list[Answer]:
    answers = []
    for name in names:
        try:
            with st.spinner(f"Asking {name}…"):
                answers.append(Answer(name, models[name], predict(models[name], picture)))
        except EdgesegError as error:
            st.error(plain(str(error)), icon=":material/error:")
    return answers


def _scored(picture: Picture, answer: Answer) -> Answer:
    """With its scores, or with a line on the page that says why there are none."""
    try:
        (scores,) = picture_tally(picture, [answer.model], [answer.prediction]).scores
    except EdgesegError as error:
        st.warning(f"No scores. {plain(str(error))}", icon=":material/warning:")
        return answer
    return replace(answer, scores=scores)


def _show_legend(picture: Picture, answers: Sequence[Answer]) -> None:
    """The classes of the truth; those of a model where it has others."""
    sets: dict[tuple[str, ...], LabelSet] = {}
    for labels in [picture.labels, *(answer.model.labels for answer in answers)]:
        if labels is not None:
            sets.setdefault(labels.names, labels)
    for labels in sets.values():
        st.html(legend([(c.name, c.color) for c in labels.classes]))


def _show_matrix(picture: Picture, answers: Sequence[Answer], overlay: bool) -> None:
    """A column for the image and one for each model; under one another what belongs together."""
    view = _View(picture, overlay)
    first, *others = st.columns(1 + len(answers), gap="small")
    with first:
        st.html(heading("Image", f"{picture.image.shape[1]} × {picture.image.shape[0]} · {picture.name}"))
        view.photograph()
    for column, answer in zip(others, answers, strict=True):
        with column:
            told = f"mIoU {points(answer.scores.miou)} · " if answer.scores else ""
            st.html(heading(answer.name, f"{told}{answer.prediction.total_ms:.1f} ms · {answer.model.kind}"))
            view.classes(answer.prediction.mask, answer.model.labels)
    if picture.truth is not None and picture.labels is not None:
        _show_errors(view, picture.truth, picture.labels, answers)
    if answers:
        _show_doubts(view, picture, answers)
    if len(answers) > 2 and len({answer.model.labels.names for answer in answers}) == 1:
        _show_agreement(answers)


def _show_errors(view: _View, truth: Mask, labels: LabelSet, answers: Sequence[Answer]) -> None:
    first, *others = st.columns(1 + len(answers), gap="small")
    with first:
        st.html(heading("Truth"))
        view.classes(truth, labels)
    for column, answer in zip(others, answers, strict=True):
        with column:
            if answer.scores is None:
                st.html(heading("Errors"))
                st.html(empty("it cannot be held against this truth"))
                continue
            wrong = points(1 - answer.scores.pixel_accuracy)
            st.html(heading("Errors", f"{wrong} % of the labelled pixels"))
            mask = view.small(answer.prediction.mask)
            view.show(error_map(view.image, view.small(truth), mask, labels.ignore_index))
            if answer is answers[0]:
                st.html(legend([("wrong", WRONG), ("without label", IGNORED)]))


def _show_doubts(view: _View, picture: Picture, answers: Sequence[Answer]) -> None:
    """Where the models disagree, and how sure each one is."""
    first, *others = st.columns(1 + len(answers), gap="small")
    with first:
        _show_disagreement(view, answers)
    sure = [answer for answer in answers if answer.prediction.confidence is not None]
    ignored = picture.labels.ignore_index if picture.labels else IGNORE_INDEX
    for column, answer in zip(others, answers, strict=True):
        with column:
            truth = picture.truth if answer.scores else None
            st.html(heading("Confidence", confidence_line(answer.prediction, truth, ignored)))
            if answer.prediction.confidence is None:
                st.html(empty("this model gives none"))
                continue
            view.show(confidence_map(view.small(answer.prediction.confidence)))
            if answer is sure[0]:
                colors = confidence_colors()
                st.html(legend((f"{100 * i // (len(colors) - 1)} %", c) for i, c in enumerate(colors)))


def _show_disagreement(view: _View, answers: Sequence[Answer]) -> None:
    if len(answers) < 2:
        st.html(heading("Disagreement"))
        st.html(empty("choose a second model"))
        return
    try:
        refuse_other_classes([answer.model for answer in answers])
    except EdgesegError as error:
        st.html(heading("Disagreement"))
        st.warning(plain(str(error)), icon=":material/warning:")
        return
    masks = [answer.prediction.mask for answer in answers]
    share = float((distinct_classes(masks) > 1).mean())
    st.html(heading("Disagreement", f"{points(share)} % of the pixels"))
    view.show(disagreement_map(view.image, [view.small(mask) for mask in masks]))
    more = [("more", MORE_CLASSES)] if len(answers) > 2 else []
    st.html(legend([("two classes", TWO_CLASSES), *more]))


def _show_scores(picture: Picture, answers: Sequence[Answer]) -> None:
    st.subheader("This image, class by class", anchor=False)
    tally = picture_tally(picture, [a.model for a in answers], [a.prediction for a in answers])
    st.html(score_table([answer.name for answer in answers], tally))
    st.caption(
        "In points, at the label's own size. A class in neither truth nor prediction is left out. "
        "One image is no score of a model: 'edgeseg evaluate' scores a whole split."
    )


def _show_times(answers: Sequence[Answer]) -> None:
    st.subheader("Latency of this image", anchor=False)
    stages = list(dict.fromkeys(stage for a in answers for stage in a.prediction.stages_ms))
    rows: list[Row] = [
        [
            answer.name,
            Cell(answer.model.kind, left=True),
            *(_ms(answer.prediction.stages_ms.get(stage)) for stage in stages),
            _ms(answer.prediction.total_ms),
        ]
        for answer in answers
    ]
    st.html(table(["model", Cell("runs on", left=True), *stages, "total, ms"], rows))
    st.caption(
        "One call each, beside this page, of the decoded image; a service's total is as seen from here. "
        "'edgeseg benchmark' measures."
    )


def _show_agreement(answers: Sequence[Answer]) -> None:
    found = agreements([a.name for a in answers], [a.prediction for a in answers])
    told = "; ".join(f"{one} and {other} {points(share)} %" for (one, other), share in found.items())
    st.caption(plain(f"The same class on so many pixels: {told}."))


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


class _View:
    """One picture at the size at which it is shown, for all that is drawn of it."""

    def __init__(self, picture: Picture, overlay: bool) -> None:
        height, width = picture.image.shape[:2]
        scale = min(1.0, _SHOWN_WIDTH / width)
        self._overlay, self._size = overlay, (max(1, round(scale * height)), max(1, round(scale * width)))
        self.image: Image = resize_image(picture.image, *self._size)

    def small(self, mask: Mask) -> Mask:
        return resize_mask(mask, *self._size)

    def photograph(self) -> None:
        st.image(self.image, width="stretch", output_format="JPEG")

    def classes(self, mask: Mask, labels: LabelSet) -> None:
        small = self.small(mask)
        over = self._overlay
        self.show(draw_overlay(self.image, small, labels, legend=False) if over else labels.colorize(small))

    def show(self, drawn: Image) -> None:
        st.image(drawn, width="stretch", output_format="PNG")
