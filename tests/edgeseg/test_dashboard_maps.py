"""Maps, scores and tables of the dashboard, against cases worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgeseg.dashboard.images import MAX_PIXELS, Picture, read_upload, shared_start
from edgeseg.dashboard.maps import (
    IGNORED,
    MORE_CLASSES,
    TWO_CLASSES,
    WRONG,
    confidence_colors,
    disagreement_map,
    distinct_classes,
    error_map,
)
from edgeseg.dashboard.markup import Cell, Group, best_of, legend, plain, table
from edgeseg.dashboard.model import FunctionModel, Prediction
from edgeseg.dashboard.scores import Survey, agreements, confidence_line, picture_tally, refuse_other_classes
from edgeseg.errors import DataError, SourceError
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.runtimes.base import RawOutput
from toys import CLASSES

LABELS = LabelSet("channels", tuple(LabelClass(i, n, c) for i, (n, c) in enumerate(CLASSES)))
OTHERS = LabelSet("animals", tuple(LabelClass(i, n, (i, i, i)) for i, n in enumerate(("cat", "dog", "cow"))))
IMAGE = np.full((2, 4, 3), 60, np.uint8)
TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], np.uint8)
HALF = np.array([[0, 0, 1, 2], [0, 1, 1, 2]], np.uint8)


def model(mask: np.ndarray, name: str = "m", labels: LabelSet = LABELS) -> FunctionModel:
    return FunctionModel(name, "toy", name, labels, mask.shape, lambda image: RawOutput(mask))


def prediction(mask: np.ndarray, confidence: np.ndarray | None = None) -> Prediction:
    return Prediction(mask, confidence, 5.0, {})


def near(pixel: Any, color: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.asarray(pixel, int) - color).max() < 40)


def test_errors_are_marked_and_what_has_no_label_is_no_error() -> None:
    drawn = error_map(IMAGE, TRUTH, HALF, 255)
    wrong = {(y, x) for y in range(2) for x in range(4) if near(drawn[y, x], WRONG)}
    assert wrong == {(0, 3), (1, 1)}
    assert near(drawn[1, 3], IGNORED)
    assert len(set(drawn[0, 0].tolist())) == 1, "what is right stays grey"


def test_disagreement_counts_the_classes_that_are_named() -> None:
    third = np.array([[0, 0, 0, 0], [0, 0, 1, 1]], np.uint8)
    named = distinct_classes([np.where(TRUTH == 255, 1, TRUTH).astype(np.uint8), HALF, third])
    assert named.tolist() == [[1, 1, 2, 3], [1, 2, 1, 2]]
    drawn = disagreement_map(IMAGE, [np.where(TRUTH == 255, 1, TRUTH).astype(np.uint8), HALF, third])
    assert near(drawn[0, 2], TWO_CLASSES)
    assert near(drawn[0, 3], MORE_CLASSES)
    assert not near(drawn[0, 0], TWO_CLASSES)


def test_confidence_goes_from_dark_to_light() -> None:
    brightness = [sum(color) for color in confidence_colors()]
    assert len(brightness) == 6
    assert brightness == sorted(brightness)


def test_a_picture_is_scored_at_its_labels_size() -> None:
    picture = Picture("p", IMAGE, TRUTH, LABELS)
    tally = picture_tally(picture, [model(HALF), model(TRUTH, "n")], [prediction(HALF), prediction(TRUTH)])
    red, green, blue = tally.rows()
    assert (red.iou, red.dice) == ([pytest.approx(3 / 4), 1.0], [pytest.approx(6 / 7), 1.0])
    assert green.iou == [pytest.approx(2 / 4), 1.0]
    assert blue.iou[0] == 0.0
    assert np.isnan(blue.iou[1]), "in neither the truth nor that prediction"
    assert (red.share, green.share, blue.share) == (pytest.approx(4 / 7), pytest.approx(3 / 7), 0.0)


def test_other_classes_are_refused_by_name() -> None:
    with pytest.raises(DataError, match="the truth, for other: expected the model's classes: cat, dog, cow"):
        picture_tally(Picture("p", IMAGE, TRUTH, LABELS), [model(HALF, "other", OTHERS)], [prediction(HALF)])
    with pytest.raises(DataError, match="model b, beside a"):
        refuse_other_classes([model(HALF, "a"), model(HALF, "b", OTHERS)])


def test_a_survey_is_one_matrix_over_all_images_and_finds_the_most_disputed() -> None:
    survey = Survey([model(HALF), model(TRUTH, "n")], LABELS)
    full = np.zeros((2, 4), np.uint8)
    survey.add(Picture("calm", IMAGE, full, LABELS), [prediction(full), prediction(full)])
    survey.add(Picture("disputed", IMAGE, TRUTH, LABELS), [prediction(HALF), prediction(full)])
    assert [look.name for look in survey.worst(5)] == ["disputed", "calm"]
    assert survey.worst(1)[0].disagreement == pytest.approx(5 / 8)
    # Red over both images: 8 + 3 right, of 8 + 4 in the truth and 8 + 3 predicted.
    assert survey.tally.rows()[0].iou[0] == pytest.approx(11 / 12)


def test_agreement_and_confidence_in_words() -> None:
    two = [prediction(HALF), prediction(np.zeros((2, 4), np.uint8))]
    assert agreements(["a", "b"], two) == {("a", "b"): pytest.approx(3 / 8)}
    sure = np.full((2, 4), 255, np.uint8)
    sure[0, 3] = sure[1, 1] = 51
    told = confidence_line(prediction(HALF, sure), TRUTH, 255)
    assert told == "mean 80.0 %, 20.0 % where wrong"
    assert confidence_line(prediction(HALF), TRUTH, 255) == ""


def test_a_function_is_a_model_at_the_images_size() -> None:
    half = FunctionModel(
        "m", "toy", "d", LABELS, (2, 4), lambda image: RawOutput(HALF, np.full((2, 4), 9, np.uint8))
    )
    found = half.predict(np.zeros((4, 8, 3), np.uint8))
    assert found.mask.shape == (4, 8)
    assert found.confidence is not None
    assert found.confidence.shape == (4, 8)
    assert set(found.stages_ms) == {"resize", "infer", "post"}


def test_what_a_table_holds_is_text_and_the_best_is_marked() -> None:
    cells = best_of([0.5, 0.7, float("nan")], ["50.0", "70.0", "n/a"])
    assert [cell.best for cell in cells] == [False, True, False]
    assert not any(cell.best for cell in best_of([0.5, 0.50001], ["50.0", "50.0"]))
    drawn = table(["<b>", "x"], [["a & b", Cell("1", best=True, swatch=(1, 2, 3))]], groups=[Group("g", 2)])
    assert "&lt;b&gt;" in drawn
    assert "a &amp; b" in drawn
    assert 'class="es-best"' in drawn
    assert "rgb(1, 2, 3)" in drawn
    assert "<script>" not in legend([("<script>", (0, 0, 0))])
    assert plain("a_b*[c](d):x: $y$") == r"a\_b\*\[c\]\(d\)\:x\: \$y\$"


def test_uploads_are_measured_before_they_are_decoded() -> None:
    import io

    from PIL import Image as Pillow

    def png(width: int, height: int) -> bytes:
        file = io.BytesIO()
        Pillow.new("1", (width, height)).save(file, "png")
        return file.getvalue()

    assert read_upload("a.png", png(6, 4)).image.shape == (4, 6, 3)
    side = int(MAX_PIXELS**0.5) + 1
    with pytest.raises(DataError, match=r"bomb\.png: expected an image of at most 40 million pixels"):
        read_upload("bomb.png", png(side, side))
    with pytest.raises(DataError, match=r"bomb\.png: .* found 20000x20000"):
        read_upload("bomb.png", png(20_000, 20_000))
    with pytest.raises(DataError, match=r"a\.png: .* found 15 bytes that begin with"):
        read_upload("a.png", b"no image at all")
    with pytest.raises((DataError, SourceError), match=r"a\.png"):
        read_upload("a.png", png(64, 64)[:50])


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (["val/a_001_x", "val/a_002_x"], "val/a_"),
        (["0016E5_07959", "0016E5_07961"], "0016E5_"),
        (["one", "other"], ""),
        (["val/alone"], ""),
        ([], ""),
    ],
)
def test_what_all_names_begin_with_is_left_out(names: list[str], shared: str) -> None:
    assert shared_start(names) == shared
