"""The model of a recipe with its loss, optimiser and metric, ready to be fitted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from edgeseg.labels import LabelSet
from edgeseg.training.data import CachedSplit
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.models import build_model
from edgeseg.training.optimizer import make_optimizer
from edgeseg.training.precision import jit_compile
from edgeseg.training.recipe import Recipe


def new_model(recipe: Recipe, labels: LabelSet) -> keras.Model:
    """The recipe's model under the global dtype policy, not compiled.

    No image is needed for it, nor to see whether the loss's settings fit the labels, which is checked too.

    Raises:
        UsageError: The recipe does not fit the model, the loss or the labels.
    """
    weights = recipe.class_weights
    _loss(recipe, labels, None if isinstance(weights, str) else weights)
    return build_model(recipe.model, len(labels), recipe.height, recipe.width, **recipe.model_options)


def compile_model(model: keras.Model, recipe: Recipe, train: CachedSplit) -> MeanIoU:
    """Give the model loss, optimiser and metric; returns the metric, which counts the confusion matrix.

    Args:
        model: The recipe's model, new or read from a checkpoint.
        recipe: How to train it.
        train: The training split: its labels, its class frequencies and its length matter here.

    Raises:
        UsageError: The recipe does not fit the loss or the labels.
    """
    labels = train.labels
    loss = _loss(recipe, labels, class_weights(recipe, train))
    metric = MeanIoU(len(labels), labels.ignore_index)
    optimizer = make_optimizer(recipe, steps_per_epoch(recipe, train))
    model.compile(optimizer, loss, metrics=[metric], jit_compile=jit_compile())
    # With its variables, so that a checkpoint of any epoch, the zeroth too, can be saved and restored.
    model.optimizer.build(model.trainable_variables)
    return metric


def steps_per_epoch(recipe: Recipe, train: CachedSplit) -> int:
    """Optimiser steps in an epoch; the last one's batch may be smaller."""
    return math.ceil(len(train) / recipe.batch)


def class_weights(recipe: Recipe, train: CachedSplit) -> list[float] | None:
    """The recipe's class weights for this training split, or ``None`` where all weigh alike.

    ``median_frequency`` (Eigen and Fergus, https://arxiv.org/abs/1411.4734): the median of the classes' pixel
    counts over each class's own, held between 0.1 and 10, so that a class of a few pixels cannot rule.
    """
    if recipe.class_weights == "none":
        return None
    if recipe.class_weights != "median_frequency":
        return [float(weight) for weight in recipe.class_weights]
    counts = train.histogram.astype(np.float64)
    weights = np.median(counts[counts > 0]) / np.maximum(counts, 1)
    return [round(float(weight), 4) for weight in np.clip(weights, 0.1, 10)]


def _loss(recipe: Recipe, labels: LabelSet, weights: Sequence[float] | None) -> NamedLoss:
    return NamedLoss(recipe.loss, len(labels), labels.ignore_index, weights, **recipe.loss_options)
