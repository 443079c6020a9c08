"""The recipes that were run."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.training.models import model_options
from edgeseg.training.recipe import make_recipe
from edgeseg.training.recipes import RECIPES, recipe_values

every_recipe = pytest.mark.parametrize("name", sorted(RECIPES))


@every_recipe
def test_is_a_valid_recipe_of_options_that_exist(name: str) -> None:
    recipe = make_recipe({"data": "camvid:somewhere", **recipe_values(name)})
    assert set(recipe.model_options) <= set(model_options(recipe.model))


@every_recipe
def test_says_how_it_was_run_and_what_came_of_it(name: str) -> None:
    text = importlib.import_module(RECIPES[name]).__doc__ or ""
    assert f"--recipe {name} " in text
    assert re.search(r"\d\d\.\d", text), "a measured figure"


@every_recipe
def test_names_no_file_of_its_author(name: str) -> None:
    assert "/" not in str(recipe_values(name))


def test_every_file_is_listed() -> None:
    folder = Path(importlib.import_module("edgeseg.training.recipes").__file__).parent
    assert {p.stem for p in folder.glob("*.py")} - {"__init__"} == set(RECIPES)


def test_a_file_serves_as_well(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("model: unet_mini\nepochs: 3\n", encoding="utf-8")
    assert recipe_values(str(tmp_path / "mine.yaml")) == {"model": "unet_mini", "epochs": 3}


def test_neither_a_name_nor_a_file(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="camvid_unet_mobilenetv2"):
        recipe_values("camvid_unet")
    (tmp_path / "list.yaml").write_text("- 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="a recipe"):
        recipe_values(str(tmp_path / "list.yaml"))
