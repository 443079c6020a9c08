"""``two_stage_unet``: what each stage sees, and how the first one's weights come to the second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.training.models import build_model

CLASSES = 3
TINY = {"first_channels": 4, "second_channels": 3, "reduction": 2}
IMAGE = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).astype(np.uint8)


def two_stage(**options: Any) -> keras.Model:
    return build_model("two_stage_unet", CLASSES, 32, 48, **{**TINY, **options})


@pytest.fixture
def first(tmp_path: Path) -> tuple[keras.Model, str]:
    """A model of stage 1 with weights unlike any new one's, and its file."""
    keras.utils.set_random_seed(1)
    model = two_stage(stages="first")
    model.set_weights([1.1 * w for w in model.get_weights()])
    path = tmp_path / "first.keras"
    model.save(path)
    return model, str(path)


def test_together_ends_in_both_stages_logits() -> None:
    model = two_stage()
    assert [output.shape for output in model.outputs] == [(None, 32, 48, CLASSES), (None, 16, 24, CLASSES)]
    assert all(variable.trainable for variable in model.get_layer("first").trainable_variables)


def test_the_first_stage_alone_sees_the_mean_of_its_pixels() -> None:
    model = two_stage(stages="first")
    seen = keras.Model(model.input, model.get_layer("reduce").output)(IMAGE)
    means = IMAGE.reshape(2, 16, 2, 24, 2, 3).mean(axis=(2, 4))
    assert np.allclose(seen, means / 127.5 - 1, atol=1e-5)
    assert model.output_shape == (None, 32, 48, CLASSES)


def test_the_second_stage_begins_with_the_first_ones_masks(first: tuple[keras.Model, str]) -> None:
    coarse, path = first
    model = two_stage(stages="second", first_checkpoint=path)
    expected = coarse(IMAGE, training=False)
    assert np.allclose(model(IMAGE, training=False), expected, atol=1e-5)


def test_the_second_stage_learns_and_the_first_does_not(first: tuple[keras.Model, str]) -> None:
    coarse, path = first
    model = two_stage(stages="second", first_checkpoint=path)
    before = model(IMAGE, training=False)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    labels = IMAGE[..., 0] // 86
    losses = [float(model.train_on_batch(IMAGE, labels)) for _ in range(4)]
    assert losses[-1] < losses[0]
    assert not np.allclose(model(IMAGE, training=False), before)
    kept = zip(model.get_layer("first").get_weights(), coarse.get_layer("first").get_weights(), strict=True)
    assert all(np.array_equal(ours, theirs) for ours, theirs in kept)


def test_weights_fit_a_model_of_another_size_that_names_no_checkpoint(first: tuple[keras.Model, str]) -> None:
    model = two_stage(stages="second", first_checkpoint=first[1])
    options = {**TINY, "stages": "second", "first_checkpoint": None}
    twin = build_model("two_stage_unet", CLASSES, 64, 64, **options)
    twin.set_weights(model.get_weights())
    assert not twin.get_layer("first").trainable_variables


def test_in_grey_two_pictures_of_one_luma_are_the_same() -> None:
    model = two_stage(stages="first", input_channels=1)
    red = np.zeros((1, 32, 48, 3), np.uint8)
    red[..., 0] = 200
    grey = np.full((1, 32, 48, 3), round(0.299 * 200), np.uint8)
    difference = np.abs(model(red, training=False) - model(grey, training=False)).max()
    coloured = two_stage(stages="first")
    assert difference < 0.02 < np.abs(coloured(red) - coloured(grey)).max()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"reduction": 4}, "reduction=2, and not 4"),
        ({"first_channels": 5}, "other classes, first_channels or input_channels"),
        ({"input_channels": 1}, "other classes"),
    ],
)
def test_a_first_stage_that_does_not_fit_is_refused(
    first: tuple[keras.Model, str], options: dict[str, Any], found: str
) -> None:
    with pytest.raises(UsageError, match=f"stages=first and the same.*{found}"):
        values = {**TINY, "stages": "second", "first_checkpoint": first[1], **options}
        build_model("two_stage_unet", CLASSES, 64, 96, **values)


def test_a_checkpoint_without_a_first_stage_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.keras"
    build_model("unet_mini", CLASSES, 32, 48, channels=2).save(path)
    with pytest.raises(UsageError, match="found a model without a stage 1"):
        two_stage(stages="second", first_checkpoint=str(path))
    with pytest.raises(UsageError, match=r"missing\.keras.*nothing there"):
        two_stage(stages="second", first_checkpoint=str(tmp_path / "missing.keras"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stages": "both"}, "stages: expected together or first or second"),
        (
            {"stages": "second"},
            "first_checkpoint: expected a .keras file of a run with stages=first, found ''",
        ),
        ({"stages": "second", "first_checkpoint": 3}, "first_checkpoint"),
        ({"first_checkpoint": "first.keras"}, "first_checkpoint: expected no file, for stages=together"),
        ({"reduction": 3}, "reduction: expected 2 or 4 or 8"),
        ({"first_channels": 0}, "first_channels"),
        ({"second_channels": "many"}, "second_channels"),
        ({"input_channels": 2}, "input_channels"),
    ],
)
def test_an_options_value_that_does_not_fit_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=rf"model_options\.{message}"):
        two_stage(**options)
