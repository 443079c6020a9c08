"""What test_backends.py lets another backend do: losses, a run that is interrupted, images on the device.

``KERAS_BACKEND=… python backend_run.py DATA OUT START`` writes its numbers to OUT. START holds the weights to
begin with; where there is no such file, it is written.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.fit import TrainResult, resume, train
from edgeseg.training.losses import LOSSES
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.models import build_model
from edgeseg.training.observer import Observer
from edgeseg.training.recipe import make_recipe
from edgeseg.training.resident import ResidentSplit, ResidentTrainee


def main(data: str, out: Path, start: Path) -> None:
    split = prepare(open_dataset(data), "train", 16, 16)
    numbers = {
        "backend": keras.backend.backend(),
        "losses": losses(),
        "metric": metric(),
        "steps": [steps(split, start, dispatch) for dispatch in (1, 3)],
        "runs": runs(data, out.parent),
    }
    out.write_text(json.dumps(numbers), encoding="utf-8")


def losses() -> dict[str, float]:
    """Of labels with ignored pixels and logits that are any."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, (2, 12, 12)).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.2] = 255
    logits = rng.normal(0, 3, (2, 12, 12, 4)).astype(np.float32)
    weights = [0.5, 1.0, 2.0, 4.0]
    return {name: float(NamedLoss(name, 4, class_weights=weights)(truth, logits)) for name in LOSSES}


def metric() -> list[list[int]]:
    rng = np.random.default_rng(1)
    counted = MeanIoU(3)
    for _ in range(2):
        counted.update_state(rng.integers(0, 3, (2, 8, 8)).astype(np.uint8), rng.normal(size=(2, 8, 8, 3)))
    matrix: list[list[int]] = counted.matrix().tolist()
    return matrix


def steps(split: CachedSplit, start: Path, dispatch: int) -> list[float]:
    """Loss and mIoU of two epochs on images that live on the device, varied there."""
    network = build_model("unet_mini", len(split.labels), 16, 16, channels=4)
    if start.is_file():
        network.load_weights(start)
    else:
        network.save_weights(start)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(network.trainable_variables)
    trainee = ResidentTrainee(
        ResidentSplit(split, AugmentConfig(), None),
        network,
        NamedLoss("dice_cross_entropy", len(split.labels)),
        MeanIoU(len(split.labels)),
    )
    trainee.compile(optimizer, jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
                    steps_per_execution=1 if keras.backend.backend() == "torch" else dispatch)  # fmt: skip
    history = trainee.fit(
        trainee.batches(BatchLoader(split, 5, seed=1, shuffle=True)), epochs=2, verbose=0, shuffle=False
    ).history
    return [float(value) for value in (*history["loss"], *history["miou"])]


def runs(data: str, folder: Path) -> dict[str, list[float]]:
    """Validation losses and mIoU of a run in one go, and of one that was interrupted in its second epoch."""
    recipe = make_recipe(
        {"data": data, "size": [16, 16], "model_options": {"channels": 4}, "epochs": 2, "batch": 5,
         "learning_rate": 0.01, "precision": "float32", "workers": 0}
    )  # fmt: skip
    straight = train(recipe, folder / "straight")
    with contextlib.suppress(KeyboardInterrupt):
        train(recipe, folder / "cut", [Interrupt()])
    return {"straight": scores(straight), "resumed": scores(resume(folder / "cut"))}


def scores(result: TrainResult) -> list[float]:
    return [value for row in result.rows for value in (row.loss, row.val_loss, row.val_miou)]


class Interrupt(Observer):
    def stepped(self, epoch: int, step: int, logs: Mapping[str, Any]) -> None:
        if (epoch, step) == (2, 2):
            raise KeyboardInterrupt


if __name__ == "__main__":
    main(sys.argv[1], *map(Path, sys.argv[2:]))
