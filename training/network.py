"""The network of a recipe: new, or empty at any size; and the number format that suits it."""

from __future__ import annotations

from typing import Any

import keras

from edgeseg.labels import LabelSet
from edgeseg.training.models import build_model, model_options
from edgeseg.training.models.encoders import resolve_batchnorm
from edgeseg.training.models.layers import all_layers
from edgeseg.training.optimizer import ENCODER
from edgeseg.training.precision import has_accelerator, resolve_precision
from edgeseg.training.recipe import Recipe

# Options of models that say which weights to begin with, and what they say where it does not matter.
_STARTS = {"encoder_weights": "none", "first_checkpoint": None}
_BATCHNORM = "encoder_batchnorm"


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
    options = {**known, **recipe.model_options}
    if _BATCHNORM in known:
        # What is frozen for the sake of the weights stays frozen without them.
        options[_BATCHNORM] = resolve_batchnorm(options[_BATCHNORM], options["encoder_weights"])
    starts = {key: value for key, value in _STARTS.items() if key in known}
    return _built(recipe, labels, size, {**options, **starts})


def check_sizes(recipe: Recipe, labels: LabelSet) -> None:
    """See whether the size fits the model too where only windows of it are trained on.

    Raises:
        UsageError: It does not.
    """
    if recipe.crop:
        empty_network(recipe, labels, recipe.size)


def choose_precision(recipe: Recipe, labels: LabelSet) -> str:
    """The Keras dtype policy for the recipe on this machine.

    TensorFlow has no fast bfloat16 kernel for the gradient of a depthwise convolution on a CPU: there
    ``auto`` trains a network of them in float32 (measured with ``edge``: twice as fast as in bfloat16).
    """
    precision = resolve_precision(recipe.precision)
    if recipe.precision != "auto" or precision != "mixed_bfloat16" or has_accelerator():
        return precision
    network = empty_network(recipe, labels, recipe.train_size)
    return "float32" if any(map(_is_depthwise, all_layers(network))) else precision


def _is_depthwise(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.SeparableConv2D)


def _built(recipe: Recipe, labels: LabelSet, size: tuple[int, int], options: dict[str, Any]) -> keras.Model:
    network = build_model(recipe.model, len(labels), *size, **options)
    if recipe.encoder_rate == 0:
        for layer in network.layers:
            if layer.name == ENCODER:
                layer.trainable = False
    return network
