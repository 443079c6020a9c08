"""Small datasets made of files, for the tests of the data path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

LABELS = "classes: [ground, road, car]\n"

Writer = Callable[..., Path]


def picture(number: int, height: int = 24, width: int = 32) -> np.ndarray:
    """A picture that no other number gives, smooth enough for JPEG."""
    rng = np.random.default_rng(number)
    small = rng.integers(0, 256, (4, 4, 3), np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def class_map(number: int, height: int = 24, width: int = 32, classes: int = 3) -> np.ndarray:
    """A mask with stripes of all classes."""
    return ((np.arange(width) * classes // width + number) % classes * np.ones((height, 1))).astype(np.uint8)


@pytest.fixture
def write_pair() -> Writer:
    """Write ``images/STEM.png`` and ``masks/STEM.png``; what is ``None`` is left out."""

    def write(folder: Path, stem: str, image: np.ndarray | None, mask: np.ndarray | None) -> Path:
        for kind, array in (("images", image), ("masks", mask)):
            path = folder / kind / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            if array is not None:
                cv2.imwrite(str(path), array[..., ::-1] if array.ndim == 3 else array)
        return folder

    return write


@pytest.fixture
def make_folder(tmp_path: Path, write_pair: Writer) -> Writer:
    """A folder dataset with ``count`` good pairs in ``train`` and two in ``val``."""

    def make(count: int = 8, labels: str = LABELS, name: str = "yard") -> Path:
        root = tmp_path / name
        root.mkdir()
        (root / "labels.yaml").write_text(labels)
        for number in range(count + 2):
            split = "train" if number < count else "val"
            write_pair(root / split, f"frame_{number:03d}", picture(number), class_map(number))
        return root

    return make
