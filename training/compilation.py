"""What trains the network of a recipe: loss, optimiser, metric, teacher."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import keras

from edgeseg.errors import UsageError
from edgeseg.labels import LabelSet
from edgeseg.training.class_weights import CLASS_WEIGHTS
from edgeseg.training.data import CachedSplit
from edgeseg.training.distributed import ALONE, Cluster
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.optimizer import make_optimizer
from edgeseg.training.recipe import Recipe
from edgeseg.training.teacher import Teacher
from edgeseg.training.trainee import Trainee


def make_trainee(
    network: keras.Model,
    recipe: Recipe,
    train: CachedSplit,
    teacher: Teacher | None = None,
    cluster: Cluster = ALONE,
    make: Callable[..., Trainee] | None = None,
) -> Trainee:
    """Compile a network, new or read from a checkpoint, with all that trains it.

    Args:
        network: The recipe's, at the size that is trained on.
        recipe: How to train it.
        train: The training split: its labels, its class frequencies and its length matter here.
        teacher: The recipe's.
        cluster: Whose devices train; the network was made in its scope.
        make: Makes it of its parts, as :class:`Trainee` does; by default what suits the cluster.

    Raises:
        UsageError: The recipe does not fit the loss or the labels.
    """
    labels = train.labels
    loss = objective(recipe, labels, class_weights(recipe, train))
    with cluster.scope():
        metric = MeanIoU(len(labels), labels.ignore_index)
        optimizer = make_optimizer(recipe, steps_per_epoch(recipe, train), network)
    trainee = (make or cluster.trainee)(network, loss, metric, recipe.auxiliary_weight, teacher)
    with cluster.scope():
        trainee.compile(
            optimizer,
            jit_compile=cluster.jit_compile,
            steps_per_execution=trainee.steps_per_dispatch,
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
    objective(recipe, labels, None if isinstance(weights, str) else weights)


def check_accumulate(recipe: Recipe, cluster: Cluster) -> None:
    """See whether the devices can gather gradients over several steps.

    Raises:
        UsageError: Several cannot: Keras 3 gathers in a branch, which TensorFlow's replicas may not take.
    """
    if recipe.accumulate > 1 and cluster.replicas > 1:
        raise UsageError(
            "accumulate",
            expected=f"1 where {cluster.replicas} devices share each batch",
            found=str(recipe.accumulate),
            next_step="Raise --batch instead, or train on one device.",
        )


def steps_per_epoch(recipe: Recipe, train: CachedSplit) -> int:
    """Training steps in an epoch; the last one's batch may be smaller."""
    return math.ceil(len(train) / recipe.batch)


def class_weights(recipe: Recipe, train: CachedSplit) -> list[float] | None:
    """The recipe's class weights for this training split, or ``None`` where all weigh alike."""
    wanted = recipe.class_weights
    if isinstance(wanted, str):
        return None if wanted == "none" else CLASS_WEIGHTS[wanted](train.histogram)
    return [float(weight) for weight in wanted]


def objective(recipe: Recipe, labels: LabelSet, weights: Sequence[float] | None) -> NamedLoss:
    """The recipe's loss with these class weights.

    Raises:
        UsageError: Its settings do not fit the labels.
    """
    return NamedLoss(recipe.loss, len(labels), labels.ignore_index, weights, **recipe.loss_options)
