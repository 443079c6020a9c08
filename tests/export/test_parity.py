from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from edgeseg.errors import DataError
from edgeseg.evaluation import Sample, evaluate
from edgeseg.export.parity import Budget, class_faults, faults_of, reference_of
from edgeseg.export.selection import MeasuredOn
from edgeseg.labels import LabelClass, LabelSet

LABELS = LabelSet("two", (LabelClass(0, "road", (1, 1, 1)), LabelClass(1, "car", (2, 2, 2))))


def sample(name: str, mask: list[list[int]]) -> Sample:
    """A sample whose red channel is its own class map, so that predictors can be written down."""
    array = np.array(mask, np.uint8)
    return Sample(name, np.repeat(array[..., None], 3, axis=2), array)


def perfect(image: np.ndarray) -> np.ndarray:
    return image[..., 0].copy()


def all_road(image: np.ndarray) -> np.ndarray:
    return np.zeros(image.shape[:2], np.uint8)


SAMPLES = [sample("a", [[0, 0], [0, 1]]), sample("b", [[1, 1], [1, 1]])]


def compare(keras, artifacts, samples, labels, size):
    reference = reference_of(keras, lambda: samples, labels, size)
    return {name: reference.compare(predict) for name, predict in artifacts.items()}


@pytest.fixture
def comparisons():
    return compare(perfect, {"good": perfect, "bad": all_road}, SAMPLES, LABELS, (2, 2))


def test_the_same_masks_agree_in_full(comparisons) -> None:
    good = comparisons["good"]
    assert (good.agreement, good.lowest_agreement, good.drop_points) == (1, 1, 0)
    assert good.class_drop_points() == {"road": 0, "car": 0}
    assert faults_of(good, "fp32", Budget(0)) == []


def test_agreement_drop_and_classes_are_those_counted_by_hand(comparisons) -> None:
    bad = comparisons["bad"]
    # Pixels: 3 of 4 agree in a, none in b. IoU of road: 3 of 8; of car: 0 of 5.
    assert bad.agreement == pytest.approx(3 / 8)
    assert (bad.lowest_sample, bad.lowest_agreement) == ("b", 0)
    assert bad.class_drop_points() == pytest.approx({"road": 62.5, "car": 100})
    assert bad.drop_points == pytest.approx(81.25)


def test_scores_are_those_of_evaluate(comparisons) -> None:
    alone = evaluate(all_road, SAMPLES, LABELS, 2, 2)
    assert comparisons["bad"].artifact.label_scores.miou == alone.label_scores.miou
    assert comparisons["bad"].keras.label_scores.miou == 1


def test_scores_are_taken_at_the_labels_size_and_agreement_at_the_models() -> None:
    big = sample("big", np.kron([[0, 1], [1, 0]], np.ones((4, 4), int)).tolist())
    half = compare(perfect, {"same": perfect}, [big], LABELS, (4, 4))["same"]
    assert half.artifact.label_matrix.sum() == 64
    assert half.artifact.model_matrix.sum() == 16


def test_an_absent_class_has_no_drop() -> None:
    only_road = compare(all_road, {"same": all_road}, [sample("a", [[0, 0]])], LABELS, (1, 2))["same"]
    assert only_road.class_drop_points() == {"road": 0, "car": None}
    measured_on = MeasuredOn("folder:x", "val", "ab")
    assert only_road.parity("onnx", Budget(1.0), measured_on).class_drop_points["car"] is None


def test_a_drop_over_the_budget_is_a_fault_and_one_at_the_budget_is_not(comparisons) -> None:
    bad = comparisons["bad"]
    assert faults_of(bad, "int8", Budget(bad.drop_points)) == []
    (fault,) = faults_of(bad, "int8", Budget(81))
    assert "81.25 points" in fault
    assert "from 100.00 to 18.75" in fault


def test_fp32_must_agree_whatever_its_miou_is(comparisons) -> None:
    (fault,) = faults_of(comparisons["bad"], "fp32", Budget(100))
    assert "37.500%" in fault
    assert faults_of(comparisons["bad"], "fp16", Budget(100)) == []


@pytest.mark.parametrize(("agreement", "faults"), [(0.9989, 1), (0.9991, 0)])
def test_the_fp32_gate_lies_at_999_of_1000_pixels(comparisons, agreement, faults) -> None:
    nearly = dataclasses.replace(comparisons["good"], agreement=agreement)
    assert len(faults_of(nearly, "fp32", Budget(0))) == faults


def test_a_miou_that_is_no_number_never_passes() -> None:
    from edgeseg.export.parity import mean_iou_faults

    assert mean_iou_faults(0.5, math.nan, 1.0)


def test_samples_without_a_labelled_pixel_are_refused() -> None:
    ignored = Sample("x", np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 255, np.uint8))
    with pytest.raises(DataError, match="labelled pixel"):
        compare(all_road, {"a": all_road}, [ignored], LABELS, (2, 2))


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataError):
        compare(all_road, {"a": all_road}, [], LABELS, (2, 2))


def test_a_class_that_lost_more_than_it_may_is_named_the_worst_first() -> None:
    drops = {"road": 2.0, "car": 2.5, "sky": -9.0, "pole": 30.0, "train": None}
    (fault,) = class_faults(drops, 2.0)
    assert "pole by 30.00, car by 2.50" in fault
    assert "road" not in fault
    assert class_faults(drops, None) == class_faults(drops, 30.0) == []
