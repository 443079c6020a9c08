"""Recipes: validated, repeatable, written and read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.recipe import make_recipe, read_recipe


def test_defaults_are_valid_and_complete() -> None:
    recipe = make_recipe({"data": "synthetic"})
    assert (recipe.model, recipe.height, recipe.width) == ("unet_mini", 256, 256)
    assert recipe.augment.enabled


def test_yaml_round_trip(tmp_path: Path) -> None:
    recipe = make_recipe({"data": "camvid:x", "class_weights": [1, 2.5], "model_options": {"channels": 8}})
    recipe.write(tmp_path / "recipe.yaml")
    again = make_recipe(read_recipe(tmp_path / "recipe.yaml"))
    assert again == recipe
    assert again.hash() == recipe.hash()


def test_hash_follows_what_matters() -> None:
    base = make_recipe({"data": "synthetic"})
    assert make_recipe({"data": "synthetic", "workers": 3}).hash() == base.hash()
    assert make_recipe({"data": "synthetic", "seed": 2}).hash() != base.hash()
    assert make_recipe({"data": "synthetic"}, {"augment.rotate": "0"}).hash() != base.hash()


def test_a_new_field_leaves_the_hash_as_it_was() -> None:
    """A run of before can be resumed only by its own hash: leave out of it what is at the default."""
    known = "1f242e1eb71a598f60993d63f7039163f439c5559fa71abb8a5362e424472edd"
    assert make_recipe({"data": "synthetic"}).hash() == known
    for name, values in (("noise_sigma", "[0.1, 0.2]"), ("blur_sigma", "[1, 2]")):
        assert make_recipe({"data": "synthetic"}, {f"augment.{name}": values}).hash() != known


def test_settings_reach_nested_fields_and_win() -> None:
    recipe = make_recipe(
        {"data": "synthetic", "epochs": 5},
        {"epochs": "7", "model_options.channels": "16", "size": "[64, 128]", "loss": "dice"},
    )
    assert (recipe.epochs, recipe.size, recipe.loss) == (7, (64, 128), "dice")
    assert recipe.model_options == {"channels": 16}


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ({"epoch": 3}, {}, "'epoch'.*no such field"),
        ({}, {"augment.vertical_flip": "1"}, "augment.vertical_flip"),
        ({"epochs": 0}, {}, "'epochs'.*greater than or equal to 1.*found 0"),
        ({"learning_rate": -1}, {}, "learning_rate"),
        ({"optimizer": "lion"}, {}, "'optimizer'.*'adamw'.*found 'lion'"),
        ({"class_weights": "some"}, {}, "class_weights"),
        ({}, {"epochs.count": "1"}, "epochs"),
        ({}, {"size": "[1, 2"}, "YAML"),
        ({"warmup": 1.5}, {}, "warmup"),
    ],
)
def test_faults_name_the_field(values: dict[str, Any], settings: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make_recipe({"data": "synthetic", "epochs": 3, **values}, settings)


@pytest.mark.parametrize(("field", "known"), [("model", "unet_mini_source"), ("loss", "focal_tversky")])
def test_unknown_names_list_the_known(field: str, known: str) -> None:
    with pytest.raises(UnknownNameError, match=known):
        make_recipe({"data": "synthetic", field: "nonsense"})


@pytest.mark.parametrize("text", ["[1, 2]", "just words", ":\n- {", None])
def test_a_file_that_is_no_recipe(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"recipe\.yaml.*recipe"):
        read_recipe(path)
