"""Proof that a run was trained with the loss that its row in the table will name."""

from __future__ import annotations

import math
from functools import partial

import keras
import numpy as np

from edgeseg.errors import TrainingError
from edgeseg.training.batches import Batches
from edgeseg.training.checkpoint import load_trainable
from edgeseg.training.checkpoint_info import read_info
from edgeseg.training.comparison.outcome import LossCheck
from edgeseg.training.comparison.plan import PlannedRun
from edgeseg.training.compilation import class_weights
from edgeseg.training.data import open_dataset, prepare
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.losses import loss_function
from edgeseg.training.recipe import Recipe, make_recipe, read_recipe
from edgeseg.training.run_folder import best_row
from edgeseg.training.training_split import training_split

# What is computed in another order differs by less, in 32 bits and in 16. Dice and Tversky of one model can
# be as near as 1 %: in 16 bits this proof cannot tell them apart, and their recipes alone do.
_TOLERANCE = {"float32": 1e-3}
_TOLERANCE_IN_16_BITS = 0.02


def check_trained_as_planned(run: PlannedRun) -> LossCheck:
    """See that a finished run is what its recipe says, in its files and in its numbers.

    ``recipe.yaml`` and both checkpoints must hold the planned recipe. And the validation loss that training
    recorded for the best epoch must be what the planned loss gives when it is evaluated here, apart from the
    trainer, on that checkpoint: a run that was compiled with another loss is found by its own numbers.

    Raises:
        TrainingError: Something differs.
    """
    _check_files(run)
    best = best_row(run.folder.read_rows())
    check = LossCheck(recorded=best.val_loss, recomputed=_validation_loss(run))
    info = read_info(run.folder.best)
    tolerance = _TOLERANCE.get(str(info and info.precision), _TOLERANCE_IN_16_BITS)
    if not math.isclose(check.recorded, check.recomputed, rel_tol=tolerance, abs_tol=tolerance / 100):
        raise _differs(
            run,
            f"the validation loss of epoch {best.epoch} to be {run.recipe.loss}'s, {check.recomputed:.4f}",
            f"{check.recorded:.4f} in {run.folder.metrics.name}",
        )
    return check


def _check_files(run: PlannedRun) -> None:
    planned = run.recipe
    _check_recipe(run, run.folder.recipe.name, make_recipe(read_recipe(run.folder.recipe)))
    for checkpoint in (run.folder.best, run.folder.last):
        info = read_info(checkpoint)
        _check_recipe(run, checkpoint.name, make_recipe(info.recipe) if info else None)
        if info and info.recipe_hash != planned.hash():
            raise _differs(run, f"the recipe's hash in {checkpoint.name}", "another recipe's")


def _check_recipe(run: PlannedRun, place: str, found: Recipe | None) -> None:
    if found is None or found.loss != run.recipe.loss:
        raise _differs(run, f"{place} to say loss {run.recipe.loss}", found.loss if found else "no recipe")
    if found.hash() != run.recipe.hash():
        raise _differs(run, f"{place} to hold the planned recipe", "another one")


def _validation_loss(run: PlannedRun) -> float:
    """The planned loss of the best checkpoint, in the precision that it was trained in: the images' mean."""
    recipe = run.recipe
    dataset = open_dataset(recipe.data)
    train = training_split(recipe, dataset)
    val = prepare(dataset, recipe.val_split, recipe.height, recipe.width)
    weights = class_weights(recipe, train)
    # The plain function by its name, and not what the trainer compiles: that is what is to be proved.
    loss = partial(
        loss_function(recipe.loss),
        ignore_index=train.labels.ignore_index,
        class_weights=weights,
        **recipe.loss_options,
    )
    model = load_trainable(run.folder.best)
    values, sizes = [], []
    batches = Batches(BatchLoader(val, recipe.batch))
    for index in range(batches.num_batches):
        images, masks = batches[index]
        values.append(float(keras.ops.convert_to_numpy(loss(masks, model(images, training=False)))))
        sizes.append(len(images))
    return float(np.average(values, weights=sizes))


def _differs(run: PlannedRun, expected: str, found: str) -> TrainingError:
    return TrainingError(
        f"run {run.name}",
        expected=expected,
        found=found,
        next_step=f"Its numbers are not those of {run.variant}: delete {run.folder.path} and compare again.",
    )
