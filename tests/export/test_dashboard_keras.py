"""A ``.keras`` file as a model of the dashboard."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from edgeseg.cli.dashboard_parts import open_keras
from edgeseg.errors import DataError, UsageError
from edgeseg.training.data import Dataset


def test_it_gives_masks_of_the_images_size_with_confidence(
    checkpoint: Path, dataset: Dataset, frames: np.ndarray, expected: np.ndarray
) -> None:
    model = open_keras(checkpoint)
    assert model.labels.names == dataset.labels.names
    assert model.kind == "keras"
    for frame, mask in zip(frames[:2], expected[:2], strict=True):
        found = model.predict(frame)
        assert np.array_equal(found.mask, mask)
        assert found.confidence is not None
        assert found.confidence.min() >= 255 // len(dataset.labels)
    twice = model.predict(frames[0].repeat(2, axis=0).repeat(2, axis=1))
    assert twice.mask.shape == (2 * frames.shape[1], 2 * frames.shape[2])


def test_what_says_nothing_of_its_classes_is_refused(
    small_model: Callable[[int], keras.Model], tmp_path: Path
) -> None:
    small_model(3).save(tmp_path / "theirs.keras")
    with pytest.raises(DataError, match="a checkpoint that edgeseg train wrote"):
        open_keras(tmp_path / "theirs.keras")
    with pytest.raises(UsageError, match="nothing there"):
        open_keras(tmp_path / "gone.keras")
