"""What a recipe cannot be trained with is found before the hours of the runs before it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeseg.errors import UsageError
from edgeseg.training.recipe import make_recipe
from edgeseg.training.recipe_check import check_recipes


def recipes(bands: str, *changes: dict[str, Any]) -> list[Any]:
    small = {"data": bands, "size": [32, 32], "model_options": {"channels": 4}, "precision": "float32"}
    return [make_recipe(small | change) for change in changes]


def test_a_teacher_that_is_not_there(bands: str, tmp_path: Path) -> None:
    """Of the second recipe: the first one would train for an hour before."""
    with pytest.raises(UsageError, match=r"typo\.keras"):
        check_recipes(recipes(bands, {}, {"teacher": str(tmp_path / "typo.keras")}))


def test_a_size_that_does_not_fit_behind_windows_that_do(bands: str) -> None:
    """Both train on the same windows, and only one of them can look at whole images."""
    fits = {"crop": [16, 16], "model": "attention_unet", "model_options": {"channels": 4, "depth": 2}}
    does_not = fits | {"size": [32, 42]}
    check_recipes(recipes(bands, fits))
    with pytest.raises(UsageError, match="32x42"):
        check_recipes(recipes(bands, fits, does_not))
