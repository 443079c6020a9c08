"""Scores of classes and categories against the official Cityscapes scripts, on the same files."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeseg.evaluation import Evaluation, Evaluator
from edgeseg.labels import LabelSet, Mask
from edgeseg.resize import resize_mask
from edgeseg.training.data import open_dataset
from edgeseg.training.data.cityscapes import (
    CITYSCAPES7,
    CITYSCAPES19,
    IMAGE_ENDING,
    MASK_ENDING,
    RAW_LABELS,
)
from edgeseg.training.data.synthetic import draw_scene

official = pytest.importorskip(
    "cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling",
    reason="the official scripts are not installed: pip install --no-deps cityscapesscripts pyquaternion",
)

SIZE = (48, 96)
VOID, ROAD, PARKING, BUILDING, SKY, RIDER, CAR = 0, 7, 9, 11, 23, 25, 26
RAW_OF_CLASS = np.array([raw.id for raw in RAW_LABELS if raw.train_id is not None], np.uint8)
SHARE_RIGHT = 0.7

Truths = list[Mask]


def noise(random: np.random.Generator) -> Truths:
    """Every id of a labelIds file, those that are ignored too, in every picture."""
    return [random.integers(0, 34, SIZE).astype(np.uint8) for _ in range(3)]


def streets(_random: np.random.Generator) -> Truths:
    return [draw_scene(3, "val", index, 128, 256)[1] for index in range(3)]


def few_classes(random: np.random.Generator) -> Truths:
    """Most classes are in no truth; one is a single pixel, and one picture is void alone."""
    truths = [random.choice(np.array([VOID, ROAD, SKY, PARKING], np.uint8), SIZE) for _ in range(2)]
    truths[0][5, 7] = RIDER
    return [*truths, np.full(SIZE, VOID, np.uint8)]


def no_ignored_pixel(random: np.random.Generator) -> Truths:
    return [random.choice(RAW_OF_CLASS, SIZE) for _ in range(2)]


@pytest.mark.parametrize("draw", [noise, streets, few_classes, no_ignored_pixel])
def test_scores_are_the_official_ones(draw: Callable[[np.random.Generator], Truths], tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    truths = draw(random)
    predictions = [predicted(truth, random) for truth in truths]
    ours, theirs = both(tmp_path, truths, predictions, CITYSCAPES19)

    assert_same(ours.label_scores.iou, CITYSCAPES19.names, theirs["classScores"])
    assert ours.label_scores.miou == pytest.approx(theirs["averageScoreClasses"], abs=1e-6)
    categories = ours.category_scores(CITYSCAPES19)
    assert categories is not None
    assert len(categories.iou) == 7
    assert_same(categories.iou, CITYSCAPES19.category_names, theirs["categoryScores"])
    assert categories.miou == pytest.approx(theirs["averageScoreCategories"], abs=1e-6)
    # Neither all right nor all wrong, and the two means are of different things.
    assert 0.05 < ours.label_scores.miou < 0.95
    assert abs(categories.miou - ours.label_scores.miou) > 1e-3


def test_a_prediction_at_the_models_size_is_scored_at_the_labels(tmp_path: Path) -> None:
    random = np.random.default_rng(12)
    truths = streets(random)
    small = [predicted(resize_mask(truth, 60, 100), random) for truth in truths]
    ours, theirs = both(tmp_path, truths, small, CITYSCAPES19)
    assert_same(ours.label_scores.iou, CITYSCAPES19.names, theirs["classScores"])
    assert ours.label_scores.miou == pytest.approx(theirs["averageScoreClasses"], abs=1e-6)
    assert ours.model_scores.miou != pytest.approx(ours.label_scores.miou, abs=1e-6)


def test_the_label_set_of_categories_is_official_where_no_skipped_label_is(tmp_path: Path) -> None:
    random = np.random.default_rng(13)
    truths = [random.choice(np.array([VOID, ROAD, BUILDING, SKY, CAR], np.uint8), SIZE)]
    ours, theirs = both(tmp_path / "a", truths, [category_ids(truths[0], random)], CITYSCAPES7)
    assert_same(ours.label_scores.iou, CITYSCAPES7.names, theirs["categoryScores"])

    # Parking is flat, and the official score skips it: what is found there counts here and not there.
    truths[0][:8] = PARKING
    ours, theirs = both(tmp_path / "b", truths, [np.zeros(SIZE, np.uint8)], CITYSCAPES7)
    assert ours.label_scores.iou[0] > theirs["categoryScores"]["flat"] + 0.01


def test_the_official_categories_are_those_of_the_label_set() -> None:
    by_name = {label.name: label for label in official.labels}
    assert CITYSCAPES19.categories == tuple(by_name[name].category for name in CITYSCAPES19.names)
    skipped = {raw.name for raw in RAW_LABELS if raw.train_id is None}
    assert skipped == {label.name for label in official.labels if label.ignoreInEval}


def predicted(truth: Mask, random: np.random.Generator) -> Mask:
    """Class ids that are right in most pixels, and anything where the truth is ignored."""
    encoded = CITYSCAPES19.encode_ids(truth)
    guessed = random.integers(0, 19, truth.shape)
    right = (encoded != CITYSCAPES19.ignore_index) & (random.random(truth.shape) < SHARE_RIGHT)
    return np.where(right, encoded, guessed).astype(np.uint8)


def category_ids(truth: Mask, random: np.random.Generator) -> Mask:
    encoded = CITYSCAPES7.encode_ids(truth)
    right = (encoded != CITYSCAPES7.ignore_index) & (random.random(truth.shape) < SHARE_RIGHT)
    return np.where(right, encoded, random.integers(0, 7, truth.shape)).astype(np.uint8)


def both(
    folder: Path, truths: Truths, predictions: list[Mask], labels: LabelSet
) -> tuple[Evaluation, dict[str, Any]]:
    """Scores of edgeseg and of the official scripts, of the same pictures in the standard tree."""
    written, guessed = [], []
    for index, (truth, prediction) in enumerate(zip(truths, predictions, strict=True)):
        stem = f"ulm/ulm_{index:06d}_000019"
        blank = np.zeros((*truth.shape, 3), np.uint8)
        write(folder / "leftImg8bit" / "val" / (stem + IMAGE_ENDING), blank)
        written.append(write(folder / "gtFine" / "val" / (stem + MASK_ENDING), truth))
        raw = raw_of_class(labels)[resize_mask(prediction, *truth.shape)]
        guessed.append(write(folder / "results" / f"{stem}_prediction.png", raw))
    return evaluated(folder, predictions, labels), official_scores(guessed, written)


def evaluated(folder: Path, predictions: list[Mask], labels: LabelSet) -> Evaluation:
    evaluator = Evaluator(labels)
    samples = open_dataset(f"{labels.name}:{folder}").samples("val")
    for sample, prediction in zip(samples, predictions, strict=True):
        evaluator.add(sample, prediction)
    return evaluator.result()


def official_scores(predictions: list[str], truths: list[str]) -> dict[str, Any]:
    args = copy.copy(official.args)
    args.evalInstLevelScore, args.JSONOutput, args.quiet = False, False, True
    scores: dict[str, Any] = official.evaluateImgLists(predictions, truths, args)
    return scores


def raw_of_class(labels: LabelSet) -> Mask:
    """The raw id that a submission writes for each class; for a category, that of one of its labels."""
    if labels is CITYSCAPES19:
        return RAW_OF_CLASS
    first = {raw.category: raw.id for raw in reversed(RAW_LABELS) if raw.train_id is not None}
    return np.array([first[name] for name in labels.names], np.uint8)


def write(path: Path, picture: Mask) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), picture)
    return str(path)


def assert_same(ours: np.ndarray, names: tuple[str, ...], theirs: Mapping[str, float]) -> None:
    for value, name in zip(ours, names, strict=True):
        assert math.isnan(value) == math.isnan(theirs[name]), name
        assert value == pytest.approx(theirs[name], abs=1e-6, nan_ok=True), name
