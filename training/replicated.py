"""The trainee of several replicas: what Keras 3 and TensorFlow's strategies need to count as one device."""

from __future__ import annotations

import threading
from typing import Any

import keras
from keras import ops, tree
from typing_extensions import override

from edgeseg.training.models.layers import all_layers
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
        self._synchronised = _Synchronised(self.network)

    @property
    def distribute_strategy(self) -> Any:
        """Keras runs the steps under it."""
        return self._strategy

    @override
    def train_step(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        # An epoch ends where there is no batch left. Without this, what needs none of it is done once more
        # then: the count of steps, by which the learning rate falls, and weight decay.
        with self._synchronised, tf.control_dependencies(tree.flatten(data)):
            logs: dict[str, Any] = super().train_step(data)
        if not self._several_workers:
            return logs
        # Keras takes the mean over workers along the first dimension, which a scalar does not have.
        return {name: ops.reshape(value, (1,)) for name, value in logs.items()}

    @override
    def batch_loss(self, *arguments: Any) -> Any:
        # Each replica's is the whole batch's, and the replicas' gradients are added.
        return super().batch_loss(*arguments) / self._strategy.num_replicas_in_sync


class _Synchronised:
    """BatchNorm counts all replicas while a step is traced; what is saved of it does not know of that.

    Each replica traces in a thread of its own, and these overlap: the first sets it, the last takes it back.
    """

    def __init__(self, network: keras.Model) -> None:
        norms = all_layers(network)
        self._norms = [layer for layer in norms if isinstance(layer, keras.layers.BatchNormalization)]
        self._lock, self._inside = threading.Lock(), 0

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(self, *_: object) -> None:
        self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self._inside += change
            for norm in self._norms:
                norm.synchronized = self._inside > 0
