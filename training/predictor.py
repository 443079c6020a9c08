"""A Keras model as a predictor of class maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from edgeseg.evaluation import Predictor
from edgeseg.labels import Mask
from edgeseg.resize import Image
from edgeseg.runtimes.base import RawOutput


def keras_predictor(model: keras.Model, *, flip: bool = False) -> Predictor:
    """``uint8 [H, W, 3]`` RGB at the model's size to its class map ``uint8 [H, W]``, in inference mode.

    Args:
        model: Pixels to logits, as :func:`edgeseg.training.models.build_model` makes them.
        flip: Also look at the image's mirror image, and take the mean of both probabilities: twice the time.
    """
    scores_of = _compiled(model, _mirrored if flip else _plain)

    def predict(image: Image) -> Mask:
        scores = ops.convert_to_numpy(scores_of(image[np.newaxis]))[0]
        mask: Mask = scores.argmax(axis=-1).astype(np.uint8)
        return mask

    return predict


def confident_predictor(model: keras.Model) -> Callable[[Image], RawOutput]:
    """As :func:`keras_predictor`, with each pixel's probability of its class × 255, as a bundle gives it."""
    probabilities_of = _compiled(model, _probabilities)

    def predict(image: Image) -> RawOutput:
        shares = ops.convert_to_numpy(probabilities_of(image[np.newaxis]))[0]
        confidence = np.rint(255 * shares.max(axis=-1)).astype(np.uint8)
        return RawOutput(shares.argmax(axis=-1).astype(np.uint8), confidence)

    return predict


def _probabilities(model: keras.Model, images: Any) -> Any:
    return ops.softmax(model(images, training=False), axis=-1)


def _plain(model: keras.Model, images: Any) -> Any:
    return model(images, training=False)


def _mirrored(model: keras.Model, images: Any) -> Any:
    """Twice the mean of the probabilities, which has the same greatest class."""
    straight = ops.softmax(model(images, training=False), axis=-1)
    mirrored = ops.softmax(model(ops.flip(images, axis=2), training=False), axis=-1)
    return straight + ops.flip(mirrored, axis=2)


def _compiled(model: keras.Model, scores: Callable[[keras.Model, Any], Any]) -> Callable[[Any], Any]:
    """One call without the overhead of ``Model.predict``, which is larger than a small model's inference."""
    if keras.backend.backend() != "tensorflow":
        return lambda images: scores(model, images)
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def infer(images: Any) -> Any:
        return scores(model, images)

    return infer
