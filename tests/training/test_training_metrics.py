"""The streaming metric against scikit-learn and against edgeseg.metrics."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import confusion_matrix, jaccard_score

from edgeseg.training import metrics
from edgeseg.training.metrics import MeanIoU

CLASSES = 5


def random_batch(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, (2, 9, 7)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    return truth, rng.normal(size=(2, 9, 7, CLASSES)).astype(np.float32)


def test_several_batches_equal_scikit_learn_over_all_of_them() -> None:
    metric = MeanIoU(CLASSES)
    truths, predictions = [], []
    for seed in range(4):
        truth, logits = random_batch(seed)
        metric.update_state(truth, logits)
        truths.append(truth[truth != 255])
        predictions.append(logits.argmax(axis=-1)[truth != 255])
    t, p = np.concatenate(truths), np.concatenate(predictions)
    assert float(metric.result()) == pytest.approx(jaccard_score(t, p, average="macro"), rel=1e-5)
    assert np.array_equal(metric.matrix(), confusion_matrix(t, p))


def test_classes_in_neither_are_left_out() -> None:
    metric = MeanIoU(CLASSES)
    metric.update_state(
        np.array([[[0, 0, 1, 255]]]), np.eye(CLASSES, dtype=np.float32)[[0, 1, 1, 4]][None, None]
    )
    assert float(metric.result()) == pytest.approx(0.5)


def test_nothing_counted_is_zero() -> None:
    metric = MeanIoU(CLASSES)
    metric.update_state(np.full((1, 2, 2), 255, np.uint8), np.zeros((1, 2, 2, CLASSES), np.float32))
    assert float(metric.result()) == 0
    assert metric.matrix().sum() == 0


def test_counts_stay_exact_where_float32_would_not() -> None:
    metric = MeanIoU(2)
    truth = np.zeros((1, 2048, 2048), np.uint8)
    truth[0, 0, 0] = 1
    logits = np.zeros((1, 2048, 2048, 2), np.float32)
    for _ in range(5):
        metric.update_state(truth, logits)
    assert metric.matrix().tolist() == [[5 * (2048**2 - 1), 0], [5, 0]]


@pytest.mark.parametrize("count", [2, 3])
def test_large_logits_which_are_compiled_count_the_same(count: int) -> None:
    """Of equal ones the first, as NumPy has it; a last batch may be smaller."""
    rng = np.random.default_rng(count)
    metric = MeanIoU(CLASSES)
    truth = rng.integers(0, CLASSES, (count, 192, 160)).astype(np.uint8)
    logits = rng.integers(0, 3, (count, 192, 160, CLASSES)).astype(np.float32)
    metric.update_state(truth, logits)
    expected = confusion_matrix(truth.ravel(), logits.argmax(axis=-1).ravel())
    assert np.array_equal(metric.matrix(), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_is_compiled_within_a_compiled_step_too(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    monkeypatch.setattr(metrics, "_WORTH_COMPILING", 0)
    metric = MeanIoU(CLASSES)
    update = tf.function(metric.update_state)
    truth, logits = random_batch(7)
    update(truth, tf.cast(logits, dtype))
    counted = truth != 255
    predicted = np.array(tf.cast(tf.cast(logits, dtype), "float32")).argmax(axis=-1)
    assert np.array_equal(metric.matrix(), confusion_matrix(truth[counted], predicted[counted]))


def test_reset_and_config() -> None:
    metric = keras.metrics.deserialize(keras.metrics.serialize(MeanIoU(CLASSES, ignore_index=9)))
    truth, logits = random_batch(0)
    metric.update_state(np.where(truth == 255, 9, truth), logits)
    assert metric.matrix().sum() == (truth != 255).sum()
    metric.reset_state()
    assert metric.matrix().sum() == 0
    assert (metric.num_classes, metric.ignore_index, metric.name) == (CLASSES, 9, "miou")
