"""A ``.keras`` file as a function from arrays to arrays, in the two ways in which Keras models are run.

For measuring alone: what edgeseg itself runs are bundles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from edgeseg.training.checkpoint import load_checkpoint

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Network:
    """A model that is ready to run.

    Args:
        call: From a batch of one, of ``input_shape`` and ``input_dtype``, to the output.
        input_shape, output_shape: With 1 for the batch.
        input_dtype, output_dtype: NumPy's.
        version: Of Keras and its backend.
    """

    call: Callable[[Array], Array]
    input_shape: tuple[int, ...]
    input_dtype: np.dtype[Any]
    output_shape: tuple[int, ...]
    output_dtype: np.dtype[Any]
    version: str


def predicting(path: Path, threads: int) -> Network:
    """``Model.predict``, as most projects call it on a frame."""
    model = _loaded(path, threads)
    return _network(model, lambda batch: model.predict(batch, verbose=0))


def compiled(path: Path, threads: int) -> Network:
    """The model as one ``tf.function``: no Python between its layers."""
    model = _loaded(path, threads)
    given = model.inputs[0]

    @tf.function(input_signature=[tf.TensorSpec((1, *given.shape[1:]), given.dtype)])
    def call(batch: Any) -> Any:
        return model(batch, training=False)

    return _network(model, lambda batch: np.asarray(call(batch)))


def _loaded(path: Path, threads: int) -> keras.Model:
    # Before the first operation, or TensorFlow takes all cores there are.
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model, _info = load_checkpoint(path)
    return model


def _network(model: keras.Model, call: Callable[[Array], Array]) -> Network:
    given, made = model.inputs[0], model.outputs[0]
    return Network(
        call,
        (1, *given.shape[1:]),
        np.dtype(given.dtype),
        (1, *made.shape[1:]),
        np.dtype(made.dtype),
        f"{keras.__version__} on TensorFlow {tf.__version__}",
    )
