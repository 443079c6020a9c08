"""Models of others end in probabilities; losses, teachers and exports want the logits before them."""

from __future__ import annotations

import keras

_PROBABILITIES = ("softmax", "sigmoid")


def without_probabilities(model: keras.Model) -> keras.Model:
    """The model ending in logits: without a last softmax or sigmoid, be it a layer or part of one."""
    last = model.outputs[0]._keras_history.operation
    ends = getattr(getattr(last, "activation", None), "__name__", None) in _PROBABILITIES
    if isinstance(last, keras.layers.Softmax) or (ends and isinstance(last, keras.layers.Activation)):
        return keras.Model(model.inputs, last.input)
    return _with_linear(model, last) if ends else model


def _with_linear(model: keras.Model, last: keras.Layer) -> keras.Model:
    def copy(layer: keras.Layer) -> keras.Layer:
        changed = {"activation": "linear"} if layer is last else {}
        return type(layer).from_config({**layer.get_config(), **changed})

    logits = keras.models.clone_model(model, clone_function=copy)
    logits.set_weights(model.get_weights())
    return logits
