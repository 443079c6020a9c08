"""A run brought to its end from wherever it is: not begun, cut off, or trained and not yet known to be."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from edgeseg.errors import DataError
from edgeseg.training.checkpoint_info import read_info
from edgeseg.training.documents import read_json
from edgeseg.training.fit import resume, train
from edgeseg.training.observer import Observer
from edgeseg.training.recipe import Recipe
from edgeseg.training.run_folder import RunFolder


def bring_to_end(recipe: Recipe, folder: RunFolder, observers: Sequence[Observer] = ()) -> dict[str, Any]:
    """Train a recipe in exactly this folder, or continue there; gives what ``summary.json`` holds.

    Raises:
        UsageError, DataError, OutputError, TrainingError, KeyboardInterrupt: As
            :func:`edgeseg.training.fit.train`.
    """
    summary = read_json(folder.summary, "the JSON that edgeseg wrote", "Delete it: it is made again.")
    if summary is not None and summary.get("recipe_hash") == recipe.hash():
        return summary
    if folder.last.is_file():
        info = read_info(folder.last)
        if info is None or info.recipe_hash != recipe.hash():
            raise DataError(
                folder.path,
                expected="no run, or one of the recipe that is to be trained there",
                found="another recipe's run",
                next_step="Name another --out, or for a sweep the --storage that it began with.",
            )
        return resume(folder.path, observers).summary
    if folder.path.exists():
        # Cut off before its first checkpoint: there is nothing in it, and train would write beside it.
        shutil.rmtree(folder.path)
    return train(recipe, folder.path, observers).summary
