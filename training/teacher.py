"""A trained model, or an ensemble, from whose logits a smaller one learns."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import keras
from keras import ops

from edgeseg.errors import UsageError
from edgeseg.labels import LabelSet, require_same_classes
from edgeseg.training.checkpoint import load_trainable
from edgeseg.training.checkpoint_info import CheckpointInfo, read_info
from edgeseg.training.losses.distillation import DISTILLATIONS
from edgeseg.training.models import inference_model
from edgeseg.training.models.logits import without_probabilities
from edgeseg.training.network import empty_network
from edgeseg.training.recipe import Recipe, make_recipe


class Teacher:
    """The teacher's part of a loss. It is no layer, so that Keras takes it for no part of the student.

    Args:
        model: Images ``uint8 [N, h, w, 3]`` to logits ``[N, h, w, C]``, of any h and w: what the student sees
            is resized to it, and its logits back.
        distance: A name of :data:`edgeseg.training.losses.distillation.DISTILLATIONS`.
        weight: Of that distance.
        temperature: Softens both sides of it.
    """

    def __init__(self, model: keras.Model, distance: str, weight: float, temperature: float) -> None:
        self._model, self._distance = model, DISTILLATIONS[distance]
        self._weight, self._temperature = weight, temperature

    def loss(self, images: Any, logits: Any) -> Any:
        """The weighted distance of a student's logits from the teacher's."""
        taught = self._model(self._as_seen(images), training=False)
        size = logits.shape[1:3]
        if taught.shape[1:3] != size:
            taught = ops.image.resize(taught, size, interpolation="bilinear")
        return self._weight * self._distance(ops.stop_gradient(taught), logits, self._temperature)

    def _as_seen(self, images: Any) -> Any:
        size = self._model.input_shape[1:3]
        if images.shape[1:3] == size:
            return images
        resized = ops.image.resize(ops.cast(images, "float32"), size, interpolation="bilinear")
        return ops.cast(ops.clip(ops.round(resized), 0, 255), "uint8")


def open_teacher(recipe: Recipe, labels: LabelSet) -> Teacher | None:
    """The recipe's teacher, ``None`` where it has none: it sees things as large as in its own training.

    A whole image is resized to the teacher's size, a window to the same part of it.

    Raises:
        UsageError: There is no such file, or it cannot be had at the size of a window.
        DataError: The file is damaged, or its classes are others.
    """
    if recipe.teacher is None:
        return None
    path = Path(recipe.teacher)
    info = read_info(path)
    if info:
        require_same_classes(info.label_set(), labels, f"--data {recipe.data}, for the teacher {path}")
    model = inference_model(load_trainable(path))
    if info is None:
        model = _foreign(path, model)
    if recipe.crop:
        model = _for_windows(path, model, info, labels, recipe)
    if model.output_shape[-1] != len(labels):
        raise UsageError(
            f"--teacher {path}",
            expected=f"logits of {len(labels)} classes",
            found=f"an output of {model.output_shape}",
            next_step="Name a checkpoint that was trained on the same classes.",
        )
    return Teacher(model, recipe.distill_distance, recipe.distill_weight, recipe.distill_temperature)


def teacher_hash(recipe: Recipe) -> str | None:
    """SHA-256, hexadecimal, of the teacher's file: a recipe names only where it lies."""
    return None if recipe.teacher is None else hashlib.sha256(Path(recipe.teacher).read_bytes()).hexdigest()


def _foreign(path: Path, model: keras.Model) -> keras.Model:
    """A model of others, as far as it keeps to the contract: raw pixels in; its logits where it gives more.

    Raises:
        UsageError: It takes pixels that somebody has scaled, and nothing says how.
    """
    kind = keras.backend.standardize_dtype(model.inputs[0].dtype)
    if kind == "uint8":
        return without_probabilities(model)
    raise UsageError(
        f"--teacher {path}",
        expected="a checkpoint of edgeseg, or a model of uint8 pixels",
        found=f"a model of {kind} pixels",
        next_step="Bring a segmentation_models.Unet over with: edgeseg import-weights FILE",
    )


def _for_windows(
    path: Path, model: keras.Model, info: CheckpointInfo | None, labels: LabelSet, recipe: Recipe
) -> keras.Model:
    """The same weights in a network of an input of the window's part of the teacher's own."""
    own: tuple[int, int] = model.input_shape[1:3]
    parts = zip(own, recipe.train_size, recipe.size, strict=True)
    size = tuple(max(64, 32 * round(length * part / whole / 32)) for length, part, whole in parts)
    if size == own:
        return model
    if info is None or info.model == "ensemble":
        raise UsageError(
            f"--teacher {path}",
            expected="a model that can be rebuilt for windows, which an ensemble and a foreign one cannot",
            found=f"one of {own[0]}x{own[1]}, and windows of {recipe.train_size[0]}x{recipe.train_size[1]}",
            next_step="Train without --crop, or name another teacher.",
        )
    # Of a checkpoint that was imported there is no whole recipe.
    built = {"model": info.model, "model_options": info.recipe.get("model_options", {})}
    known = make_recipe({"data": info.dataset, **built})
    rebuilt = inference_model(empty_network(known, labels, (size[0], size[1])))
    rebuilt.set_weights(model.get_weights())
    return rebuilt
