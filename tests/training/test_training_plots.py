"""The pictures of a run: they are drawn from any input that a run can give, whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.errors import MissingExtraError
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.training.plots import plot_confusion, plot_curves, plot_labels, plot_predictions
from edgeseg.training.run_folder import EpochRow

LABELS = LabelSet(
    "three",
    (LabelClass(0, "a", (200, 0, 0)), LabelClass(1, "b", (0, 200, 0)), LabelClass(2, "c", (0, 0, 200))),
)
IMAGE = np.full((24, 32, 3), 127, np.uint8)
MASK = np.tile(np.array([0, 1, 2, 255], np.uint8), (24, 8))


def rows(count: int) -> list[EpochRow]:
    return [EpochRow(i, 2 / i, i / 20, 2.2 / i, i / 25, 0.5, 1e-3 / i, 3.0) for i in range(1, count + 1)]


def picture(path: Path) -> np.ndarray:
    found = cv2.imread(str(path))
    assert found is not None
    assert [p.name for p in path.parent.iterdir()] == [path.name], "no staging file is left"
    return found[..., ::-1]


@pytest.mark.parametrize("count", [1, 2, 40])
def test_curves(count: int, tmp_path: Path) -> None:
    plot_curves(tmp_path / "curves.png", rows(count))
    assert picture(tmp_path / "curves.png").std() > 5


@pytest.mark.parametrize("classes", [2, 19])
def test_confusion_of_few_and_many_classes(classes: int, tmp_path: Path) -> None:
    labels = LabelSet("n", tuple(LabelClass(i, f"class {i}", (i, i, i)) for i in range(classes)))
    matrix = np.eye(classes, dtype=np.int64) * 50
    matrix[0] = 0  # a class that is not in the truth
    plot_confusion(tmp_path / "confusion.png", matrix, labels, "title")
    assert picture(tmp_path / "confusion.png").std() > 5


@pytest.mark.parametrize("count", [1, 4])
def test_predictions_show_each_class_in_its_colour(count: int, tmp_path: Path) -> None:
    path = tmp_path / "grid.png"
    wrong = np.zeros_like(MASK)
    plot_predictions(
        path, LABELS, [IMAGE] * count, [MASK] * count, [wrong] * count, "title", ["note"] * count
    )
    shown = picture(path)
    left, right = shown[:, : shown.shape[1] // 2], shown[:, 3 * shown.shape[1] // 4 :]
    for c in LABELS.classes:
        assert np.all(shown == c.color, axis=-1).any()
    assert np.all(right[: len(right) // 2] == LABELS.classes[0].color, axis=-1).sum() > 500
    assert np.all(left == 127, axis=-1).any()


def test_labels(tmp_path: Path) -> None:
    histograms = {"train": np.array([10, 20, 0]), "val": np.array([0, 0, 0])}
    plot_labels(tmp_path / "labels.png", LABELS, histograms, IMAGE, MASK)
    assert picture(tmp_path / "labels.png").std() > 5


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeseg\[benchmark\]'"):
        plot_curves(tmp_path / "curves.png", rows(2))
    assert not list(tmp_path.iterdir())
