"""Cross-layer equalisation: a model whose channels span alike, and that computes what it did.

An int8 tensor has one scale for all of its channels: where one spans a hundred times another, the other is
left with two steps. Between two layers with nothing but homogeneous functions in between, a channel can be
divided by a factor in the first and multiplied by it in the second (Nagel et al.,
https://arxiv.org/abs/1906.04721). It is done on the Keras model, so that it serves every format.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from edgeseg.export.graph_nodes import nodes_of
from edgeseg.export.weights import having

FRAMES = 16
"""On so many frames the span of each channel is measured."""

_MOST = 1e4
_POSITIVE = (layers.ZeroPadding2D, layers.MaxPooling2D, layers.AveragePooling2D, layers.Dropout)
_CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Conv2DTranspose)

Factors = npt.NDArray[np.float64]


@contextmanager
def equalised(model: keras.Model, frames: npt.NDArray[np.uint8]) -> Iterator[int]:
    """The model with equalised weights for as long as the block lasts; gives the number of pairs that were.

    Args:
        model: ``uint8 [N, H, W, 3]`` to logits. Its weights are put back afterwards, whatever happens.
        frames: Real images ``uint8 [N, H, W, 3]`` RGB.
    """
    with having(model, None):
        yield _equalise(model, [frames[:FRAMES]])


@dataclass(frozen=True)
class _Pair:
    """A BatchNorm or convolution, a second layer, and the tensor that goes between the two alone."""

    first: keras.Layer
    second: keras.Layer
    between: Any


def _equalise(model: keras.Model, inputs: list[npt.NDArray[Any]]) -> int:
    """Equalise the pairs of a model and of the models in it, which see ``inputs``."""
    pairs = _pairs(model)
    inner = [node for node in nodes_of(model) if isinstance(node.operation, keras.Model)]
    # Measured before anything is changed: what lies between a pair changes by its own factors alone.
    spans = _outputs(
        model, [keras.ops.max(keras.ops.abs(pair.between), axis=(1, 2)) for pair in pairs], inputs
    )
    given = iter(_outputs(model, [tensor for node in inner for tensor in node.input_tensors], inputs))
    for pair, values in zip(pairs, spans, strict=True):
        _balance(pair, values.max(axis=0).astype(np.float64))
    return len(pairs) + sum(
        _equalise(node.operation, [next(given) for _ in node.input_tensors]) for node in inner
    )


def _outputs(
    model: keras.Model, tensors: list[Any], inputs: list[npt.NDArray[Any]]
) -> list[npt.NDArray[Any]]:
    if not tensors:
        return []
    found = keras.Model(model.inputs, tensors).predict(inputs, batch_size=1, verbose=0)
    return found if isinstance(found, list) else [found]


def _pairs(model: keras.Model) -> list[_Pair]:
    nodes = nodes_of(model)
    uses = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    uses.update(id(tensor) for tensor in model.outputs)
    calls = Counter(id(node.operation) for node in nodes)
    maker = {id(tensor): node for node in nodes for tensor in node.outputs}
    found = []
    for node in nodes:
        if not _can_be_second(node.operation):
            continue
        tensor = node.input_tensors[0]
        while uses[id(tensor)] == 1 and id(tensor) in maker:
            before = maker[id(tensor)]
            if calls[id(before.operation)] > 1 or calls[id(node.operation)] > 1:
                break
            if _can_be_first(before.operation):
                found.append(_Pair(before.operation, node.operation, node.input_tensors[0]))
                break
            if not _is_homogeneous(before.operation):
                break
            tensor = before.input_tensors[0]
    return found


def _can_be_second(layer: Any) -> bool:
    return isinstance(layer, _CONVOLUTIONS) and getattr(layer, "groups", 1) == 1


def _can_be_first(layer: Any) -> bool:
    if isinstance(layer, layers.BatchNormalization):
        return bool(layer.scale and layer.center)
    return _can_be_second(layer) and keras.activations.serialize(layer.activation) in ("linear", "relu")


def _is_homogeneous(layer: Any) -> bool:
    """Whether a channel's positive factor passes through it; ReLU6 cuts at 6 all the same."""
    if isinstance(layer, layers.ReLU):
        return layer.max_value is None and layer.threshold == 0
    if isinstance(layer, layers.Activation):
        return keras.activations.serialize(layer.activation) in ("linear", "relu")
    return isinstance(layer, _POSITIVE)


def _balance(pair: _Pair, spans: Factors) -> None:
    """Divide the channels between two layers, that span so much, by what makes them alike."""
    factors = _factors(pair.second, spans)
    _scale_outputs(pair.first, 1 / factors)
    _scale_inputs(pair.second, factors)


def _factors(second: keras.Layer, spans: Factors) -> Factors:
    """Factors whose geometric mean is 1; 1 for a channel that holds nothing.

    What a depthwise layer does with a channel has a scale of its own, so the channels may become wholly
    alike; the weights of others share a scale over their inputs, and carry half of the difference.
    """
    weights = _input_weights(second)
    used = (spans > 0) & (weights > 0)
    wanted = (
        spans if isinstance(second, layers.DepthwiseConv2D) else np.sqrt(spans / np.where(used, weights, 1))
    )
    logs = np.log(np.where(used, wanted, 1))
    logs[used] -= logs[used].mean() if used.any() else 0
    return np.asarray(np.exp(np.clip(logs, -np.log(_MOST), np.log(_MOST))))


def _input_weights(layer: keras.Layer) -> Factors:
    """The greatest weight of each input channel."""
    kernel = np.abs(keras.ops.convert_to_numpy(layer.kernel)).astype(np.float64)
    axis = 3 if isinstance(layer, layers.Conv2DTranspose) else 2
    return np.asarray(kernel.max(axis=tuple(i for i in range(4) if i != axis)))


def _scale_inputs(layer: keras.Layer, factors: Factors) -> None:
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    transposed = isinstance(layer, layers.Conv2DTranspose)
    layer.kernel.assign(kernel * (factors if transposed else factors[:, None]))


def _scale_outputs(layer: keras.Layer, factors: Factors) -> None:
    if isinstance(layer, layers.BatchNormalization):
        layer.gamma.assign(keras.ops.convert_to_numpy(layer.gamma) * factors)
        layer.beta.assign(keras.ops.convert_to_numpy(layer.beta) * factors)
        return
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    if isinstance(layer, layers.DepthwiseConv2D):
        by_output = factors.reshape(kernel.shape[2:])
    elif isinstance(layer, layers.Conv2DTranspose):
        by_output = factors[:, None]
    else:
        by_output = factors
    layer.kernel.assign(kernel * by_output)
    if layer.use_bias:
        layer.bias.assign(keras.ops.convert_to_numpy(layer.bias) * factors)
