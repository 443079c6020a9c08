"""The network of a recipe: new, or empty at any size."""

from __future__ import annotations

from typing import Any

import keras

from edgeseg.labels import LabelSet
from edgeseg.training.models import build_model, model_options
from edgeseg.training.optimizer import ENCODER
from edgeseg.training.recipe import Recipe

# Options of models that say which weights to begin with, and what they are to say where it does not matter.
_STARTS = {"encoder_weights": "none", "first_checkpoint": None}


def new_network(recipe: Recipe, labels: LabelSet) -> keras.Model:
    """The recipe's network at the size that is trained on, under the global dtype policy.

    Raises:
        UsageError: The recipe does not fit the model or the labels.
    """
    return _built(recipe, labels, recipe.train_size, recipe.model_options)


def empty_network(recipe: Recipe, labels: LabelSet, size: tuple[int, int]) -> keras.Model:
    """The recipe's network at any size, of the same weights in the same order, with no values worth having.

    What an encoder began with is not looked for: that file need not be there any more.
    """
    known = model_options(recipe.model)
    starts = {key: value for key, value in _STARTS.items() if key in known}
    return _built(recipe, labels, size, {**recipe.model_options, **starts})


def _built(recipe: Recipe, labels: LabelSet, size: tuple[int, int], options: dict[str, Any]) -> keras.Model:
    network = build_model(recipe.model, len(labels), *size, **options)
    if recipe.encoder_rate == 0:
        for layer in network.layers:
            if layer.name == ENCODER:
                layer.trainable = False
    return network
