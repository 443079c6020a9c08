"""Several trained models as one, whose probabilities are the mean of theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from edgeseg import __version__
from edgeseg.errors import UsageError
from edgeseg.training.checkpoint import load_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo, own_info
from edgeseg.training.models.blocks import check_option

# What float32 keeps beside 1: a class that no member believes in is as unlikely as that, and not -inf.
_LEAST = 1e-7


def build(num_classes: int, height: int, width: int, *, checkpoints: Sequence[str] = ()) -> keras.Model:
    """See :func:`edgeseg.training.models.build_model`; the size must be that of the checkpoints.

    Args:
        num_classes, height, width: The output's classes and the input's size.
        checkpoints: ``.keras`` files of two models or more.

    Raises:
        UsageError: There are too few, or one is not there, or of another size or number of classes.
        DataError: A checkpoint is damaged.
    """
    fits = isinstance(checkpoints, list | tuple) and len(checkpoints) > 1
    fits = fits and all(isinstance(path, str) and path for path in checkpoints)
    check_option("checkpoints", checkpoints, fits=fits, expected="the paths of two .keras files or more")
    members = [load_checkpoint(Path(path))[0] for path in checkpoints]
    for path, member in zip(checkpoints, members, strict=True):
        _check(path, member, (height, width, 3), num_classes)
    return ensemble(members)


def ensemble(models: Sequence[keras.Model]) -> keras.Model:
    """One model of the members' mean.

    Args:
        models: Two or more of ``uint8 [N, H, W, 3]`` RGB to logits ``[N, H, W, C]``, all of one size and
            number of classes. They share their weights with the ensemble; auxiliary outputs are left out.

    Returns:
        A functional model of the same input to ``log(mean(softmax(logits)))``, ``float32 [N, H, W, C]``: its
        softmax is the members' mean, so that it serves wherever logits do. Member i is its sub-model
        ``member<i>``.

    Raises:
        UsageError: There are fewer than two, or their sizes or numbers of classes differ.
    """
    _check_several(len(models))
    shape, num_classes = models[0].input_shape[1:], models[0].outputs[0].shape[-1]
    for index, model in enumerate(models, start=1):
        _check(f"member {index} of the ensemble", model, shape, num_classes)
    image = keras.Input(shape, dtype="uint8", name="image")
    members = [_probabilities(f"member{index}", model, image) for index, model in enumerate(models, start=1)]
    mean = layers.Average(dtype="float32", name="mean")(members)
    log = ops.log(ops.maximum(mean, _LEAST))
    logits = layers.Activation("linear", dtype="float32", name="logits")(log)
    return keras.Model(image, logits, name="ensemble")


def open_ensemble(paths: Sequence[Path]) -> tuple[keras.Model, CheckpointInfo]:
    """The ensemble of checkpoints, and what a checkpoint of it says of itself.

    Its recipe is the first one's, with ``ensemble`` for the model and the paths for its options; its hash is
    of all members' hashes. It has not been scored, and so its ``val_miou`` is ``None``.

    Raises:
        UsageError: There are too few files, or one is not there, or of another size or of other classes.
        DataError: A file is damaged, or edgeseg did not write it.
    """
    _check_several(len(paths))
    infos = [own_info(path, otherwise="Leave it out, or train it with edgeseg.") for path in paths]
    for path, info in zip(paths, infos, strict=True):
        _check_labels(path, info, paths[0], infos[0])
    first = infos[0]
    checkpoints = [str(path) for path in paths]
    model = build(len(first.label_set()), first.height, first.width, checkpoints=checkpoints)
    return model, first.model_copy(
        update={
            "model": "ensemble",
            "recipe": {**first.recipe, "model": "ensemble", "model_options": {"checkpoints": checkpoints}},
            "recipe_hash": hashlib.sha256(" ".join(i.recipe_hash for i in infos).encode()).hexdigest(),
            "precision": "float32",
            "epoch": 0,
            "val_miou": None,
            "edgeseg_version": __version__,
        }
    )


def _check_several(count: int) -> None:
    if count < 2:
        raise UsageError(
            "ensemble",
            expected="two models or more",
            found=str(count),
            next_step="Name the checkpoints of all its members.",
        )


def _check(subject: str, model: keras.Model, shape: tuple[int, ...], num_classes: int) -> None:
    height, width, _ = shape
    expected = f"{height}x{width} pixels and {num_classes} classes, as all members of an ensemble must have"
    given, classes = model.inputs[0].shape[1:], model.outputs[0].shape[-1]
    if (tuple(given), classes) != (tuple(shape), num_classes):
        raise UsageError(
            subject,
            expected=expected,
            found=f"{given[0]}x{given[1]} pixels and {classes} classes",
            next_step="Leave it out, or train it at the others' size and classes.",
        )


def _probabilities(name: str, model: keras.Model, image: Any) -> Any:
    member = keras.Model(model.inputs, model.outputs[0], name=name)
    return layers.Softmax(dtype="float32", name=f"{name}_probabilities")(member(image))


def _check_labels(path: Path, info: CheckpointInfo, first_path: Path, first: CheckpointInfo) -> None:
    names, wanted = info.label_set().names, first.label_set().names
    if names != wanted:
        raise UsageError(
            path,
            expected=f"the classes of {first_path}: {', '.join(wanted)}",
            found=", ".join(names),
            next_step="Leave it out, or train it on the same classes.",
        )
