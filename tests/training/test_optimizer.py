"""Learning rates and optimisers of a recipe."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from edgeseg.errors import UsageError
from edgeseg.training.optimizer import make_optimizer
from edgeseg.training.recipe import make_recipe
from edgeseg.training.schedule import WarmUpSchedule, plateau_factor


def rates(schedule: WarmUpSchedule, steps: int) -> list[float]:
    return [float(schedule(step)) for step in range(steps)]


def test_warm_up_then_cosine_to_zero() -> None:
    by_step = rates(WarmUpSchedule(1.0, 100, 10, "cosine"), 101)
    assert by_step[0] == pytest.approx(0.1)
    assert by_step[9] == pytest.approx(1.0)
    assert by_step[55] == pytest.approx(0.5, abs=1e-6)
    assert by_step[100] == pytest.approx(0.0, abs=1e-6)
    assert np.all(np.diff(by_step[:10]) > 0)
    assert np.all(np.diff(by_step[10:]) < 0)


def test_constant_from_the_first_step() -> None:
    assert rates(WarmUpSchedule(1e-4, 50, 0, "constant"), 60) == pytest.approx([1e-4] * 60)


def test_schedule_survives_its_config() -> None:
    schedule = WarmUpSchedule(0.3, 20, 4, "cosine")
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert rates(again, 20) == rates(schedule, 20)


def test_poly_falls_as_in_deeplab() -> None:
    by_step = rates(WarmUpSchedule(2.0, 100, 0, "poly"), 101)
    assert by_step[50] == pytest.approx(2.0 * 0.5**0.9)
    assert by_step[100] == 0.0


def test_plateau_halves_after_five_epochs_without_a_better_score() -> None:
    assert plateau_factor([]) == 1
    assert plateau_factor([0.1, 0.2, 0.2, 0.2, 0.2, 0.2]) == 1
    assert plateau_factor([0.1, 0.2, *[0.2] * 5]) == 0.5
    assert plateau_factor([0.1, 0.2, *[0.2] * 5, 0.3, *[0.1] * 5]) == 0.25
    assert plateau_factor([0.3, *[0.1] * 10]) == 0.25


def two_parts() -> keras.Model:
    """A model of an encoder, of which one layer is frozen, and a head."""
    inputs = keras.Input((4,), name="image")
    part = keras.Input((4,))
    frozen = keras.layers.Dense(3, name="frozen", trainable=False)
    inside = keras.layers.Dense(3, name="inside")(frozen(part))
    x = keras.Model(part, inside, name="encoder")(inputs)
    return keras.Model(inputs, keras.layers.BatchNormalization(name="norm")(x))


def stepped(model: keras.Model, optimizer: keras.optimizers.Optimizer, steps: int = 3) -> list[np.ndarray]:
    """The trainable weights after steps of given gradients."""
    rng = np.random.default_rng(1)
    for _ in range(steps):
        gradients = [
            ops.convert_to_tensor(rng.normal(size=v.shape), "float32") for v in model.trainable_variables
        ]
        optimizer.apply(gradients, model.trainable_variables)
    return [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
def test_updates_are_those_of_keras(name: str) -> None:
    recipe = make_recipe(
        {"data": "x", "optimizer": name, "warmup": 0, "schedule": "constant", "learning_rate": 0.1}
        | {"weight_decay": 0.5}
    )
    theirs = {
        "adamw": keras.optimizers.AdamW(0.1, weight_decay=0.5),
        "adam": keras.optimizers.Adam(0.1),
        "sgd": keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    }[name]
    if name == "adamw":
        theirs.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    model, other = two_parts(), two_parts()
    other.set_weights(model.get_weights())
    for a, b in zip(stepped(model, make_optimizer(recipe, 10, model)), stepped(other, theirs), strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_the_encoder_learns_at_its_own_rate() -> None:
    plain = {"data": "x", "optimizer": "sgd", "warmup": 0, "schedule": "constant", "learning_rate": 0.1}
    whole, slow, late = two_parts(), two_parts(), two_parts()
    start = whole.get_weights()
    slow.set_weights(start)
    late.set_weights(start)
    moved = {}
    for key, model, more in (
        ("whole", whole, {}),
        ("slow", slow, {"encoder_rate": 0.1}),
        ("late", late, {"encoder_frozen_epochs": 3}),
    ):
        before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
        after = stepped(model, make_optimizer(make_recipe(plain | more), 1, model))
        moved[key] = [a - b for a, b in zip(after, before, strict=True)]
    encoder, head = slice(0, 2), slice(2, 4)
    for a, b, c in zip(moved["whole"][encoder], moved["slow"][encoder], moved["late"][encoder], strict=True):
        assert b == pytest.approx(0.1 * a, abs=1e-6)
        assert not c.any()
    for a, b, c in zip(moved["whole"][head], moved["slow"][head], moved["late"][head], strict=True):
        assert a.any()
        assert b == pytest.approx(a)
        assert c == pytest.approx(a)


def test_the_plateau_slows_every_part() -> None:
    recipe = make_recipe(
        {"data": "x", "optimizer": "sgd", "warmup": 0, "schedule": "plateau", "learning_rate": 0.1}
    )
    model = two_parts()
    optimizer = make_optimizer(recipe, 10, model)
    assert optimizer.rate == pytest.approx(0.1)
    optimizer.plateau.assign(0.0)
    before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    assert optimizer.rate == 0
    for a, b in zip(stepped(model, optimizer), before, strict=True):
        assert np.array_equal(a, b)


def test_weight_decay_leaves_biases_and_norms_alone() -> None:
    recipe = make_recipe({"data": "synthetic", "weight_decay": 0.5, "warmup": 0, "learning_rate": 0.1})
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, bias_initializer="ones")(inputs)
    model = keras.Model(inputs, keras.layers.BatchNormalization(beta_initializer="ones")(x))
    optimizer = make_optimizer(recipe, 10, model)
    before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
    kernel, *others = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    assert np.allclose(kernel, before[0] * 0.95)
    for a, b in zip(others, before[1:], strict=True):
        assert np.array_equal(a, b)


def test_accumulated_steps_are_one_update_of_their_mean() -> None:
    plain = {"data": "x", "optimizer": "sgd", "warmup": 0, "schedule": "constant", "learning_rate": 0.1}
    model = two_parts()
    before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    optimizer = make_optimizer(make_recipe(plain | {"accumulate": 2}), 10, model)
    ones = [ops.ones_like(v) for v in model.trainable_variables]
    optimizer.apply(ones, model.trainable_variables)
    for v, b in zip(model.trainable_variables, before, strict=True):
        assert np.array_equal(ops.convert_to_numpy(v), b)
    optimizer.apply([3 * one for one in ones], model.trainable_variables)
    # Nesterov's first step with a momentum of 0.9 is 1.9 times the gradient.
    for v, b in zip(model.trainable_variables, before, strict=True):
        assert ops.convert_to_numpy(v) == pytest.approx(b - 0.1 * 1.9 * 2, abs=1e-6)


def test_an_update_that_would_never_come_is_refused() -> None:
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    recipe = make_recipe({"data": "x", "epochs": 2, "accumulate": 9})
    with pytest.raises(UsageError, match=r"accumulate.*8 steps, found 9"):
        make_optimizer(recipe, 4, network)
