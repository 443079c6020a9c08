"""What a recipe trains on: a split, a share of it, and the extra data beside it."""

from __future__ import annotations

from collections.abc import Callable

from edgeseg.training.data import CachedSplit, Dataset, open_dataset, prepare
from edgeseg.training.data.joined import check_joinable, joined
from edgeseg.training.data.subset import subset
from edgeseg.training.recipe import Recipe

Preparing = Callable[[str, int, int], None]
"""Called with a split's name, and with images finished and in all."""


def training_split(recipe: Recipe, dataset: Dataset, preparing: Preparing | None = None) -> CachedSplit:
    """The recipe's training images at its size.

    ``fraction`` is a share of the dataset's own: the extra data, where there are any, are used whole.

    Args:
        recipe: Says what is wanted.
        dataset: That of the recipe's ``data``.
        preparing: Told of the decoding.

    Raises:
        DataError: A file is missing or damaged, or a dataset has no such split.
        LabelError: The extra data have other classes.
    """
    extra = open_dataset(recipe.extra_data) if recipe.extra_data else None
    if extra:
        check_joinable(dataset.labels, extra.labels)
    own = subset(_prepared(recipe, dataset, "", preparing), recipe.fraction, recipe.seed)
    return joined(own, _prepared(recipe, extra, "extra ", preparing)) if extra else own


def _prepared(recipe: Recipe, dataset: Dataset, prefix: str, preparing: Preparing | None) -> CachedSplit:
    name = recipe.train_split

    def advance(finished: int, total: int) -> None:
        if preparing:
            preparing(f"{prefix}{name}", finished, total)

    return prepare(dataset, name, recipe.height, recipe.width, on_progress=advance)
