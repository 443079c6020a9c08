"""edgeseg.metrics held against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from edgeseg.errors import InferenceError
from edgeseg.metrics import ConfusionMatrix, agreement, merge_classes, scores_of

CLASSES = 6


def random_masks(seed: int, ignored: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, (3, 17, 23)).astype(np.uint8)
    prediction = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, CLASSES, truth.shape))
    truth[rng.random(truth.shape) < ignored] = 255
    return truth, prediction.astype(np.uint8)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_scikit_learn_with_ignored_pixels(seed: int) -> None:
    truth, prediction = random_masks(seed)
    matrix = ConfusionMatrix(CLASSES)
    for one_truth, one_prediction in zip(truth, prediction, strict=True):
        matrix.update(one_truth, one_prediction)
    counted = truth != 255
    t, p, ids = truth[counted], prediction[counted], list(range(CLASSES))
    scores = matrix.scores()
    assert np.array_equal(matrix.matrix, sk.confusion_matrix(t, p, labels=ids))
    assert scores.iou == pytest.approx(sk.jaccard_score(t, p, average=None, labels=ids))
    assert scores.dice == pytest.approx(sk.f1_score(t, p, average=None, labels=ids))
    assert scores.precision == pytest.approx(sk.precision_score(t, p, average=None, labels=ids))
    assert scores.recall == pytest.approx(sk.recall_score(t, p, average=None, labels=ids))
    assert scores.miou == pytest.approx(sk.jaccard_score(t, p, average="macro"))
    assert scores.mean_dice == pytest.approx(sk.f1_score(t, p, average="macro"))
    assert scores.frequency_weighted_iou == pytest.approx(sk.jaccard_score(t, p, average="weighted"))
    assert scores.pixel_accuracy == pytest.approx(sk.accuracy_score(t, p))
    assert scores.absent == ()


def test_accumulating_is_not_averaging() -> None:
    # A class that one image holds once and gets wrong: the mean of per-image scores would be another number.
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([[0, 0, 0, 1]], np.uint8), np.array([[0, 0, 0, 0]], np.uint8))
    matrix.update(np.array([[1, 1, 1, 1]], np.uint8), np.array([[1, 1, 1, 1]], np.uint8))
    assert matrix.scores().iou == pytest.approx([3 / 4, 4 / 5])


def test_prediction_under_ignored_truth_never_counts() -> None:
    truth = np.full((4, 4), 255, np.uint8)
    matrix = ConfusionMatrix(3)
    matrix.update(truth, np.full((4, 4), 200, np.uint8))
    assert matrix.matrix.sum() == 0


def test_absent_class_is_left_out_of_the_means() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 1]], np.uint8))
    scores = matrix.scores()
    assert scores.absent == (2,)
    assert np.isnan(scores.iou[2])
    assert scores.miou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.to_dict(("a", "b", "c"))["per_class"]["c"]["iou"] is None
    assert scores.to_dict(("a", "b", "c"))["absent_classes"] == ["c"]


def test_class_predicted_but_not_there_counts_as_zero() -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 2, 1, 1]], np.uint8))
    scores = matrix.scores()
    assert scores.iou[2] == 0
    assert np.isnan(scores.recall[2])
    assert scores.miou == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_dice_and_iou_are_of_the_same_counts() -> None:
    truth, prediction = random_masks(7)
    matrix = ConfusionMatrix(CLASSES)
    matrix.update(truth, prediction)
    scores = matrix.scores()
    assert scores.iou == pytest.approx(scores.dice / (2 - scores.dice))


def test_nothing_counted_gives_nan() -> None:
    scores = ConfusionMatrix(2).scores()
    assert np.isnan([scores.miou, scores.mean_dice, scores.pixel_accuracy]).all()
    assert scores.to_dict(("a", "b"))["miou"] is None


def test_classes_taken_together_by_hand() -> None:
    # Classes 0 and 2 are one group: their mistakes for one another are none.
    matrix = np.array([[5, 1, 2], [3, 7, 4], [6, 8, 9]], np.int64)
    merged = merge_classes(matrix, (0, 1, 0))
    assert merged.dtype == np.int64
    assert merged.tolist() == [[5 + 2 + 6 + 9, 1 + 8], [3 + 4, 7]]
    assert np.array_equal(merge_classes(matrix, (0, 1, 2)), matrix)


@pytest.mark.parametrize("seed", range(3))
def test_merged_counts_are_those_of_merged_masks(seed: int) -> None:
    truth, prediction = random_masks(seed)
    groups = np.array([2, 0, 1, 1, 0, 2])
    classes, merged = ConfusionMatrix(CLASSES), ConfusionMatrix(3)
    classes.update(truth, prediction)
    merged.update(np.where(truth == 255, 255, groups[truth % CLASSES]), groups[prediction])
    assert np.array_equal(merge_classes(classes.matrix, groups.tolist()), merged.matrix)


def test_counts_do_not_overflow() -> None:
    matrix = np.full((2, 2), 2**40, np.int64)
    assert scores_of(matrix).miou == pytest.approx(1 / 3)


def test_shapes_must_agree() -> None:
    with pytest.raises(InferenceError, match=r"\(2, 2\).*\(2, 3\)"):
        ConfusionMatrix(2).update(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(("truth", "prediction", "named"), [(7, 0, "truth"), (0, 7, "prediction")])
def test_ids_out_of_range_are_refused(truth: int, prediction: int, named: str) -> None:
    with pytest.raises(InferenceError, match=f"{named}.*ids from 7 to 7"):
        ConfusionMatrix(3).update(np.full((1, 2), truth, np.uint8), np.full((1, 2), prediction, np.uint8))


def test_agreement_is_the_share_of_equal_pixels() -> None:
    assert agreement(np.array([0, 1, 2, 2]), np.array([0, 1, 1, 2])) == 0.75
