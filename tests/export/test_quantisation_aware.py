from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from edgeseg.errors import ConversionError
from edgeseg.export import quantisation_aware
from edgeseg.export.artifacts import Conversion
from edgeseg.export.fake_quantisation import Grid, Rounding, quantised_activation, quantised_kernel
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.quantisation_aware import _batches, _copy_of, _rate, fine_tuned
from edgeseg.export.targets import TARGETS

LITERT = TARGETS["arm"].formats[0]


def rounded(x, low, high, **options) -> np.ndarray:
    return keras.ops.convert_to_numpy(quantised_activation(np.float32(x), low, high, **options))


class TestRounding:
    def test_values_are_those_of_the_grid_worked_out_by_hand(self) -> None:
        # From 0 to 2.55 a step is 0.01.
        found = rounded([0.0, 0.004, 0.006, 1.234, 2.55, 9.0, -1.0], 0.0, 2.55)
        np.testing.assert_allclose(found, [0.0, 0.0, 0.01, 1.23, 2.55, 2.55, 0.0], atol=1e-6)

    def test_zero_is_a_step_and_the_range_moves_to_make_it_one(self) -> None:
        # From -1.003 to 1.547 a step is 0.01: 100.3 of them below zero become 100.
        found = rounded([0.0, -1.003, 1.547], -1.003, 1.547)
        np.testing.assert_allclose(found, [0.0, -1.0, 1.55], atol=1e-6)

    def test_a_range_is_widened_to_hold_zero(self) -> None:
        np.testing.assert_allclose(rounded([1.0, 2.55], 0.5, 2.55), [1.0, 2.55], atol=1e-6)

    def test_symmetric_has_zero_in_the_middle(self) -> None:
        # 127 steps of 0.01 to each side, whatever is below zero.
        found = rounded([-9.0, -0.5, 0.004, 1.27], -0.2, 1.27, symmetric=True)
        np.testing.assert_allclose(found, [-1.27, -0.5, 0.0, 1.27], atol=1e-6)

    def test_a_tensor_of_nothing_but_zeros_stays_that(self) -> None:
        assert rounded([0.0, 0.0], 0.0, 0.0).tolist() == [0.0, 0.0]

    def test_the_gradient_passes_straight_through_inside_and_is_zero_outside(self) -> None:
        x = tf.constant([-0.7, 0.0, 0.123, 2.5, 2.7])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(quantised_activation(x, 0.0, 2.55) * tf.constant([1.0, 2.0, 3.0, 4.0, 5.0]))
        assert tape.gradient(y, x).numpy().tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]

    def test_a_kernel_has_a_scale_for_each_channel_and_all_of_its_gradient(self) -> None:
        kernel = tf.constant([[1.27, 0.0127], [0.504, -0.00504]])
        with tf.GradientTape() as tape:
            tape.watch(kernel)
            found = quantised_kernel(kernel, (0,), 127)
            y = tf.reduce_sum(found)
        np.testing.assert_allclose(found, [[1.27, 0.0127], [0.5, -0.005]], rtol=1e-5)
        assert np.all(tape.gradient(y, kernel) == 1)

    def test_fewer_steps_round_more_coarsely(self) -> None:
        found = quantised_kernel(np.float32([[0.64], [0.506], [-0.016]]), (0,), 64)
        np.testing.assert_allclose(found, [[0.64], [0.51], [-0.02]], atol=1e-6)


def folding_model(norm_on: str) -> keras.Model:
    image = keras.Input((16, 16, 3), dtype="uint8")
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    if norm_on == "conv":
        x = layers.Conv2D(8, 3, padding="same", use_bias=False, name="folded")(x)
    else:
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, depth_multiplier=2, name="folded")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    return keras.Model(image, layers.Conv2D(4, 1, name="logits")(x))


@pytest.mark.heavy
@pytest.mark.parametrize(("kind", "axes"), [("conv", (0, 1, 2)), ("depthwise", (0, 1))])
def test_a_rounded_kernel_folded_is_the_converters(kind, axes) -> None:
    rng = np.random.default_rng(2)
    keras.utils.set_random_seed(2)
    model = folding_model(kind)
    norm = model.get_layer("norm")
    channels = norm.gamma.shape[0]
    variance = rng.uniform(0.1, 5, channels)
    gamma = rng.uniform(0.5, 2, channels) * rng.choice([-1, 1], channels)
    norm.set_weights([gamma, rng.normal(size=channels), rng.normal(size=channels), variance])
    factors = gamma / np.sqrt(variance + norm.epsilon)
    kernel = keras.ops.convert_to_numpy(model.get_layer("folded").kernel)
    by_channel = factors.reshape(kernel.shape[2:]) if kind == "depthwise" else factors
    expected = keras.ops.convert_to_numpy(quantised_kernel(kernel, axes, 127)) * by_channel
    folded = keras.ops.convert_to_numpy(quantised_kernel(np.float32(kernel * by_channel), axes, 127))
    np.testing.assert_allclose(folded, expected, atol=1e-6)

    frames = rng.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
    made = Conversion(model, "mask").quantiser(LITERT, frames).quantise(Int8Settings())
    found = converted_kernel(made.data, channels, kind)
    # A weight in the middle between two steps may go either way.
    step = np.abs(expected).max(axis=axes) / 127
    assert np.mean(np.abs(found - expected) < 0.01 * step) > 0.98
    assert np.all(np.abs(found - expected) < 1.01 * step)


def converted_kernel(model: bytes, channels: int, kind: str) -> np.ndarray:
    """The kernel that an int8 file holds, in float and in Keras's order."""
    shape = [channels, 3, 3, 3] if kind == "conv" else [1, 3, 3, channels]
    interpreter = Interpreter(model_content=model)
    interpreter.allocate_tensors()
    (found,) = [
        detail
        for detail in interpreter.get_tensor_details()
        if detail["shape"].tolist() == shape and detail["dtype"] is np.int8
    ]
    values = interpreter.get_tensor(found["index"]).astype(np.float64)
    scales = found["quantization_parameters"]["scales"]
    if kind == "conv":
        return np.transpose(values * scales[:, None, None, None], (1, 2, 3, 0))
    return (values * scales)[0].reshape(3, 3, 3, -1)


@pytest.mark.parametrize(("steps", "highest"), [(127, 5e-5), (64, 5e-5 * 127 / 64)])
def test_the_rate_follows_the_width_of_the_steps(steps, highest, model, frames, monkeypatch) -> None:
    asked = []

    def rate(highest: float, count: int) -> float:
        asked.append((highest, count))
        return highest

    monkeypatch.setattr(quantisation_aware, "_rate", rate)
    fine_tuned(model, frames[:4], steps=1, grid=Grid(kernel_steps=steps))
    assert asked == [(pytest.approx(highest), 1)]


def test_the_rate_rises_for_a_tenth_of_the_steps_and_falls_to_nothing() -> None:
    rate = _rate(8e-5, 100)
    found = [float(rate(step)) for step in range(101)]
    assert found[0] == 0
    assert found[5] == pytest.approx(4e-5)
    assert found[10] == max(found) == pytest.approx(8e-5)
    assert found[55] == pytest.approx(4e-5)
    assert found[100] == pytest.approx(0, abs=1e-12)


def test_of_less_than_ten_steps_none_is_lost_to_a_rate_of_nothing() -> None:
    assert float(_rate(8e-5, 9)(0)) == pytest.approx(8e-5)


def test_a_range_is_the_whole_of_what_was_seen_and_follows_what_comes() -> None:
    rounding = Rounding(symmetric=False)
    rounding.look()
    for frame in ([-1.0, 2.0], [-3.0, 4.0]):
        rounding(np.float32([frame]))
    rounding.settle()
    # 1.5 and 4/3 times what a frame spans in the mean: -3 to 4 for frames as seen, others in proportion.
    given = keras.ops.convert_to_numpy(rounding(np.float32([[-2.0, 3.0], [-20.0, 30.0]])))
    low, high = 1.5 * 11, 16.5 * 4 / 3
    step = (low + high) / 255
    np.testing.assert_allclose(given, [[-2.0, 3.0], [-low, high]], atol=step)
    np.testing.assert_allclose(given / step, np.round(given / step), atol=1e-3)


def test_frames_of_one_sign_do_not_turn_a_range_over() -> None:
    rounding = Rounding(symmetric=False)
    rounding.look()
    for frame in ([-3.0, 1.0], [3.1, 4.0]):
        rounding(np.float32([frame]))
    rounding.settle()
    # Zero is in every range: lows of -3 and 0, not of -3 and 3.1 whose mean is above zero.
    given = keras.ops.convert_to_numpy(rounding(np.float32([[-1.0, 2.5]])))
    np.testing.assert_allclose(given, [[-1.0, 2.5]], atol=(2 + 2.5 * 1.6) / 255)


class TestTheCopy:
    def test_it_computes_what_the_model_does_until_it_rounds(self, model, frames) -> None:
        copy = _copy_of(model, Grid())
        given = keras.ops.convert_to_numpy(copy.network([frames[:2]], training=False))
        np.testing.assert_allclose(given, model.predict(frames[:2], verbose=0), atol=1e-4)

    def test_what_the_converter_makes_one_is_rounded_once(self) -> None:
        copy = _copy_of(folding_model("conv"), Grid())
        # The scaled image, convolution with BatchNorm and ReLU, and the logits.
        assert len(copy.roundings) == 3
        assert len(copy.kernels) == 2
        assert copy.not_rounded == ()

    def test_models_in_models_are_copied_too(self, frames) -> None:
        inner = folding_model("conv")
        image = keras.Input((16, 16, 3), dtype="uint8")
        outer = keras.Model(image, layers.Conv2D(4, 1)(inner(image)))
        copy = _copy_of(outer, Grid())
        assert len(copy.kernels) == 3
        weights = copy.weights_for(outer)
        assert all(np.array_equal(a, b) for a, b in zip(weights, outer.get_weights(), strict=True))

    def test_layers_of_kinds_that_it_does_not_know_stay_in_float_and_are_named(self) -> None:
        image = keras.Input((16, 16, 3), dtype="uint8")
        x = layers.Reshape((256, 3))(layers.Rescaling(1 / 255)(image))
        x = layers.MultiHeadAttention(1, 4, name="attention")(x, x)
        x = layers.Conv2D(4, 1, name="logits")(layers.Reshape((16, 16, 3))(x))
        copy = _copy_of(keras.Model(image, x), Grid())
        assert copy.not_rounded == ("attention",)
        assert len(copy.kernels) == 1

    def test_a_layer_that_cannot_be_made_again_is_named_as_the_reason(self) -> None:
        class Unique(layers.Layer):
            def __init__(self, needed):
                super().__init__()

            def call(self, x):
                return x

        image = keras.Input((16, 16, 3), dtype="uint8")
        x = Unique(1)(layers.Rescaling(1 / 255)(image))
        with pytest.raises(ConversionError, match=r"Unique.*--qat-steps 0"):
            _copy_of(keras.Model(image, layers.Conv2D(4, 1)(x)), Grid())


@pytest.mark.heavy
class TestFineTuning:
    def test_it_is_repeatable_leaves_the_model_alone_and_keeps_its_averages(self, model, frames) -> None:
        before = model.get_weights()
        told = []
        first, tuning = fine_tuned(model, frames, steps=3, on_progress=lambda *step: told.append(step))
        again, _ = fine_tuned(model, frames, steps=3)
        assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
        assert all(np.allclose(a, b, atol=1e-5) for a, b in zip(first, again, strict=True))
        moved = [not np.array_equal(a, b) for a, b in zip(before, first, strict=True)]
        averages = ["moving" in weight.name for weight in model.weights]
        assert moved == [not average for average in averages]
        assert told == [(1, 3), (2, 3), (3, 3)]
        assert (tuning.steps, tuning.float_layers) == (3, ())


def test_batches_go_through_all_images_before_any_comes_again() -> None:
    batches = list(_batches(10, 5))
    assert [len(batch) for batch in batches] == [4] * 5
    seen = np.concatenate(batches)
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert np.array_equal(seen, np.concatenate(list(_batches(10, 5))))


def test_fewer_images_than_a_batch_are_a_batch() -> None:
    assert [sorted(batch) for batch in _batches(3, 2)] == [[0, 1, 2]] * 2
