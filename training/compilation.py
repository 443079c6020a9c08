"""What trains the network of a recipe: loss, optimiser, metric, teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras

from edgeseg.labels import LabelSet
from edgeseg.training.class_weights import CLASS_WEIGHTS
from edgeseg.training.data import CachedSplit
from edgeseg.training.distributed import ALONE, Cluster
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.optimizer import make_optimizer
from edgeseg.training.recipe import Recipe
from edgeseg.training.resident import STEPS_PER_DISPATCH, resident_trainee
from edgeseg.training.teacher import Teacher
from edgeseg.training.trainee import Trainee


def make_trainee(
    network: keras.Model,
    recipe: Recipe,
    train: CachedSplit,
    teacher: Teacher | None = None,
    cluster: Cluster = ALONE,
    *,
    resident: bool = False,
) -> Trainee:
    """Compile a network, new or read from a checkpoint, with all that trains it.

    Args:
        network: The recipe's, at the size that is trained on.
        recipe: How to train it.
        train: The training split: its labels, its class frequencies and its length matter here.
        teacher: The recipe's.
        cluster: Whose devices train; the network was made in its scope.
        resident: Whether the images are copied to the device, and varied there.

    Raises:
        UsageError: The recipe does not fit the loss or the labels.
    """
    labels = train.labels
    objective = _objective(recipe, labels, class_weights(recipe, train))
    make = resident_trainee(train, recipe) if resident else cluster.trainee
    with cluster.scope():
        metric = MeanIoU(len(labels), labels.ignore_index)
        optimizer = make_optimizer(recipe, steps_per_epoch(recipe, train), network)
    trainee = make(network, objective, metric, recipe.auxiliary_weight, teacher)
    with cluster.scope():
        trainee.compile(
            optimizer,
            jit_compile=cluster.jit_compile,
            steps_per_execution=STEPS_PER_DISPATCH if resident else 1,
        )
        # Checkpoints hold the network, and by this the optimiser's state.
        network.compile(optimizer)
    return trainee


def check_loss(recipe: Recipe, labels: LabelSet) -> None:
    """See whether the loss's settings fit the labels, which needs no image.

    Raises:
        UsageError: They do not.
    """
    weights = recipe.class_weights
    _objective(recipe, labels, None if isinstance(weights, str) else weights)


def steps_per_epoch(recipe: Recipe, train: CachedSplit) -> int:
    """Training steps in an epoch; the last one's batch may be smaller."""
    return math.ceil(len(train) / recipe.batch)


def class_weights(recipe: Recipe, train: CachedSplit) -> list[float] | None:
    """The recipe's class weights for this training split, or ``None`` where all weigh alike."""
    wanted = recipe.class_weights
    if isinstance(wanted, str):
        return None if wanted == "none" else CLASS_WEIGHTS[wanted](train.histogram)
    return [float(weight) for weight in wanted]


def _objective(recipe: Recipe, labels: LabelSet, weights: Sequence[float] | None) -> NamedLoss:
    return NamedLoss(recipe.loss, len(labels), labels.ignore_index, weights, **recipe.loss_options)
