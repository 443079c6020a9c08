"""Keras models that another package trained, brought to the graph contract.

Such a model takes scaled float pixels and mostly ends in softmax or sigmoid; the contract wants raw ``uint8``
pixels in and logits out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import UsageError
from edgeseg.labels import LabelSet

if TYPE_CHECKING:
    import keras

    from edgeseg.training.pixel_scales import Order


@dataclass(frozen=True)
class Foreign:
    """What only its owner knows of a foreign model.

    Args:
        pixel_scale: One of ``PIXEL_SCALES``: how its training scaled the pixels.
        channel_order: ``rgb`` or ``bgr``: the order of colours that it takes; ``None``: what its scale is
            known for.
        size: Height and width of its input, where the file leaves them open.
        labels: The classes of its output in their order. Without them they are taken to be the dataset's.
    """

    pixel_scale: str | None = None
    size: tuple[int, int] | None = None
    labels: LabelSet | None = None
    channel_order: str | None = None


def custom_objects() -> dict[str, Any]:
    """What files of the ``efficientnet`` package name without saying what it is; Keras has the same."""
    import keras

    return {"FixedDropout": keras.layers.Dropout, "swish": keras.activations.silu}


def to_contract(model: keras.Model, foreign: Foreign, file: Path) -> keras.Model:
    """The model as the contract wants it; one that keeps to it already is returned as it is.

    Args:
        model: From a file that edgeseg did not write.
        foreign: What is known of it.
        file: Where it came from, for messages.

    Raises:
        UsageError: It is no segmentation model, what must be known of it was not given, or does not fit it.
    """
    from edgeseg.training.models.logits import without_probabilities
    from edgeseg.training.pixel_scales import channel_order

    known = _input_shape(model, file)[1:3]
    size = fitting_size(file, known, foreign.size)
    raw_pixels = model.inputs[0].dtype == "uint8"
    if raw_pixels:
        refuse("--pixel-scale", foreign.pixel_scale, f"{file} takes raw uint8 pixels and scales them itself")
    else:
        _require_scale(foreign, file, model)
    order = channel_order(foreign.channel_order, foreign.pixel_scale)
    network = without_probabilities(model)
    if raw_pixels and order == "rgb" and known == size and network.output_shape[-1] > 1:
        return network
    return _wrapped(network, foreign.pixel_scale, order, size)


def _input_shape(model: keras.Model, file: Path) -> tuple[int | None, ...]:
    single = len(model.inputs) == len(model.outputs) == 1
    given, made = (model.inputs[0].shape, model.outputs[0].shape) if single else ((), ())
    if len(given) != 4 or given[-1] != 3 or len(made) != 4:
        raise UsageError(
            file,
            expected="a model of images [N, H, W, 3] to maps [N, H, W, classes]",
            found=f"{[t.shape for t in model.inputs]} to {[t.shape for t in model.outputs]}",
            next_step="Export a model that has one such input and output.",
        )
    return tuple(given)


def refuse(option: str, given: str | None, why: str) -> None:
    """Refuse what is told of a model that is known already; nothing where it was not.

    Raises:
        UsageError: It was; ``why`` goes on after "none, for".
    """
    if given is not None:
        raise UsageError(option, expected=f"none, for {why}", found=given, next_step="Leave it out.")


def fitting_size(file: Path, known: Sequence[int | None], asked: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width: the file's, or those asked for where it leaves them open.

    Raises:
        UsageError: They are not those of the file, or nobody says them.
    """
    height, width = known if asked is None else asked
    fits = all(told in (None, size) for told, size in zip(known, (height, width), strict=True))
    if height is None or width is None or not fits:
        raise UsageError(
            "--size",
            expected=f"a size that fits the input of {file}, {known[0] or 'any'}x{known[1] or 'any'}",
            found="none" if asked is None else f"{height}x{width}",
            next_step="Give --size HxW." if asked is None else "Correct it, or leave it out.",
        )
    return height, width


def _require_scale(foreign: Foreign, file: Path, model: keras.Model) -> None:
    from edgeseg.training.pixel_scales import PIXEL_SCALES

    if foreign.pixel_scale not in PIXEL_SCALES:
        raise UsageError(
            "--pixel-scale",
            expected=f"how the pixels were scaled when {file} was trained: one of {', '.join(PIXEL_SCALES)}",
            found=foreign.pixel_scale or f"none, and the model takes {model.inputs[0].dtype} pixels",
            next_step="Give what its training did with an image, for instance --pixel-scale imagenet.",
        )


def _wrapped(
    network: keras.Model, pixel_scale: str | None, order: Order, size: tuple[int, int]
) -> keras.Model:
    import keras

    from edgeseg.training.models.pixel_scale import rescale

    image = keras.Input((*size, 3), dtype="uint8", name="image")
    x = image if pixel_scale is None else rescale(image, pixel_scale)
    if order == "bgr":
        x = keras.layers.Concatenate(name="bgr")([x[..., 2:], x[..., 1:2], x[..., :1]])
    x = network(x)
    if x.shape[-1] == 1:
        x = _two_classes(x)
    return keras.Model(
        image, keras.layers.Activation("linear", dtype="float32", name="logits")(x), name=network.name
    )


def _two_classes(x: Any) -> Any:
    """Logits of one class to those of the rest, always 0, and of that class: softmax is then its sigmoid."""
    import keras
    import numpy as np

    both = keras.layers.Conv2D(2, 1, use_bias=False, name="two_classes")
    made = both(x)
    both.set_weights([np.array([[[[0.0, 1.0]]]])])
    return made
