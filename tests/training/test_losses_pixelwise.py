"""Focal, OHEM and boundary cross entropy: each against an independent form of its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import maximum_filter

from edgeseg.training.losses import loss_function

RNG = np.random.default_rng(3)
TRUTH = RNG.choice([0, 1, 2, 255], (2, 12, 16), p=[0.5, 0.3, 0.1, 0.1]).astype(np.uint8)
LOGITS = 2 * RNG.normal(size=(2, 12, 16, 3)).astype(np.float32)
COUNTED = TRUTH != 255
PROBABILITY = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
TRUE_PROBABILITY = np.take_along_axis(PROBABILITY, np.where(COUNTED, TRUTH, 0)[..., None], -1)[..., 0]
WEIGHTS = [0.5, 1.0, 4.0]
PIXEL_WEIGHT = np.where(COUNTED, np.array(WEIGHTS)[np.where(COUNTED, TRUTH, 0)], 0)


def value(name: str, truth: np.ndarray = TRUTH, logits: np.ndarray = LOGITS, **options: object) -> float:
    return float(loss_function(name)(truth, tf.constant(logits), **options))


def mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float((values * weights).sum() / weights.sum())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_is_its_formula(gamma: float) -> None:
    expected = mean((1 - TRUE_PROBABILITY) ** gamma * -np.log(TRUE_PROBABILITY), PIXEL_WEIGHT)
    assert value("focal", class_weights=WEIGHTS, gamma=gamma) == pytest.approx(expected, rel=1e-5)


def test_focal_with_gamma_zero_is_cross_entropy() -> None:
    assert value("focal", gamma=0) == pytest.approx(value("cross_entropy"), rel=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("name", ["focal", "focal_tversky"])
def test_a_certain_prediction_has_a_finite_gradient_for_every_gamma(name: str, gamma: float) -> None:
    logits = tf.Variable(200 * tf.one_hot([[[0, 1, 2]]], 3))
    with tf.GradientTape() as tape:
        loss = loss_function(name)(np.array([[[0, 1, 2]]]), logits, gamma=gamma)
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("min_share", [0.0, 1 / 16, 0.5, 1.0])
def test_ohem_takes_the_pixels_below_the_threshold_or_the_hardest_share(
    threshold: float, min_share: float
) -> None:
    chances = np.sort(TRUE_PROBABILITY[COUNTED])
    fewest = max(1, math.ceil(min_share * chances.size))
    taken = max(fewest, int((chances < threshold).sum()))
    expected = -np.log(chances[:taken]).mean()
    got = value("ohem_cross_entropy", threshold=threshold, min_share=min_share)
    assert got == pytest.approx(expected, rel=1e-5)


def test_ohem_weighs_the_classes_of_the_hard_pixels() -> None:
    hard = PIXEL_WEIGHT * (TRUE_PROBABILITY < 0.5)
    expected = mean(-np.log(TRUE_PROBABILITY), hard)
    got = value("ohem_cross_entropy", threshold=0.5, min_share=0.0, class_weights=WEIGHTS)
    assert got == pytest.approx(expected, rel=1e-5)


def test_ohem_gives_easy_pixels_no_gradient() -> None:
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = loss_function("ohem_cross_entropy")(TRUTH, logits, threshold=0.3, min_share=0.01)
    slope = np.abs(tape.gradient(loss, logits).numpy()).sum(-1)
    np.testing.assert_array_equal(slope > 0, COUNTED & (TRUE_PROBABILITY < 0.3))


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_boundary_pixels_are_those_that_dilation_of_another_class_reaches(radius: int) -> None:
    truth = np.zeros((1, 12, 16), np.uint8)
    truth[0, :, 9:], truth[0, 8:, :4], truth[0, 3:5, 2:5] = 1, 2, 255
    size = 2 * radius + 1
    reach = np.stack([maximum_filter(truth[0] == c, size, mode="constant") for c in range(3)])
    near = (reach.sum(0) > 1)[None] & (truth != 255)
    losses = RNG.normal(size=(1, 12, 16, 3)).astype(np.float32)
    every = _cross_entropies(truth, losses)
    expected = mean(every, np.where(truth == 255, 0, np.where(near, 4.0, 1.0)))
    got = value("boundary_cross_entropy", truth, losses, radius=radius, boundary_weight=4.0)
    assert 0 < near.mean() < 1
    assert got == pytest.approx(expected, rel=1e-5)


def test_void_beside_one_class_is_no_boundary_and_does_not_hide_one() -> None:
    """0 0 void 1 and 0 0 void void: only where a 1 lies within the radius weigh pixels more."""
    truth = np.array([[[0, 0, 255, 1], [0, 0, 255, 255]]], np.uint8).reshape(2, 1, 4)
    logits = RNG.normal(size=(2, 1, 4, 2)).astype(np.float32)
    near = np.array([[[0, 1, 0, 1]], [[0, 0, 0, 0]]])
    expected = mean(_cross_entropies(truth, logits), np.where(truth == 255, 0, 1 + 2 * near))
    got = value("boundary_cross_entropy", truth, logits, radius=2, boundary_weight=3.0)
    assert got == pytest.approx(expected, rel=1e-5)


def test_boundary_weight_one_is_cross_entropy() -> None:
    assert value("boundary_cross_entropy", boundary_weight=1.0) == pytest.approx(value("cross_entropy"))


def _cross_entropies(truth: np.ndarray, logits: np.ndarray) -> np.ndarray:
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    ids = np.where(truth == 255, 0, truth)[..., None]
    return -np.log(np.take_along_axis(chances, ids, -1)[..., 0])
