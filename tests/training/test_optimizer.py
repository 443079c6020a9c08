"""Learning rates and optimisers of a recipe."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from edgeseg.training.optimizer import WarmUpSchedule, make_optimizer
from edgeseg.training.recipe import make_recipe


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", keras.optimizers.AdamW), ("adam", keras.optimizers.Adam), ("sgd", keras.optimizers.SGD)],
)
def test_the_named_optimizer(name: str, kind: type) -> None:
    recipe = make_recipe({"data": "synthetic", "optimizer": name, "warmup": 0.5, "epochs": 2})
    optimizer = make_optimizer(recipe, steps_per_epoch=10)
    assert type(optimizer) is kind
    schedule = optimizer._learning_rate
    assert (schedule.total_steps, schedule.warmup_steps) == (20, 10)


def test_weight_decay_leaves_biases_and_norms_alone() -> None:
    recipe = make_recipe({"data": "synthetic", "weight_decay": 0.5, "warmup": 0, "learning_rate": 0.1})
    inputs = keras.Input((4,))
    x = keras.layers.Dense(3, bias_initializer="ones")(inputs)
    model = keras.Model(inputs, keras.layers.BatchNormalization(beta_initializer="ones")(x))
    optimizer = make_optimizer(recipe, 10)
    before = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    optimizer.apply([keras.ops.zeros_like(v) for v in model.trainable_variables], model.trainable_variables)
    kernel, *others = [ops.convert_to_numpy(v).copy() for v in model.trainable_variables]
    assert np.allclose(kernel, before[0] * 0.95)
    for a, b in zip(others, before[1:], strict=True):
        assert np.array_equal(a, b)
