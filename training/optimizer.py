"""Optimiser of a recipe: its learning rate over the steps, and over the parts of the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from typing_extensions import override

from edgeseg.errors import UsageError
from edgeseg.training.recipe import Recipe
from edgeseg.training.schedule import WarmUpSchedule

ENCODER = "encoder"
"""The layer of a model that holds its pretrained part."""


def make_optimizer(recipe: Recipe, steps_per_epoch: int, network: keras.Model) -> keras.optimizers.Optimizer:
    """The recipe's optimiser with all its variables, for the network's trainable ones.

    Args:
        recipe: Says which, and its rates.
        steps_per_epoch: Batches in an epoch.
        network: Its ``encoder``, where it has one, learns at ``encoder_rate`` of the learning rate, and not
            at all in the first ``encoder_frozen_epochs``.

    Raises:
        UsageError: So many steps make one update that the run would have none.
    """
    total = recipe.epochs * steps_per_epoch
    _check_accumulate(recipe.accumulate, total)
    schedule = WarmUpSchedule(recipe.learning_rate, total, round(recipe.warmup * total), recipe.schedule)
    optimizer = _OPTIMIZERS[recipe.optimizer](
        schedule,
        name=recipe.optimizer,
        decay=recipe.weight_decay if recipe.optimizer == "adamw" else 0.0,
        encoder=_encoder_indices(network),
        encoder_rate=recipe.encoder_rate,
        encoder_frozen_steps=recipe.encoder_frozen_epochs * steps_per_epoch,
        use_ema=recipe.ema > 0,
        # Keras averages after every step, though the weights change only at every accumulate-th.
        ema_momentum=recipe.ema ** (1 / recipe.accumulate),
        gradient_accumulation_steps=recipe.accumulate if recipe.accumulate > 1 else None,
    )
    if keras.config.dtype_policy().compute_dtype == "float16":
        # As compile would, but once for the network and what trains it.
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    # Built here, so that a checkpoint of any epoch, the zeroth too, can be saved and restored.
    optimizer.build(network.trainable_variables)
    return optimizer


def _check_accumulate(accumulate: int, steps: int) -> None:
    if accumulate > steps:
        raise UsageError(
            "accumulate",
            expected=f"at most the run's {steps} steps",
            found=str(accumulate),
            next_step="Lower it or --batch, or train more epochs: the weights would never change.",
        )


def unscaled(optimizer: keras.optimizers.Optimizer) -> _PartRates:
    """The optimiser itself, without the scaling of the loss that float16 needs."""
    own: _PartRates = getattr(optimizer, "inner_optimizer", optimizer)
    return own


def moving_averages(optimizer: keras.optimizers.Optimizer) -> list[npt.NDArray[np.float32]]:
    """The averages of the trainable weights, in their order, of an optimiser with ``use_ema``.

    Keras's own way to hand them over fails where the optimiser is of several replicas and the weights are
    not.
    """
    return [ops.convert_to_numpy(average) for average in unscaled(optimizer)._model_variables_moving_average]


class _PartRates:
    """An optimiser's update at each part's own rate, with decoupled weight decay at that rate.

    Args:
        schedule: The learning rate.
        decay: Weight decay of kernels; of the rest it would only pull scales and biases to zero.
        encoder: Which of the trainable variables, counted from 0, are the encoder's.
        encoder_rate: What the encoder's learning rate is multiplied by.
        encoder_frozen_steps: For so many steps from the first it is 0.
        **settings: Of the Keras optimiser.
    """

    def __init__(
        self,
        schedule: WarmUpSchedule,
        *,
        decay: float,
        encoder: Sequence[int],
        encoder_rate: float,
        encoder_frozen_steps: int,
        **settings: Any,
    ) -> None:
        super().__init__(schedule, **settings)
        self._decay, self._encoder = decay, frozenset(encoder)
        self._encoder_rate, self._frozen_steps = encoder_rate, encoder_frozen_steps
        self._decayed: frozenset[int] = frozenset()

    def build(self, variables: Sequence[Any]) -> None:
        kernels = (not v.name.endswith(("bias", "gamma", "beta")) for v in variables)
        self._decayed = frozenset(index for index, kernel in enumerate(kernels) if kernel)
        super().build(variables)  # type: ignore[misc]
        # A variable, for the compiled step reads it anew; who trains sets it, see plateau_factor.
        self.plateau = self.add_variable((), "ones", name="plateau")  # type: ignore[attr-defined]

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return float(ops.convert_to_numpy(self.learning_rate * self.plateau))  # type: ignore[attr-defined]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)  # type: ignore[attr-defined]
        part = self._encoder_part() if index in self._encoder else 1.0
        rate = learning_rate * ops.cast(self.plateau * part, learning_rate.dtype)
        if self._decay and index in self._decayed:
            shrink = ops.cast(rate * self._decay, variable.dtype)
            self.assign_sub(variable, variable * shrink)  # type: ignore[attr-defined]
        super().update_step(gradient, variable, rate)  # type: ignore[misc]

    def _encoder_part(self) -> Any:
        if not self._frozen_steps:
            return self._encoder_rate
        awake = self._iterations >= self._frozen_steps  # type: ignore[attr-defined]
        return self._encoder_rate * ops.cast(awake, "float32")


class _Adam(_PartRates, keras.optimizers.Adam):
    """Adam, and AdamW (Loshchilov and Hutter, https://arxiv.org/abs/1711.05101) where there is a decay."""


class _SGD(_PartRates, keras.optimizers.SGD):
    """SGD with Nesterov's momentum."""

    @override
    def __init__(self, schedule: WarmUpSchedule, **settings: Any) -> None:
        super().__init__(schedule, momentum=0.9, nesterov=True, **settings)


_OPTIMIZERS: dict[str, type[_Adam] | type[_SGD]] = {"adamw": _Adam, "adam": _Adam, "sgd": _SGD}


def _encoder_indices(network: keras.Model) -> list[int]:
    inside = {
        id(variable)
        for layer in network.layers
        if layer.name == ENCODER
        for variable in layer.trainable_variables
    }
    return [index for index, v in enumerate(network.trainable_variables) if id(v) in inside]
