"""The recipe that a verb's options ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseg.training.recipe import Recipe

# Options that set what belongs to the model, not to the recipe itself.
_OF_THE_MODEL = ("encoder_weights", "input_channels")


def recipe_from(
    verb: str, start: str | None, given: Mapping[str, Any], settings: Mapping[str, str]
) -> Recipe:
    """The values of the recipe to start from, over them the options, over them ``--set``.

    Args:
        verb: Whose options these are, for messages: ``edgeseg train``.
        start: A recipe's name or file.
        given: Fields of the recipe that options name, ``encoder_weights``, ``input_channels`` and
            ``no_augment``.
        settings: As ``--set`` takes them.

    Raises:
        UsageError: There is no dataset, or a field or value does not fit.
        UnknownNameError: There is no such recipe, model or loss.
    """
    from edgeseg.errors import UsageError
    from edgeseg.training.data.augment import AugmentConfig
    from edgeseg.training.recipe import make_recipe
    from edgeseg.training.recipes import recipe_values

    values = {**(recipe_values(start) if start else {}), **given}
    if values.pop("no_augment", False):
        values["augment"] = AugmentConfig.none().model_dump()
    options = {key: values.pop(key) for key in _OF_THE_MODEL if key in values}
    if options:
        values["model_options"] = {**(values.get("model_options") or {}), **options}
    if "data" not in {**values, **settings}:
        raise UsageError(
            "--data",
            expected="a dataset",
            found="none",
            next_step=f"For instance: {verb} --data synthetic, or --data folder:PATH.",
        )
    return make_recipe(values, settings)
