"""Training on images that live on the device: the same whatever is one dispatch, and continued exactly."""

from __future__ import annotations

from collections.abc import Mapping

import keras
import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.training import resident
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.distributed import ALONE, Cluster
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.models import build_model
from edgeseg.training.resident import (
    ResidentBatches,
    ResidentSplit,
    ResidentTrainee,
    fits_accelerator,
    is_resident,
)

CROP = (12, 16)


@pytest.fixture(scope="module")
def split(bands: str) -> CachedSplit:
    return prepare(open_dataset(bands), "train", 16, 16)


class Epochs(keras.callbacks.Callback):
    """Says which epoch is read, and writes down what each one came to."""

    def __init__(self, batches: ResidentBatches) -> None:
        super().__init__()
        self.rows: list[tuple[float, float]] = []
        self.steps: list[int] = []
        self._batches = batches

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._batches.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        self.steps.append(batch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        logs = logs or {}
        self.rows.append((float(logs["loss"]), float(logs["miou"])))


def trained(split: CachedSplit, steps_per_dispatch: int) -> tuple[Epochs, list[np.ndarray]]:
    keras.utils.set_random_seed(3)
    classes = len(split.labels)
    network = build_model("unet_mini", classes, *CROP, channels=4)
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(network.trainable_variables)
    trainee = ResidentTrainee(
        ResidentSplit(split, AugmentConfig(), CROP), network, NamedLoss("dice", classes), MeanIoU(classes)
    )
    trainee.compile(optimizer, jit_compile=False, steps_per_execution=steps_per_dispatch)
    batches = trainee.batches(BatchLoader(split, 5, crop=CROP, seed=1, shuffle=True))
    epochs = Epochs(batches)
    trainee.fit(batches, epochs=2, callbacks=[epochs], verbose=0, shuffle=False)
    return epochs, network.get_weights()


def test_several_steps_in_one_dispatch_are_the_same_steps(split: CachedSplit) -> None:
    """16 images in batches of 5: four steps, the last of one image."""
    one, weights = trained(split, 1)
    several, again = trained(split, 3)
    assert one.steps == [0, 1, 2, 3] * 2
    assert several.steps == [2, 5] * 2
    assert np.array(several.rows) == pytest.approx(np.array(one.rows), rel=1e-5)
    for ours, theirs in zip(again, weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_batches_are_the_loaders_images(split: CachedSplit) -> None:
    loader = BatchLoader(split, 5, seed=1, shuffle=True)
    batches = ResidentBatches(loader, AugmentConfig.none())
    on_device = ResidentSplit(split, AugmentConfig.none(), None)
    for epoch in (0, 1):
        batches.epoch = epoch
        seen = []
        for index in range(batches.num_batches):
            numbers, draws = batches[index]
            images, masks = map(keras.ops.convert_to_numpy, on_device.batch(on_device.store, numbers, draws))
            theirs = loader.batch(epoch, index)
            assert np.array_equal(images, theirs[0])
            assert np.array_equal(masks, theirs[1])
            seen += numbers.tolist()
        assert sorted(seen) == list(range(16))
    assert batches.images == 16


def test_draws_belong_to_the_image_and_the_epoch(split: CachedSplit) -> None:
    """Whatever batch it is in: another batch size gives the same variations."""
    small, large = (
        ResidentBatches(BatchLoader(split, size, seed=1, shuffle=True), AugmentConfig()) for size in (2, 16)
    )
    numbers, draws = large[0]
    for index in range(small.num_batches):
        for number, drawn in zip(*small[index], strict=True):
            assert np.array_equal(drawn, draws[numbers.tolist().index(number)])
    large.epoch = 1
    again = dict(zip(large[0][0].tolist(), large[0][1], strict=True))
    assert not np.array_equal(again[int(numbers[0])], draws[0])


@pytest.mark.parametrize(("memory", "fits"), [(None, False), (4 * 4 * 16 * 16 * 16, True), (65_535, False)])
def test_what_fits(
    memory: int | None, fits: bool, split: CachedSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "accelerator_memory", lambda: memory)
    assert fits_accelerator(split) is fits
    assert is_resident(None, split, ALONE) is fits
    assert is_resident(True, split, ALONE)
    assert not is_resident(False, split, ALONE)


def test_several_devices_load_their_batches(split: CachedSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    class TwoReplicas:
        num_replicas_in_sync = 2

    monkeypatch.setattr(resident, "accelerator_memory", lambda: 2**40)
    assert not is_resident(None, split, Cluster(strategy=TwoReplicas()))
    with pytest.raises(UsageError, match="one device, found 2"):
        is_resident(True, split, Cluster(strategy=TwoReplicas()))
