"""A tiny training run by one device, by two of one process, or by two processes, for test_distributed.py.

``python replica_run.py one|mirrored|workers INDEX PORT DATA OUT LOSS [EPOCHS]`` writes the weights and each
epoch's logs to OUT.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from edgeseg.errors import TrainingError
from edgeseg.training.batches import Batches
from edgeseg.training.callbacks import StepWatch
from edgeseg.training.data import open_dataset, prepare
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.distributed import ALONE, Cluster, connect, mirrored
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.models import build_model
from edgeseg.training.observer import Observer

# 16 images in batches of 5: shares are uneven, and the last batch is one image.
BATCH = 5


class Rows(keras.callbacks.Callback):
    """The logs of each epoch, and what all workers take from the chief."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__()
        self.rows: list[list[float]] = []
        self._cluster = cluster

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        logs = logs or {}
        own = 7.0 + self._cluster.index
        self.rows.append([float(logs["loss"]), float(logs["miou"]), *self._cluster.of_chief([own])])


def main(mode: str, index: str, port: str, data: str, out: str, loss: str, epochs: str = "2") -> None:
    cluster = _cluster(mode, int(index), int(port))
    split = prepare(open_dataset(data), "train", 16, 16)
    classes = len(split.labels)
    keras.utils.set_random_seed(3)
    with cluster.scope():
        network = build_model("unet_mini", classes, 16, 16, channels=4)
        metric, optimizer = MeanIoU(classes), keras.optimizers.SGD(0.1)
        optimizer.build(network.trainable_variables)
    trainee = cluster.trainee(network, NamedLoss(loss, classes), metric)
    with cluster.scope():
        trainee.compile(optimizer, jit_compile=cluster.jit_compile)
    batches = Batches(BatchLoader(split, BATCH, seed=1, shuffle=True, part=cluster.part))
    rows = Rows(cluster)
    callbacks = [StepWatch(batches, Observer()), rows]
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    with cluster.watched():
        trainee.fit(
            cluster.batches(batches), epochs=int(epochs), callbacks=callbacks, verbose=0, shuffle=False
        )
    np.savez(out, *network.get_weights(), rows=np.array(rows.rows))


def _cluster(mode: str, index: int, port: int) -> Cluster:
    if mode == "workers":
        return connect([f"127.0.0.1:{port}", f"127.0.0.1:{port + 1}"], index)
    if mode == "mirrored":
        [cpu] = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        return mirrored(["CPU:0", "CPU:1"])
    return ALONE


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except TrainingError as error:
        sys.exit(str(error))
