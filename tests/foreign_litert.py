"""LiteRT models as another project would convert them from TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from foreign_models import HEIGHT, NAMES, WEIGHTS, WIDTH, frames, scaled


def convert(function: Callable[[tf.Tensor], Any], shape: tuple[int | None, ...], **settings: Any) -> bytes:
    """A ``.tflite`` of a function of one float32 image."""
    traced = tf.function(function, input_signature=[tf.TensorSpec(shape, tf.float32, name="image")])
    made = tf.lite.TFLiteConverter.from_concrete_functions([traced.get_concrete_function()], traced)
    for name, value in settings.items():
        setattr(made, name, value)
    return bytes(made.convert())


def convolution(
    stride: int = 1, classes: int = len(NAMES), weights: np.ndarray = WEIGHTS
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Scores of ``classes`` by a 1x1 convolution; ``weights`` are ``[C, 3]``."""
    kernel = tf.constant(weights[:classes].T[None, None])
    return lambda image: tf.nn.conv2d(image, kernel, stride, "VALID")


def int8(kind: tf.DType, stride: int, weights: np.ndarray = WEIGHTS) -> bytes:
    """Integers throughout, calibrated on pixels of -1 to 1."""
    images = [scaled(frame, "minus1to1").astype(np.float32)[None] for frame in frames(6)]
    return convert(
        convolution(stride, len(weights), weights),
        (1, HEIGHT, WIDTH, 3),
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([image] for image in images),
        inference_input_type=kind,
        inference_output_type=kind,
    )
