"""Calibration: held against a case computed by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from edgeseg.benchmarks.calibration import calibration_of, count_confidence
from edgeseg.errors import InferenceError


def test_ten_pixels_by_hand() -> None:
    # Four pixels at 0.4, of which one is right; five at 0.8, of which three are; one that is ignored.
    confidence = np.array([[102] * 4 + [204] * 5 + [255]], np.uint8)
    prediction = np.zeros((1, 10), np.uint8)
    truth = np.array([[0, 1, 1, 1, 0, 0, 0, 1, 1, 255]], np.uint8)
    found = calibration_of(count_confidence(confidence, prediction, truth), bins=5)
    assert found is not None
    assert found.pixels == 9
    assert found.accuracy == pytest.approx(4 / 9)
    assert found.mean_confidence == pytest.approx((4 * 0.4 + 5 * 0.8) / 9)
    # |0.4 − 1/4| × 4/9 + |0.8 − 3/5| × 5/9
    assert found.ece == pytest.approx(0.15 * 4 / 9 + 0.2 * 5 / 9)
    assert [one.pixels for one in found.bins] == [0, 4, 0, 5, 0]
    assert (found.bins[1].low, found.bins[1].high) == pytest.approx((0.2, 0.4))
    assert (found.bins[1].confidence, found.bins[1].accuracy) == pytest.approx((0.4, 0.25))


@pytest.mark.parametrize("bins", [15, 10])
def test_bins_are_those_of_scikit_learn(bins: int) -> None:
    random = np.random.default_rng(0)
    # Levels inside the bins: in scikit-learn's floats those on an edge fall to either side.
    levels = [level for level in range(1, 256) if (level * bins) % 255]
    confidence = random.choice(levels, (60, 80)).astype(np.uint8)
    right = random.random(confidence.shape) < (confidence / 255) ** 2
    truth = np.where(right, 0, 1).astype(np.uint8)
    found = calibration_of(count_confidence(confidence, np.zeros_like(truth), truth), bins)
    assert found is not None
    accuracy, sure = calibration_curve(right.ravel(), confidence.ravel() / 255, n_bins=bins)
    assert [one.accuracy for one in found.bins if one.pixels] == pytest.approx(list(accuracy))
    assert [one.confidence for one in found.bins if one.pixels] == pytest.approx(list(sure))
    weights = [one.pixels / found.pixels for one in found.bins if one.pixels]
    assert found.ece == pytest.approx(float(np.dot(weights, np.abs(sure - accuracy))))
    assert found.ece > 0.1


def test_one_who_is_as_sure_as_right_has_no_error() -> None:
    counts = np.zeros((2, 256), np.int64)
    counts[:, 51] = 80, 20
    counts[1, 255] = 7
    found = calibration_of(counts)
    assert found is not None
    assert found.ece == pytest.approx(0)
    assert found.bins[-1].pixels == 7
    assert found.to_dict()["bins"][0]["pixels"] == 100
    assert len(found.to_dict()["bins"]) == 2


def test_edges_belong_to_the_lower_bin() -> None:
    counts = np.zeros((2, 256), np.int64)
    counts[1, [0, 17, 18, 34, 238, 239, 255]] = 1
    found = calibration_of(counts, 15)
    assert found is not None
    assert [one.pixels for one in found.bins] == [2, 2, *[0] * 11, 1, 2]


def test_counts_add_up_over_images() -> None:
    random = np.random.default_rng(1)
    confidence, prediction, truth = (random.integers(0, n, (4, 8, 8)).astype(np.uint8) for n in (256, 3, 3))
    whole = count_confidence(confidence, prediction, truth)
    parts = sum(count_confidence(c, p, t) for c, p, t in zip(confidence, prediction, truth, strict=True))
    assert np.array_equal(whole, parts)


def test_nothing_counted_is_no_calibration_and_shapes_must_fit() -> None:
    ignored = np.full((4, 4), 255, np.uint8)
    assert calibration_of(count_confidence(ignored, ignored, ignored)) is None
    with pytest.raises(InferenceError, match="the shape of the truth"):
        count_confidence(ignored, ignored[:2], ignored)
