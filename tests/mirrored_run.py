"""A run by one device and the same by two, the second cut in the middle and resumed, for test_distributed.py.

``python mirrored_run.py DATA OUT`` makes the run folders OUT/one and OUT/two.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tensorflow as tf
from typing_extensions import override

from edgeseg.training import metrics
from edgeseg.training.distributed import mirrored
from edgeseg.training.fit import resume, train
from edgeseg.training.observer import Observer
from edgeseg.training.recipe import make_recipe
from edgeseg.training.run_folder import EpochRow


class CutOff(Observer):
    """After the first epoch."""

    @override
    def epoch_ended(self, row: EpochRow, best: bool) -> None:
        raise KeyboardInterrupt


def main(data: str, out: str) -> None:
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    values = {"data": data, "size": [16, 16], "model_options": {"channels": 4}, "epochs": 2, "batch": 4}
    # Of sgd, for Adam makes a step of its full size of a gradient that is nothing but rounding; and of small
    # steps, for large ones make much of what two devices round differently.
    more = {"ema": 0.5, "optimizer": "sgd", "learning_rate": 0.01, "precision": "float32", "workers": 0}
    # As of large images.
    metrics._WORTH_COMPILING = 0
    recipe = make_recipe({**values, **more, "augment": {"geometry": 0, "color": 0, "blur": 0, "noise": 0}})
    train(recipe, Path(out, "one"))
    cluster = mirrored(["CPU:0", "CPU:1"])
    try:
        train(recipe, Path(out, "two"), [CutOff()], cluster)
    except KeyboardInterrupt:
        resume(Path(out, "two"), (), cluster)


if __name__ == "__main__":
    main(*sys.argv[1:])
