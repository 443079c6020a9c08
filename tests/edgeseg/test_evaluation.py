from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import DataError
from edgeseg.evaluation import Evaluator, Sample, evaluate
from edgeseg.labels import LabelClass, LabelSet

LABELS = LabelSet("two", (LabelClass(0, "ground", (0, 0, 0)), LabelClass(1, "thing", (255, 0, 0))))


def sample(name: str, mask: np.ndarray) -> Sample:
    image = np.where(mask[..., None] == 1, 255, 0).astype(np.uint8).repeat(3, axis=2)
    return Sample(name, image, mask)


def test_perfect_prediction_at_both_resolutions() -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 1
    result = evaluate(lambda image: (image[..., 0] > 127).astype(np.uint8), [sample("a", mask)], LABELS, 4, 4)
    assert result.label_scores.miou == 1.0
    assert result.model_scores.miou == 1.0
    assert result.label_matrix.sum() == 64
    assert result.model_matrix.sum() == 16


def test_resolutions_differ_where_the_model_is_too_coarse() -> None:
    """A one-pixel class that a 2×2 model cannot draw is lost at label resolution only."""
    mask = np.zeros((4, 4), np.uint8)
    mask[0, 0] = 1
    evaluator = Evaluator(LABELS)
    evaluator.add(Sample("a", np.zeros((4, 4, 3), np.uint8), mask), np.zeros((2, 2), np.uint8))
    result = evaluator.result()
    # By hand, at label resolution: ground 15/16, thing 0/1.
    assert result.label_scores.iou.tolist() == [15 / 16, 0.0]
    assert result.label_scores.miou == pytest.approx(15 / 32)


def test_worst_images_come_first_and_all_ignored_ones_not_at_all() -> None:
    good, bad = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    ignored = np.full((4, 4), 255, np.uint8)
    samples = [sample("good", good), sample("ignored", ignored), sample("bad", bad)]
    result = evaluate(lambda image: np.zeros((4, 4), np.uint8), samples, LABELS, 4, 4)
    assert [image.name for image in result.worst()] == ["bad", "good"]
    assert result.label_matrix.sum() == 32
    assert result.to_dict(LABELS)["label_resolution"]["per_class"]["thing"]["precision"] is None


def test_categories_where_the_label_set_has_them() -> None:
    third = LabelClass(2, "other thing", (0, 255, 0))
    labels = LabelSet("three", (*LABELS.classes, third), categories=("flat", "object", "object"))
    truth = np.array([[0, 0, 1, 2]], np.uint8)
    evaluator = Evaluator(labels)
    evaluator.add(Sample("a", np.zeros((1, 4, 3), np.uint8), truth), np.array([[0, 1, 2, 2]], np.uint8))
    result = evaluator.result()
    # By hand: one of two flat pixels; two of the three that are objects, or were taken for one.
    categories = result.category_scores(labels)
    assert categories is not None
    assert categories.iou.tolist() == [1 / 2, 2 / 3]
    written = result.to_dict(labels)["categories"]
    assert written["miou"] == pytest.approx(7 / 12)
    assert list(written["per_class"]) == ["flat", "object"]

    assert result.category_scores(LABELS) is None
    assert "categories" not in result.to_dict(LabelSet("three", labels.classes))


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="at least one labelled image"):
        evaluate(lambda image: image[..., 0], [], LABELS, 4, 4)
