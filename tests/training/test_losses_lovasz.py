"""Lovász-Softmax: the Jaccard loss of certain predictions, the authors' algorithm in between."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import jaccard_score

from edgeseg.training.losses.lovasz import lovasz_softmax

RNG = np.random.default_rng(5)
TRUTH = RNG.choice([0, 1, 2, 255], (2, 10, 12), p=[0.5, 0.3, 0.1, 0.1]).astype(np.uint8)


def value(truth: np.ndarray, logits: np.ndarray, **options: object) -> float:
    return float(lovasz_softmax(truth, keras.ops.convert_to_tensor(logits), **options))


def of_the_paper(truth: np.ndarray, logits: np.ndarray, ignore: int = 255) -> float:
    """Algorithm 1 and the multi-class loss, step by step in float64."""
    logits = logits.astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    kept = truth != ignore
    ids, chances = truth[kept], chances[kept]
    losses = []
    for c in np.unique(ids):
        errors = np.where(ids == c, 1 - chances[:, c], chances[:, c])
        order = np.argsort(-errors, kind="stable")
        true = (ids == c)[order].astype(float)
        jaccard = 1 - (true.sum() - true.cumsum()) / (true.sum() + (1 - true).cumsum())
        losses.append(errors[order] @ np.diff(jaccard, prepend=0))
    return float(np.mean(losses))


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_as_the_authors_write_it(scale: float) -> None:
    logits = scale * RNG.normal(size=(*TRUTH.shape, 3)).astype(np.float32)
    assert value(TRUTH, logits) == pytest.approx(of_the_paper(TRUTH, logits), rel=1e-5)


def test_of_certain_predictions_it_is_the_jaccard_loss() -> None:
    predicted = RNG.integers(0, 4, TRUTH.shape)
    logits = 200 * np.eye(4, dtype=np.float32)[predicted]
    kept = TRUTH != 255
    scores = jaccard_score(TRUTH[kept], predicted[kept], labels=[0, 1, 2], average=None)
    # Class 3 is predicted and never true: it has no part, as in the authors' "present" form.
    assert value(TRUTH, logits) == pytest.approx(1 - scores.mean(), rel=1e-5)


def test_it_falls_when_one_pixel_gets_better() -> None:
    logits = RNG.normal(size=(*TRUTH.shape, 3)).astype(np.float32)
    better = logits.copy()
    better[0, 0, 0, TRUTH[0, 0, 0] if TRUTH[0, 0, 0] != 255 else 0] += 0.5
    assert value(TRUTH[:1, :1, :1], better[:1, :1, :1]) < value(TRUTH[:1, :1, :1], logits[:1, :1, :1])
    assert value(TRUTH, better) < value(TRUTH, logits)


def test_the_gradient_is_that_of_finite_differences() -> None:
    truth = TRUTH[:, :4, :4]
    logits = RNG.normal(size=(*truth.shape, 3))
    variable = tf.Variable(logits, dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = lovasz_softmax(truth, variable)
    slope = tape.gradient(loss, variable).numpy()
    step = 1e-6
    for place in [(0, 0, 0, 0), (0, 3, 1, 1), (1, 2, 2, 2), (1, 0, 3, 0)]:
        up, down = logits.copy(), logits.copy()
        up[place] += step
        down[place] -= step
        numeric = (of_the_paper(truth, up) - of_the_paper(truth, down)) / (2 * step)
        assert slope[place] == pytest.approx(numeric, rel=1e-3, abs=1e-6)


def test_a_mean_over_classes_can_leave_one_out() -> None:
    logits = RNG.normal(size=(*TRUTH.shape, 3)).astype(np.float32)
    each = [value(TRUTH, logits, class_weights=np.eye(3)[c].tolist()) for c in range(3)]
    weighted = value(TRUTH, logits, class_weights=[1.0, 2.0, 5.0])
    assert weighted == pytest.approx((each[0] + 2 * each[1] + 5 * each[2]) / 8, rel=1e-5)
