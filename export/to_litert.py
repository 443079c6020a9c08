"""Keras to LiteRT (``.tflite``), with the whole graph contract in the file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseg.bundle.manifest import Output, Precision
from edgeseg.export.converter import Signature, converting, signature_of
from edgeseg.export.progress import Advance, ignore

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

ENDPOINT = "serve"
_ADVICE = "Try --format onnx, or another precision; --debug shows all that the converter said."


def convert_litert(
    model: keras.Model,
    output: Output,
    precision: Precision,
    calibration: npt.NDArray[np.uint8] | None = None,
    on_progress: Advance = ignore,
) -> bytes:
    """Convert a model to a ``.tflite`` file of static batch 1, taking and giving ``uint8``.

    fp16 keeps weights as float16. int8 quantises weights per channel and activations to the ranges that
    ``calibration`` (``uint8 [N, H, W, 3]``, RGB) shows; input and class map are ``uint8`` pixels and ids in
    every precision, so nothing outside the file knows about scales and zero points.

    Raises:
        ConversionError: The model does not keep to the contract, or holds an operation LiteRT does not have.
    """
    signature = signature_of(model, output)
    with converting(f"conversion to LiteRT {precision}", _ADVICE) as capture:
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as saved_model:
            _write_saved_model(model, signature, saved_model)
            converter = tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[ENDPOINT])
            if precision == "fp16":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            if precision == "int8":
                _ask_for_int8(converter, calibration, capture.showing(on_progress))
            return bytes(converter.convert())


def _write_saved_model(model: keras.Model, signature: Signature, path: str) -> None:
    # ExportArchive, because a plain tf.Module converts and then fails at READ_VARIABLE.
    import keras
    import tensorflow as tf

    shape = (1, signature.height, signature.width, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return _outputs(model(image, training=False), signature)

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(ENDPOINT, serve)
    archive.write_out(path, verbose=False)


def _outputs(logits: tf.Tensor, signature: Signature) -> dict[str, tf.Tensor]:
    # tf.math and not keras.ops: keras.ops.argmax adds a BitwiseAnd that LiteRT does not have.
    import tensorflow as tf

    if signature.output == "logits":
        return {"logits": logits}
    ids = tf.math.argmax(logits, axis=-1, output_type=tf.int32)
    outputs = {"mask": tf.cast(ids, tf.uint8)}
    if signature.output == "mask+confidence":
        top = tf.reduce_max(tf.nn.softmax(logits, axis=-1), axis=-1)
        outputs["confidence"] = tf.cast(tf.round(255.0 * top), tf.uint8)
    return outputs


def _ask_for_int8(
    converter: tf.lite.TFLiteConverter, calibration: npt.NDArray[np.uint8] | None, on_progress: Advance
) -> None:
    import tensorflow as tf

    if calibration is None:
        raise ValueError("int8 needs calibration images")

    def frames() -> Iterator[list[npt.NDArray[np.uint8]]]:
        for index, frame in enumerate(calibration):
            yield [frame[None]]
            on_progress(index + 1, len(calibration))

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = frames
    # Only these: where an operation has no int8 kernel, a failure is better than a silent float island.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
