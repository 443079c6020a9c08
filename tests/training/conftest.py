"""A dataset so small and simple that a tiny model trains on it in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from edgeseg.training.models import unet_mini
from edgeseg.training.models.blocks import image_input
from edgeseg.training.recipe import Recipe, make_recipe

LABELS_YAML = """\
name: bands
classes:
  - {name: ground, color: [90, 90, 90]}
  - {name: sky, color: [70, 130, 180]}
  - {name: box, color: [200, 30, 30]}
"""


@pytest.fixture(scope="session", autouse=True)
def _own_cache_of_wide_fixtures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fixtures of a module run before those of a function; they too must leave the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGESEG_CACHE", str(tmp_path_factory.getbasetemp() / "edgeseg-cache"))
        yield


@pytest.fixture(scope="session")
def bands(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``folder:PATH`` with 16 train and 6 val images of 24×32: sky over ground, and a box; an ignored rim."""
    root = tmp_path_factory.mktemp("bands")
    (root / "labels.yaml").write_text(LABELS_YAML, encoding="utf-8")
    rng = np.random.default_rng(5)
    for split, count in (("train", 16), ("val", 6)):
        for index in range(count):
            _write(root, split, f"{index:02d}", *_scene(rng))
    return f"folder:{root}"


@pytest.fixture
def tiny_recipe(bands: str) -> TinyRecipe:
    """``tiny_recipe(loss="dice", …)``: a recipe that trains in seconds, in float32."""
    return TinyRecipe(bands)


@pytest.fixture(scope="module")
def small_network() -> Iterator[None]:
    """In the place of ``unet_mini``: TensorFlow takes a third of the time to trace a step of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unet_mini, "build", _small_network)
        yield


def _small_network(
    num_classes: int, height: int, width: int, *, channels: int = 16, momentum: float = 0.9
) -> keras.Model:
    image = image_input(height, width, 4)
    x = layers.Conv2D(channels, 3, padding="same")(layers.Rescaling(1 / 255)(image))
    x = layers.ReLU()(layers.BatchNormalization(momentum=momentum)(x))
    return keras.Model(image, layers.Conv2D(num_classes, 1, name="logits")(x))


class TinyRecipe:
    def __init__(self, data: str) -> None:
        self._data = data

    def __call__(self, **changes: Any) -> Recipe:
        values: dict[str, Any] = {
            "data": self._data,
            "size": [16, 16],
            "model_options": {"channels": 4},
            "epochs": 3,
            "batch": 4,
            "learning_rate": 1e-2,
            "precision": "float32",
            "workers": 0,
        }
        return make_recipe({**values, **changes})


def _scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    mask = np.zeros((24, 32), np.uint8)
    mask[: rng.integers(6, 14)] = 1
    top, left = rng.integers(8, 14), rng.integers(2, 20)
    mask[top : top + 8, left : left + 10] = 2
    image = np.array([(90, 90, 90), (70, 130, 180), (200, 30, 30)], np.uint8)[mask]
    noisy = np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    mask[-2:] = 255
    return noisy, mask


def _write(root: Path, split: str, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for kind, picture in (("images", image[..., ::-1]), ("masks", mask)):
        folder = root / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{name}.png"), picture)
