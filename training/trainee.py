"""What ``fit`` trains: a network with everything that its loss is made of."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops, tree
from typing_extensions import override

from edgeseg.training.batches import Batches
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.teacher import Teacher


class Trainee(keras.Model):
    """A network under its loss: of its logits, of its auxiliary heads, and of its distance from a teacher.

    It is no part of a checkpoint: those hold the network itself, compiled with the same optimiser.

    Args:
        network: Images to logits, or to logits and those of auxiliary heads, which may be smaller.
        objective: Of masks ``uint8 [N, H, W]`` and logits.
        metric: Counts the first output.
        auxiliary_weight: Of each auxiliary head's loss, against labels reduced to its size.
        teacher: In training only.
    """

    steps_per_dispatch = 1
    """What ``compile`` takes as ``steps_per_execution``."""

    def __init__(
        self,
        network: keras.Model,
        objective: NamedLoss,
        metric: MeanIoU,
        auxiliary_weight: float = 0.0,
        teacher: Teacher | None = None,
    ) -> None:
        super().__init__(name="trainee")
        self.network, self.objective, self.metric = network, objective, metric
        self._auxiliary_weight, self._teacher = auxiliary_weight, teacher

    def batches(self, loader: BatchLoader) -> Batches:
        """What a loader's images are to be fitted as."""
        return Batches(loader)

    @override
    def call(self, images: Any, training: bool | None = None) -> Any:
        return self.network(images, training=training)

    @override
    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        logits, *auxiliary = tree.flatten(y_pred)
        return self.batch_loss(x, y, logits, auxiliary if training else [], training)

    def batch_loss(self, images: Any, masks: Any, logits: Any, auxiliary: list[Any], training: bool) -> Any:
        """The loss of a batch; in validation without auxiliary heads and teacher."""
        loss = self.objective(masks, logits)
        for head in auxiliary:
            loss += self._auxiliary_weight * self.objective(_reduced(masks, head.shape[1:3]), head)
        if self._teacher and training:
            loss += self._teacher.loss(images, logits)
        return loss

    @override
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        self.metric.update_state(y, tree.flatten(y_pred)[0])
        return self.get_metrics_result()


def _reduced(masks: Any, size: tuple[int, int]) -> Any:
    """Masks ``[N, H, W]`` at a smaller size by their nearest pixels, so that ids stay ids."""
    rows, columns = (_nearest(length, count) for length, count in zip(masks.shape[1:3], size, strict=True))
    return ops.take(ops.take(masks, rows, axis=1), columns, axis=2)


def _nearest(length: int, count: int) -> list[int]:
    return [min(length - 1, int((i + 0.5) * length / count)) for i in range(count)]
