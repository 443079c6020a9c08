"""A trained model, or an ensemble, from whose logits a smaller one learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import ops

from edgeseg.errors import UsageError
from edgeseg.labels import LabelSet, require_same_classes
from edgeseg.training.checkpoint import CheckpointInfo, load_trainable, read_info
from edgeseg.training.losses.distillation import distillation
from edgeseg.training.models import inference_model
from edgeseg.training.network import empty_network
from edgeseg.training.recipe import Recipe, make_recipe


class Teacher:
    """The teacher's part of a loss. It is no layer, so that Keras takes it for no part of the student.

    Args:
        model: Images ``uint8 [N, H, W, 3]`` to logits ``[N, H, W, C]``.
        weight: Of the distance from it.
        temperature: See :func:`edgeseg.training.losses.distillation.distillation`.
    """

    def __init__(self, model: keras.Model, weight: float, temperature: float) -> None:
        self._model, self._weight, self._temperature = model, weight, temperature

    def loss(self, images: Any, logits: Any) -> Any:
        """The weighted distance of a student's logits from the teacher's."""
        taught = ops.stop_gradient(self._model(images, training=False))
        return self._weight * distillation(taught, logits, self._temperature)


def open_teacher(recipe: Recipe, labels: LabelSet) -> Teacher | None:
    """The recipe's teacher at the size that is trained on; ``None`` where it has none.

    Raises:
        UsageError: There is no such file, or it cannot be had at that size.
        DataError: The file is damaged, or its classes are others.
    """
    if recipe.teacher is None:
        return None
    path = Path(recipe.teacher)
    info = read_info(path)
    if info:
        require_same_classes(info.label_set(), labels, f"--data {recipe.data}, for the teacher {path}")
    model = inference_model(load_trainable(path))
    if model.input_shape[1:3] != recipe.train_size:
        model = _resized(path, model, info, labels, recipe.train_size)
    if model.output_shape[-1] != len(labels):
        raise UsageError(
            f"--teacher {path}",
            expected=f"logits of {len(labels)} classes",
            found=f"an output of {model.output_shape}",
            next_step="Name a checkpoint that was trained on the same classes.",
        )
    return Teacher(model, recipe.distill_weight, recipe.distill_temperature)


def _resized(
    path: Path, model: keras.Model, info: CheckpointInfo | None, labels: LabelSet, size: tuple[int, int]
) -> keras.Model:
    """The same weights in a network of another input size."""
    if info is None or info.model == "ensemble":
        height, width = model.input_shape[1:3]
        raise UsageError(
            f"--teacher {path}",
            expected=f"a model of the training size {size[0]}x{size[1]}, for this one cannot be rebuilt",
            found=f"{height}x{width}",
            next_step=f"Train at {height}x{width} (--size, or --crop), or name another teacher.",
        )
    # Of a checkpoint that was imported there is no whole recipe.
    built = {"model": info.model, "model_options": info.recipe.get("model_options", {})}
    recipe = make_recipe({"data": info.dataset, **built})
    rebuilt = inference_model(empty_network(recipe, labels, size))
    rebuilt.set_weights(model.get_weights())
    return rebuilt
