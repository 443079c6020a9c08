"""Each loss against numbers worked out by hand, and its gradient where nothing is left to learn.

The case: four pixels in a row, two classes. Truth 1, 0, 0, ignored; probability of class 1: .9, .2, .6, .5.

    class 0: TP = 0.8 + 0.4 = 1.2   FP = 0.1         FN = 2 − 1.2 = 0.8
    class 1: TP = 0.9               FP = 0.2 + 0.6   FN = 1 − 0.9 = 0.1

For Lovász-Softmax, errors from the largest on, each with what it adds to 1 − I/U:

    class 0 (2 pixels):  0.6 true, U 2: 1/2      0.2 true, U 2: 1/2           0.1 not, I 0: 0
    class 1 (1 pixel):   0.6 not, U 2: 1/2       0.2 not, U 3: 1/2 − 1/3      0.1 true, U 3: 1/3

For boundary cross entropy all pixels are near the boundary, and one pixel alone is hard enough for OHEM.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.losses import LOSSES, loss_function
from edgeseg.training.losses.named import NamedLoss

TRUTH = np.array([[[1, 0, 0, 255]]], np.uint8)
P1 = np.array([0.9, 0.2, 0.6, 0.5], np.float32)
LOGITS = np.log(np.stack([1 - P1, P1], axis=-1)).reshape(1, 1, 4, 2)

DICE = 1 - (2.4 / 3.3 + 1.8 / 2.7) / 2
CROSS_ENTROPY = -(np.log(0.9) + np.log(0.8) + np.log(0.4)) / 3
TVERSKY_0 = 1.2 / (1.2 + 0.3 * 0.1 + 0.7 * 0.8)
TVERSKY_1 = 0.9 / (0.9 + 0.3 * 0.8 + 0.7 * 0.1)
FOCAL = (0.1**2 * -np.log(0.9), 0.2**2 * -np.log(0.8), 0.6**2 * -np.log(0.4))
LOVASZ_0 = 0.6 / 2 + 0.2 / 2
LOVASZ_1 = 0.6 / 2 + 0.2 / 6 + 0.1 / 3
BY_HAND = {
    "boundary_cross_entropy": CROSS_ENTROPY,
    "focal": sum(FOCAL) / 3,
    "lovasz_softmax": (LOVASZ_0 + LOVASZ_1) / 2,
    "lovasz_cross_entropy": CROSS_ENTROPY + (LOVASZ_0 + LOVASZ_1) / 2,
    "ohem_cross_entropy": -np.log(0.4),
    "dice": DICE,
    "iou": 1 - (1.2 / 2.1 + 0.9 / 1.8) / 2,
    "tversky": 1 - (TVERSKY_0 + TVERSKY_1) / 2,
    "focal_tversky": ((1 - TVERSKY_0) ** 1.5 + (1 - TVERSKY_1) ** 1.5) / 2,
    "cross_entropy": CROSS_ENTROPY,
    "total": CROSS_ENTROPY + 3 * DICE,
    "dice_cross_entropy": CROSS_ENTROPY + DICE,
}
WEIGHTS = [1.0, 3.0]
WEIGHTED_DICE = (1 * (1 - 2.4 / 3.3) + 3 * (1 - 1.8 / 2.7)) / 4
WEIGHTED_CROSS_ENTROPY = -(3 * np.log(0.9) + np.log(0.8) + np.log(0.4)) / 5
WEIGHTED_BY_HAND = {
    "boundary_cross_entropy": WEIGHTED_CROSS_ENTROPY,
    "focal": (3 * FOCAL[0] + FOCAL[1] + FOCAL[2]) / 5,
    "lovasz_softmax": (LOVASZ_0 + 3 * LOVASZ_1) / 4,
    "lovasz_cross_entropy": WEIGHTED_CROSS_ENTROPY + (LOVASZ_0 + 3 * LOVASZ_1) / 4,
    "ohem_cross_entropy": -np.log(0.4),
    "dice": WEIGHTED_DICE,
    "iou": (1 * (1 - 1.2 / 2.1) + 3 * (1 - 0.9 / 1.8)) / 4,
    "tversky": (1 * (1 - TVERSKY_0) + 3 * (1 - TVERSKY_1)) / 4,
    "focal_tversky": (1 * (1 - TVERSKY_0) ** 1.5 + 3 * (1 - TVERSKY_1) ** 1.5) / 4,
    "cross_entropy": WEIGHTED_CROSS_ENTROPY,
    "total": WEIGHTED_CROSS_ENTROPY + 3 * WEIGHTED_DICE,
    "dice_cross_entropy": WEIGHTED_CROSS_ENTROPY + WEIGHTED_DICE,
}
every_loss = pytest.mark.parametrize("name", sorted(LOSSES))


def value(name: str, truth: np.ndarray, logits: np.ndarray, **options: object) -> float:
    return float(loss_function(name)(truth, keras.ops.convert_to_tensor(logits), **options))


def gradient(name: str, truth: np.ndarray, logits: np.ndarray) -> np.ndarray:
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = loss_function(name)(truth, variable)
    return tape.gradient(loss, variable).numpy()


@every_loss
def test_by_hand(name: str) -> None:
    assert value(name, TRUTH, LOGITS) == pytest.approx(BY_HAND[name], rel=1e-5)


@every_loss
def test_by_hand_with_class_weights(name: str) -> None:
    assert value(name, TRUTH, LOGITS, class_weights=WEIGHTS) == pytest.approx(
        WEIGHTED_BY_HAND[name], rel=1e-5
    )


@every_loss
def test_a_class_that_is_not_in_the_truth_has_no_part_in_the_mean(name: str) -> None:
    third = np.full((1, 1, 4, 1), -30, np.float32)  # a third class, at probability 0
    logits = np.concatenate([LOGITS, third], axis=-1)
    assert value(name, TRUTH, logits) == pytest.approx(BY_HAND[name], rel=1e-5)


@every_loss
def test_ignored_pixels_do_not_matter(name: str) -> None:
    changed = LOGITS.copy()
    changed[0, 0, 3] = (-20, 20)
    assert value(name, TRUTH, changed) == pytest.approx(value(name, TRUTH, LOGITS), rel=1e-6)
    assert np.all(gradient(name, TRUTH, LOGITS)[0, 0, 3] == 0)


@every_loss
def test_another_ignore_index(name: str) -> None:
    truth = np.where(TRUTH == 255, 9, TRUTH)
    assert value(name, truth, LOGITS, ignore_index=9) == pytest.approx(BY_HAND[name], rel=1e-5)


@every_loss
def test_the_batch_is_summed_not_averaged(name: str) -> None:
    """Two images of one pixel are the same as one image of two."""
    apart = value(name, TRUTH.reshape(4, 1, 1), LOGITS.reshape(4, 1, 1, 2))
    assert apart == pytest.approx(BY_HAND[name], rel=1e-5)


@every_loss
@pytest.mark.parametrize("label", [255, 0, 1])
@pytest.mark.parametrize("scale", [0.0, 1.0, 60.0, 1e30])
def test_value_and_gradient_are_finite(name: str, label: int, scale: float) -> None:
    """All ignored, or all of one class, from undecided to certain: right as well as wrong."""
    truth = np.full((2, 4, 4), label, np.uint8)
    logits = scale * np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    assert np.isfinite(value(name, truth, logits))
    slope = gradient(name, truth, logits)
    assert np.isfinite(slope).all()
    if label == 255:
        assert not slope.any()
        assert value(name, truth, logits) == 0


@every_loss
def test_perfect_is_zero_and_its_gradient_finite(name: str) -> None:
    truth = np.array([[[0, 1, 2, 255]]], np.uint8)
    logits = 80 * np.eye(3, dtype=np.float32)[[0, 1, 2, 0]].reshape(1, 1, 4, 3)
    assert value(name, truth, logits) == pytest.approx(0, abs=1e-6)
    assert np.isfinite(gradient(name, truth, logits)).all()


@every_loss
def test_half_precision_logits_are_worked_on_in_full(name: str) -> None:
    logits = tf.cast(np.tile(LOGITS, (1, 64, 64, 1)), "float16")
    truth = np.tile(TRUTH, (1, 64, 64))
    assert value(name, truth, logits) == pytest.approx(BY_HAND[name], rel=1e-2)


@every_loss
def test_in_a_compiled_step_of_any_size_it_is_the_same(name: str) -> None:
    @tf.function(
        input_signature=[tf.TensorSpec((None, None, None)), tf.TensorSpec((None, None, None, 2))],
    )
    def compiled(truth: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = loss_function(name)(truth, logits)
        return loss, tape.gradient(loss, logits)

    for shape in ((1, 1, 4), (2, 2, 1)):
        truth, logits = TRUTH.reshape(shape), LOGITS.reshape(*shape, 2)
        loss, slope = compiled(truth.astype(np.float32), logits)
        assert float(loss) == pytest.approx(value(name, truth, logits), rel=1e-5)
        np.testing.assert_allclose(slope, gradient(name, truth, logits), rtol=1e-4, atol=1e-6)


@every_loss
def test_every_loss_has_a_case(name: str) -> None:
    assert {name} <= BY_HAND.keys() & WEIGHTED_BY_HAND.keys()


@every_loss
def test_keras_object_gives_the_same_and_survives_its_config(name: str) -> None:
    loss = NamedLoss(name, 2, class_weights=WEIGHTS)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    for one in (loss, again):
        # Keras turns the labels into floats on the way: 255 must still be ignored.
        assert float(one(TRUTH.astype(np.float32), LOGITS)) == pytest.approx(WEIGHTED_BY_HAND[name], rel=1e-5)


def test_options_reach_the_function() -> None:
    harder = NamedLoss("tversky", 2, alpha=0.5, beta=0.5)
    assert float(harder(TRUTH, LOGITS)) == pytest.approx(DICE, rel=1e-5)


def test_unknown_loss_lists_the_known() -> None:
    with pytest.raises(UnknownNameError, match="dice_cross_entropy"):
        NamedLoss("dize", 2)


def test_unknown_option_lists_the_known() -> None:
    with pytest.raises(UsageError, match=r"alpha, beta, gamma.*found delta"):
        NamedLoss("focal_tversky", 2, delta=1)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("tversky", {"beta": -0.1}),
        ("focal_tversky", {"gamma": float("nan")}),
        ("focal", {"gamma": -1}),
        ("ohem_cross_entropy", {"threshold": 0.0}),
        ("ohem_cross_entropy", {"min_share": 1.5}),
        ("boundary_cross_entropy", {"radius": 1.5}),
        ("boundary_cross_entropy", {"radius": 0}),
        ("boundary_cross_entropy", {"boundary_weight": float("inf")}),
    ],
)
def test_an_option_out_of_its_range_is_refused_when_the_loss_is_made(name: str, option: dict) -> None:
    with pytest.raises(UsageError, match=rf"loss_options\.{next(iter(option))}: expected a .*number"):
        NamedLoss(name, 2, **option)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]])
def test_class_weights_that_do_not_fit(weights: list[float]) -> None:
    with pytest.raises(UsageError, match="2 finite numbers"):
        NamedLoss("dice", 2, class_weights=weights)
