"""Recipes that were run: a file each, whose docstring holds the command and the result it measured.

A recipe is a function ``recipe()`` that gives fields of :class:`edgeseg.training.recipe.Recipe`; what it does
not name keeps its default. The dataset and the files that training starts from are the command's to name.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from edgeseg.errors import UnknownNameError
from edgeseg.training.recipe import read_recipe

RECIPES: dict[str, str] = {
    "camvid_edge": "edgeseg.training.recipes.camvid_edge",
    "camvid_edge_large": "edgeseg.training.recipes.camvid_edge_large",
    "camvid_unet_mobilenetv2": "edgeseg.training.recipes.camvid_unet_mobilenetv2",
}
"""Name of a recipe to its module."""


def recipe_values(name_or_file: str) -> dict[str, Any]:
    """The fields of a recipe, by its name or from a ``recipe.yaml``, for ``make_recipe``.

    Raises:
        UnknownNameError: It is neither a recipe's name nor a file.
        UsageError: The file cannot be read or holds no recipe.
    """
    if name_or_file in RECIPES:
        values: dict[str, Any] = importlib.import_module(RECIPES[name_or_file]).recipe()
        return values
    if not Path(name_or_file).is_file():
        raise UnknownNameError.of("recipe (or file)", name_or_file, RECIPES)
    return read_recipe(Path(name_or_file))
