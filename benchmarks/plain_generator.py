"""The data path that most notebooks start with: what edgeseg's own is measured against.

For every image of every batch of every epoch it decodes both PNG files, resizes them, maps the raw ids and
makes a one-hot tensor. It does so as fast as one process can with OpenCV and NumPy: a lookup table for the
ids and one gather for the one-hot, where the notebooks loop over classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeseg.errors import DataError
from edgeseg.labels import LabelSet

Pair = tuple[Path, Path]
Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def plain_generator(
    pairs: Sequence[Pair], labels: LabelSet, height: int, width: int, batch_size: int, seed: int = 0
) -> Callable[[int], Iterator[Batch]]:
    """A function from an epoch's number to its batches.

    A batch is the images ``float32 [B, height, width, 3]`` from 0 to 1 and the masks as one-hot
    ``float32 [B, height, width, C]``; an ignored pixel is all zeros.

    Args:
        pairs: Image and raw id mask of each sample, as PNG files.
    """
    ids, one_hot = _tables(labels)

    def epoch(number: int) -> Iterator[Batch]:
        order = np.random.default_rng((seed, number)).permutation(len(pairs))
        for start in range(0, len(pairs), batch_size):
            chosen = [pairs[i] for i in order[start : start + batch_size]]
            images = [_image(image, height, width) for image, _ in chosen]
            masks = [one_hot[ids[_mask(mask, height, width)]] for _, mask in chosen]
            yield np.stack(images), np.stack(masks)

    return epoch


def _tables(labels: LabelSet) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Raw id to row, and row to one-hot; the last row, all zeros, is that of ignored pixels."""
    classes = len(labels)
    ids = np.full(256, classes, np.uint8)
    for raw, class_id in (labels.raw_ids or {i: i for i in range(classes)}).items():
        # A raw −1 stands in an 8-bit file as 255.
        ids[raw % 256] = min(class_id, classes)
    return ids, np.vstack([np.eye(classes), np.zeros(classes)]).astype(np.float32)


def _image(path: Path, height: int, width: int) -> npt.NDArray[np.float32]:
    bgr = _read(path, cv2.IMREAD_COLOR)
    rgb = cv2.cvtColor(cv2.resize(bgr, (width, height)), cv2.COLOR_BGR2RGB)
    return rgb.astype(np.float32) / np.float32(255)


def _mask(path: Path, height: int, width: int) -> npt.NDArray[np.uint8]:
    raw = _read(path, cv2.IMREAD_UNCHANGED)
    return np.asarray(cv2.resize(raw, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _read(path: Path, flags: int) -> npt.NDArray[np.uint8]:
    pixels = cv2.imread(str(path), flags)
    if pixels is None:
        raise DataError(
            path, expected="an image", found="a file that does not decode", next_step="Write it again."
        )
    return np.asarray(pixels, np.uint8)
