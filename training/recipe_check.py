"""Recipes tried before the hours that they take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeseg.errors import UsageError
from edgeseg.training.compilation import check_loss
from edgeseg.training.data import open_dataset
from edgeseg.training.data.joined import check_joinable
from edgeseg.training.network import check_sizes, new_network
from edgeseg.training.recipe import Recipe
from edgeseg.training.teacher import open_teacher


def check_recipes(recipes: Iterable[Recipe]) -> None:
    """Find what does not fit now, and not after the hours that the runs before it take.

    Raises:
        UsageError: A recipe does not fit its model, its loss, its teacher or the labels.
        DataError: The dataset or a teacher cannot be read.
    """
    check_one_of_each([recipe] for recipe in recipes)


def check_one_of_each(groups: Iterable[Sequence[Recipe]]) -> None:
    """The same where of each group one recipe is enough.

    Raises:
        UsageError: No recipe of a group fits its model, its loss and the labels; the first one's reason.
        DataError: The dataset cannot be read.
    """
    built: list[object] = []
    for group in groups:
        refusals = []
        for recipe in group:
            try:
                _check(recipe, built)
                break
            except UsageError as error:
                refusals.append(error)
        else:
            raise refusals[0]


def _check(recipe: Recipe, built: list[object]) -> None:
    labels = open_dataset(recipe.data).labels
    if recipe.extra_data:
        check_joinable(labels, open_dataset(recipe.extra_data).labels)
    check_loss(recipe, labels)
    network = (recipe.data, recipe.model, recipe.model_options, recipe.size, recipe.crop)
    if network not in built:
        check_sizes(recipe, labels)
        new_network(recipe, labels)
        built.append(network)
    taught = (recipe.data, recipe.teacher, recipe.size, recipe.crop)
    if taught not in built:
        open_teacher(recipe, labels)
        built.append(taught)
