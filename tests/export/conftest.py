"""A small trained model, its checkpoint, and bundles of it that are exported once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.export.pipeline import ExportResult, export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.export.targets import TARGETS
from edgeseg.labels import LabelSet
from edgeseg.training.checkpoint import save_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo
from edgeseg.training.data import open_dataset
from edgeseg.training.data.dataset import Dataset

HEIGHT, WIDTH = 64, 96
DATA = f"synthetic:train=24,val=6,size={HEIGHT}x{WIDTH},seed=7"


def _small_model(classes: int) -> keras.Model:
    """All that the project's models hold: dilation, k2 upsampling, skip, BatchNorm both ways round."""
    image = keras.Input((HEIGHT, WIDTH, 3), dtype="uint8", name="image")
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    skip = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(layers.Conv2D(8, 3, padding="same")(x)))
    x = layers.MaxPool2D(2)(skip)
    x = layers.Conv2D(16, 3, padding="same", dilation_rate=2, activation="relu")(x)
    x = layers.BatchNormalization(momentum=0.8)(x)
    x = layers.Conv2DTranspose(8, 2, strides=2)(x)
    x = layers.Concatenate()([x, skip])
    x = layers.ReLU()(layers.Conv2D(8, 3, padding="same")(x))
    return keras.Model(image, layers.Conv2D(classes, 1, name="logits")(x), name="small")


def _save(model: keras.Model, path: Path, labels: LabelSet, recipe: dict[str, str] | None = None) -> Path:
    """A checkpoint as training writes it."""
    info = CheckpointInfo(
        model="small",
        recipe=recipe or {},
        recipe_hash="ab" * 32,
        labels=labels.to_dict(),
        height=HEIGHT,
        width=WIDTH,
        dataset=DATA,
        dataset_fingerprint="cd" * 32,
        epoch=1,
        val_miou=None,
        edgeseg_version="0.1.0",
    )
    save_checkpoint(model, path, info)
    return path


@pytest.fixture(scope="session")
def data_spec() -> str:
    return DATA


@pytest.fixture(scope="session")
def small_model() -> Callable[[int], keras.Model]:
    return _small_model


@pytest.fixture(scope="session")
def save() -> Callable[..., Path]:
    return _save


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return open_dataset(DATA)


@pytest.fixture(scope="session")
def frames(dataset: Dataset) -> np.ndarray:
    """The training images, ``uint8 [24, H, W, 3]``."""
    return np.stack([sample.image for sample in dataset.samples("train")])


@pytest.fixture(scope="session")
def model(dataset: Dataset, frames: np.ndarray) -> keras.Model:
    keras.utils.set_random_seed(3)
    model = _small_model(len(dataset.labels))
    masks = np.stack([sample.mask for sample in dataset.samples("train")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.Adam(1e-2), loss, jit_compile=False)
    model.fit(frames, masks, batch_size=4, epochs=8, verbose=0)
    return model


@pytest.fixture(scope="session")
def expected(model: keras.Model, frames: np.ndarray) -> np.ndarray:
    """Keras's class maps of ``frames``, ``uint8 [24, H, W]``."""
    masks = np.argmax(model.predict(frames, verbose=0), axis=-1).astype(np.uint8)
    assert len(np.unique(masks)) > 2, "the model of these tests has collapsed: they would prove nothing"
    return masks


@pytest.fixture(scope="session")
def checkpoint(model: keras.Model, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _save(model, tmp_path_factory.mktemp("model") / "best.keras", dataset.labels)


@pytest.fixture(scope="session")
def exported(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., ExportResult]:
    """A bundle of the small model for a target, a precision and a format; do not change it, copy it.

    By default the format is the target's usual one: trying all of them takes thrice as long.
    """
    out = tmp_path_factory.mktemp("bundles")

    @cache
    def made(target: str, precision: str, kind: str) -> ExportResult:
        # Its few classes and pixels make a point of mIoU a matter of luck; budgets have their own tests.
        options = ExportOptions(
            target=target,
            format=kind,
            precision=precision,
            max_drop_points=10,
            max_class_drop_points=100,
            out=out,
        )
        return export_model(checkpoint, None, options)

    def export(target: str, precision: str, kind: str | None = None) -> ExportResult:
        return made(target, precision, kind or TARGETS[target].formats[0].name)

    return export
