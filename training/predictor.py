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


def keras_predictor(model: keras.Model) -> Predictor:
    """``uint8 [H, W, 3]`` RGB at the model's size to its class map ``uint8 [H, W]``, in inference mode.

    Args:
        model: Pixels to logits, as :func:`edgeseg.training.models.build_model` makes them.
    """
    logits_of = _compiled(model)

    def predict(image: Image) -> Mask:
        logits = ops.convert_to_numpy(logits_of(image[np.newaxis]))[0]
        mask: Mask = logits.argmax(axis=-1).astype(np.uint8)
        return mask

    return predict


def _compiled(model: keras.Model) -> Callable[[Any], Any]:
    """One call without the overhead of ``Model.predict``, which is larger than a small model's inference."""
    if keras.backend.backend() != "tensorflow":
        return lambda images: model(images, training=False)
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def infer(images: Any) -> Any:
        return model(images, training=False)

    return infer
