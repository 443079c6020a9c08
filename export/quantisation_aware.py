"""Quantisation-aware fine-tuning: a model's weights moved so that it still says the same in int8.

A copy of the Keras model computes with the rounding of int8 in it, and is taught for some hundred steps to
say what the model itself says (Jacob et al., https://arxiv.org/abs/1712.05877). The weights alone are taken
from it: what becomes of them is up to the usual quantiser, whichever the format.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers, ops

from edgeseg.errors import ConversionError
from edgeseg.export.fake_quantisation import INT8, Grid, Rounding, kernels_of, quantised_kernel
from edgeseg.export.graph_nodes import nodes_of
from edgeseg.export.progress import Advance, ignore
from edgeseg.export.weights import Weights

BATCH = 4
LEARNING_RATE = 5e-5
"""At its highest, for kernels of 127 steps. Of half as many, twice as wide, it is twice."""

WARM_UP = 0.1
"""In this share of the steps the rate rises from nothing, in the others it falls back to it."""

SEED = 0
SEEN_FRAMES = 16
"""On so many frames, spread over all, the range of each activation is measured."""

_SAME_GRID = (
    layers.Cropping2D,
    layers.Dropout,
    layers.Flatten,
    layers.MaxPooling2D,
    layers.Permute,
    layers.Reshape,
    layers.ZeroPadding2D,
)
"""What they give is what they got: int8 files round it once."""


@dataclass(frozen=True)
class FineTuning:
    """What a fine-tuning was, and what came of it.

    Args:
        steps: Batches of ``BATCH`` calibration images.
        seconds: All of it took so long.
        loss: Mean divergence from the float model over the first and the last tenth of the steps.
        float_layers: Layers of kinds that are not known here: they were not rounded.
    """

    steps: int
    seconds: float
    loss: tuple[float, float]
    float_layers: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``report.json``."""
        return {
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
            "loss_before": self.loss[0],
            "loss_after": self.loss[1],
            "not_rounded": list(self.float_layers),
        }


def fine_tuned(
    model: keras.Model,
    frames: npt.NDArray[np.uint8],
    *,
    steps: int,
    grid: Grid = INT8,
    on_progress: Advance = ignore,
) -> tuple[Weights, FineTuning]:
    """Weights for a model that lose less in int8, in the order of its ``get_weights``.

    The float model teaches: no labels are needed, every pixel counts, and what the model does is kept rather
    than learned anew. BatchNorm keeps its averages, as the converter will fold them; what it multiplies and
    adds is trained.

    Args:
        model: ``uint8 [N, H, W, 3]`` to logits; it stays as it is.
        frames: Real images ``uint8 [N, H, W, 3]`` RGB of the training split.
        steps: Batches, at least 1.
        grid: What the format's files round to.
        on_progress: Told about each step.

    Raises:
        ConversionError: A layer cannot be copied, a step fails, or the loss does not stay finite.
    """
    start = time.perf_counter()
    student = _Student(_copy_of(model, grid), grid)
    try:
        student.measure_ranges(frames)
        losses = _teach(student, model, frames, steps, on_progress)
    except (ValueError, TypeError, KeyError, RuntimeError, tf.errors.OpError) as error:
        raise _failed(f"{type(error).__name__}: {error}") from error
    if not np.all(np.isfinite(losses)):
        raise _failed("a loss that is not finite")
    some = max(1, steps // 10)
    loss = (float(np.mean(losses[:some])), float(np.mean(losses[-some:])))
    told = FineTuning(steps, time.perf_counter() - start, loss, student.copy.not_rounded)
    return student.copy.weights_for(model), told


def _failed(found: str) -> ConversionError:
    return ConversionError(
        "fine-tuning",
        expected="a model that can be trained further",
        found=found,
        next_step="Leave fine-tuning out with --qat-steps 0.",
    )


def _teach(
    student: _Student, teacher: keras.Model, frames: npt.NDArray[np.uint8], steps: int, on_progress: Advance
) -> list[float]:
    from edgeseg.training.losses.distillation import pixel

    rate = _rate(LEARNING_RATE * student.width_of_step, steps)
    # Steps are few and networks many-branched: XLA would compile longer than it saves.
    student.compile(keras.optimizers.Adam(rate, clipnorm=1.0), pixel, jit_compile=False)
    losses = []
    for step, chosen in enumerate(_batches(len(frames), steps), start=1):
        images = frames[chosen]
        losses.append(float(student.train_on_batch(images, teacher.predict_on_batch(images))))
        on_progress(step, steps)
    return losses


def _rate(highest: float, steps: int) -> Any:
    # Adam's first steps are as long as the rate, whatever the gradient: they win back less when it is at its
    # highest at once.
    rising = int(WARM_UP * steps)
    if not rising:
        return keras.optimizers.schedules.CosineDecay(highest, steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - rising, warmup_target=highest, warmup_steps=rising
    )


def _batches(count: int, steps: int) -> Iterator[npt.NDArray[np.int64]]:
    """Indices of each step's images: all of them in a new order, again and again."""
    rng = np.random.default_rng(SEED)
    waiting = np.empty(0, np.int64)
    size = min(BATCH, count)
    for _ in range(steps):
        if len(waiting) < size:
            waiting = np.concatenate([waiting, rng.permutation(count)])
        yield waiting[:size]
        waiting = waiting[size:]


class _Student(keras.Model):
    """The copy, with its kernels rounded on their way into it."""

    def __init__(self, copy: _Copy, grid: Grid) -> None:
        super().__init__(name="int8_student")
        self.copy, self._grid, self.network = copy, grid, copy.network
        self._axes = {id(kernel): axes for kernel, axes in copy.kernels}

    @property
    def width_of_step(self) -> float:
        """Of a kernel, against that of 127 steps."""
        return INT8.kernel_steps / self._grid.kernel_steps

    def call(self, images: Any) -> Any:
        values = [self._rounded(variable) for variable in self.network.trainable_variables]
        # Inference all the way down: BatchNorm's averages stay, and nothing is dropped.
        fixed = self.network.non_trainable_variables
        return self.network.stateless_call(values, fixed, [images], training=False)[0]

    def _rounded(self, variable: keras.Variable) -> Any:
        axes = self._axes.get(id(variable))
        value = ops.convert_to_tensor(variable)
        return value if axes is None else quantised_kernel(value, axes, self._grid.kernel_steps)

    def measure_ranges(self, frames: npt.NDArray[np.uint8]) -> None:
        """Look at what each activation holds in float, and round to that from now on."""
        for rounding in self.copy.roundings:
            rounding.look()
        for frame in frames[:: max(1, len(frames) // SEEN_FRAMES)][:SEEN_FRAMES]:
            self.network([frame[None]], training=False)
        for rounding in self.copy.roundings:
            rounding.settle()


@dataclass(frozen=True)
class _Copy:
    """A copy of a model with roundings between its layers.

    ``layers`` pairs each layer of the model with that of the copy; ``kernels`` are the copy's.
    """

    network: keras.Model
    layers: list[tuple[keras.Layer, keras.Layer]]
    roundings: list[Rounding]

    @property
    def kernels(self) -> list[tuple[keras.Variable, tuple[int, ...]]]:
        return [kernel for _, copied in self.layers for kernel in kernels_of(copied)]

    @property
    def not_rounded(self) -> tuple[str, ...]:
        """Layers with weights of two and more dimensions whose kernels are not known."""
        return tuple(
            layer.name
            for layer, _ in self.layers
            if not kernels_of(layer) and any(len(w.shape) > 1 for w in layer.trainable_weights)
        )

    def weights_for(self, model: keras.Model) -> Weights:
        found = {
            id(own): ops.convert_to_numpy(copied.value)
            for layer, copy in self.layers
            for own, copied in zip(layer.weights, copy.weights, strict=True)
        }
        return [found[id(weight)] for weight in model.weights]


def _copy_of(model: keras.Model, grid: Grid) -> _Copy:
    # Written out from its tensors: of a Sequential Keras does not say how its layers are called.
    whole = keras.Model(model.inputs, model.outputs)
    fused = _fused(whole)
    pairs: list[tuple[keras.Layer, keras.Layer]] = []
    rounded: set[int] = set()
    roundings: list[Rounding] = []

    def copied(operation: Any) -> Any:
        if not isinstance(operation, keras.Layer):
            return operation
        copy = operation.__class__.from_config(operation.get_config())
        pairs.append((operation, copy))
        if id(operation) not in fused and not isinstance(operation, _SAME_GRID):
            rounded.add(id(copy))
        return copy

    def called(operation: Any, *args: Any, **kwargs: Any) -> Any:
        given = operation(*args, **kwargs)
        is_plain = not isinstance(operation, keras.Layer)
        if not (is_plain or id(operation) in rounded) or not _is_float(given):
            return given
        roundings.append(Rounding(symmetric=grid.symmetric))
        return roundings[-1](given)

    try:
        network = keras.models.clone_model(whole, clone_function=copied, call_function=called, recursive=True)
        for layer, copy in pairs:
            copy.set_weights(layer.get_weights())
    except (NotImplementedError, TypeError, ValueError) as error:
        raise ConversionError(
            f"fine-tuning of {model.name!r}",
            expected="a model whose layers can be made again from their configuration",
            found=f"{type(error).__name__}: {error}",
            next_step="Give its layers a get_config, or leave fine-tuning out with --qat-steps 0.",
        ) from error
    network.trainable = True
    return _Copy(network, pairs, roundings)


def _is_float(given: Any) -> bool:
    return isinstance(given, keras.KerasTensor) and given.dtype == "float32"


def _fused(model: keras.Model) -> set[int]:
    """The layers, by identity, whose results no int8 file holds: the next one becomes one with them."""
    nodes = nodes_of(model)
    uses = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    uses.update(id(tensor) for tensor in model.outputs)
    makers = {id(tensor): node.operation for node in nodes for tensor in node.outputs}
    found: set[int] = set()
    for node in nodes:
        if isinstance(node.operation, keras.Model):
            found |= _fused(node.operation)
        tensor = node.input_tensors[0]
        before = makers.get(id(tensor))
        if before is not None and uses[id(tensor)] == 1 and _becomes_one(before, node.operation):
            found.add(id(before))
    return found


def _becomes_one(before: Any, after: Any) -> bool:
    if isinstance(after, layers.BatchNormalization):
        linear = keras.activations.serialize(getattr(before, "activation", None)) in (None, "linear")
        return bool(kernels_of(before)) and linear
    clips = isinstance(after, layers.ReLU) or (
        isinstance(after, layers.Activation)
        and keras.activations.serialize(after.activation) in ("relu", "relu6", "linear")
    )
    return clips and (bool(kernels_of(before)) or isinstance(before, (layers.Add, layers.BatchNormalization)))
