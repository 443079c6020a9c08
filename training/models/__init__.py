"""The models that can be trained. One file each; a new one is its file and its line in ``MODELS``."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    import keras

# Names of modules, not the modules: listing the models must not need Keras.
MODELS: dict[str, str] = {
    "unet_mini": "edgeseg.training.models.unet_mini",
    "unet_mini_source": "edgeseg.training.models.unet_mini_source",
    "attention_unet": "edgeseg.training.models.attention_unet",
    "unet": "edgeseg.training.models.unet",
    "unet_efficientnetb3": "edgeseg.training.models.unet_efficientnetb3",
    "two_stage_unet": "edgeseg.training.models.two_stage_unet",
    "edge": "edgeseg.training.models.edge",
    "ensemble": "edgeseg.training.models.ensemble",
    "deeplabv3plus": "edgeseg.training.models.deeplabv3plus",
    "segformer_b0": "edgeseg.training.models.segformer:b0",
    "segformer_b1": "edgeseg.training.models.segformer:b1",
    "segformer_b2": "edgeseg.training.models.segformer:b2",
    "segformer_b3": "edgeseg.training.models.segformer:b3",
    "segformer_b4": "edgeseg.training.models.segformer:b4",
    "segformer_b5": "edgeseg.training.models.segformer:b5",
}
"""Name of a model to the module whose ``build`` makes it, or ``MODULE:FUNCTION``."""


def build_model(name: str, num_classes: int, height: int, width: int, **options: Any) -> keras.Model:
    """A new model of raw pixels to logits.

    Args:
        name: One of ``MODELS``.
        num_classes: Number of classes C.
        height, width: Input size in pixels; each model says what it must be divisible by.
        **options: The model's own options, see :func:`model_options`.

    Returns:
        A functional model of plain Keras layers, for segformer of KerasHub's too: ``image``
        ``uint8 [N, H, W, 3]`` RGB, 0 to 255, to logits ``float32 [N, H, W, C]``. Normalisation is its first
        layer; there is no softmax. It follows the global dtype policy, apart from the logits. Some models
        end, where an option asks for it, in more outputs after the first: logits of auxiliary heads
        ``[N, h, w, C]``, see :func:`inference_model`.

    Raises:
        UnknownNameError: There is no such model.
        UsageError: The size does not divide, the model has no such option, or its value does not fit.
    """
    known = model_options(name)
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise UsageError(
            f"model_options of {name}",
            expected=f"some of {', '.join(known)}" if known else "none, for this model has no options",
            found=", ".join(unknown),
            next_step="Remove it, or choose a model that has it.",
        )
    model = _builder(name)(num_classes, height, width, **options)
    _check_output(name, model, (None, height, width, num_classes))
    return model


def model_options(name: str) -> dict[str, Any]:
    """The options of a model with their defaults."""
    parameters = inspect.signature(_builder(name)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def inference_model(model: keras.Model) -> keras.Model:
    """The model without auxiliary heads, of the same weights: the car has no use for them."""
    if len(model.outputs) == 1:
        return model
    import keras

    return keras.Model(model.inputs, model.outputs[0], name=model.name)


def _check_output(name: str, model: keras.Model, expected: tuple[int | None, ...]) -> None:
    if tuple(model.outputs[0].shape) != expected:
        raise UsageError(
            f"model {name}",
            expected=f"one logit for each pixel of the input and class, {expected}",
            found=f"an output of {tuple(model.outputs[0].shape)}",
            next_step="Choose another size or other options; a new model must end at its input's size.",
        )


def _builder(name: str) -> Callable[..., keras.Model]:
    if name not in MODELS:
        raise UnknownNameError.of("model", name, MODELS)
    module, _, function = MODELS[name].partition(":")
    build: Callable[..., keras.Model] = getattr(importlib.import_module(module), function or "build")
    return build
