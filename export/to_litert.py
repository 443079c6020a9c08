"""Keras to LiteRT (``.tflite``), with the whole graph contract in the file."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Literal

from edgeseg.bundle.manifest import Output
from edgeseg.export.converter import Signature, converting, signature_of

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

ENDPOINT = "serve"
FloatPrecision = Literal["fp32", "fp16"]
ADVICE = "Try --format onnx, or another precision; --debug shows all that the converter said."


def convert_litert(model: keras.Model, output: Output, precision: FloatPrecision) -> bytes:
    """Convert a model to a ``.tflite`` file of static batch 1 that computes in float.

    Pixels and class ids are ``uint8``.

    fp16 keeps weights as float16. int8 is made by :mod:`edgeseg.export.litert_int8`.

    Raises:
        ConversionError: The model does not keep to the contract, or holds an operation LiteRT does not have.
    """
    signature = signature_of(model, output)
    with converting(f"conversion to LiteRT {precision}", ADVICE):
        import tensorflow as tf

        with tempfile.TemporaryDirectory() as saved_model:
            write_saved_model(model, signature, saved_model)
            converter = converter_of(saved_model)
            if precision == "fp16":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
                converter.target_spec.supported_types = [tf.float16]
            return bytes(converter.convert())


def converter_of(saved_model: str) -> tf.lite.TFLiteConverter:
    """TensorFlow's converter of what :func:`write_saved_model` wrote."""
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_saved_model(saved_model, signature_keys=[ENDPOINT])


def write_saved_model(model: keras.Model, signature: Signature, path: str) -> None:
    """Write a folder whose one endpoint takes and gives what the signature says."""
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
