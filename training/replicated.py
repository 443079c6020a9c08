"""The trainee of several replicas: what Keras 3 and TensorFlow's strategies need to count as one device."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops
from typing_extensions import override

from edgeseg.training.models.layers import all_layers, temporarily
from edgeseg.training.trainee import Trainee


class ReplicatedTrainee(Trainee):
    """A trainee whose steps run on every replica of a TensorFlow strategy.

    It must be made outside of the strategy's scope: one made inside has ``fit`` build it from a batch first,
    which fails where there are several workers. Its network, metric and optimiser are made inside.

    Args:
        strategy: Of the replicas.
        several_workers: Whether they belong to several processes.
        *arguments: As of :class:`Trainee`.
    """

    def __init__(self, strategy: Any, several_workers: bool, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._strategy, self._several_workers = strategy, several_workers

    @property
    def distribute_strategy(self) -> Any:
        """Keras runs the steps under it."""
        return self._strategy

    @override
    def train_step(self, data: Any) -> dict[str, Any]:
        # BatchNorm does while the step is traced; what is saved does not know of it.
        with temporarily(_norms(self.network), "synchronized", True):
            logs: dict[str, Any] = super().train_step(data)
        if not self._several_workers:
            return logs
        # Keras takes the mean over workers along the first dimension, which a scalar does not have.
        return {name: ops.reshape(value, (1,)) for name, value in logs.items()}

    @override
    def batch_loss(self, *arguments: Any) -> Any:
        # Each replica's is the whole batch's, and the replicas' gradients are added.
        return super().batch_loss(*arguments) / self._strategy.num_replicas_in_sync


def _norms(network: keras.Model) -> list[keras.Layer]:
    return [layer for layer in all_layers(network) if isinstance(layer, keras.layers.BatchNormalization)]
