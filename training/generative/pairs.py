"""What a trained game makes, written as a dataset in the form of ``folder:``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import yaml

from edgeseg.atomic import atomic_folder
from edgeseg.errors import OutputError
from edgeseg.labels import LabelSet
from edgeseg.training.callbacks import EpochSeeds
from edgeseg.training.data.cache import CachedSplit
from edgeseg.training.data.labels_file import LABELS_FILE
from edgeseg.training.data.parallel import Advance
from edgeseg.training.generative.game import Game, Noise, Pixels
from edgeseg.training.generative.masks import new_masks
from edgeseg.training.generative.settings import Settings

VAL_SHARE = 5
"""As many times fewer pairs are made for validation, so that the folder can be trained on alone."""

_SPLITS = ("train", "val")


def draw_noise(game: Game, count: int, *seed: int) -> Noise:
    """Random vectors ``float32 [count, noise]`` of a seed; of one number where noise does not matter."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, max(game.noise, 1)), np.float32)


def write_pairs(
    game: Game, learnt: CachedSplit, settings: Settings, out: Path, on_progress: Advance | None = None
) -> Pixels:
    """Make pairs and write them to ``SPLIT/images``, ``SPLIT/masks`` and ``labels.yaml``, all or nothing.

    Args:
        game: Trained.
        learnt: The split that it was trained on: its masks are recomposed where pairs are made of masks.
        settings: How many, how many at once, and the seed.
        out: Folder; an earlier one is replaced.
        on_progress: Called with (finished, total).

    Returns:
        The images of the training split, ``uint8 [count, H, W, 3]``.

    Raises:
        OutputError: It cannot be written.
    """
    counts = (settings.count, max(1, settings.count // VAL_SHARE))
    kept, finished = [], 0
    with atomic_folder(out) as folder:
        (folder / LABELS_FILE).write_text(labels_text(learnt.labels), encoding="utf-8")
        for number, (split, count) in enumerate(zip(_SPLITS, counts, strict=True)):
            for images, masks in _made(game, learnt, settings, number, count):
                _write(folder / split, finished, images, masks)
                finished += len(images)
                if number == 0:
                    kept.append(images)
                if on_progress:
                    on_progress(finished, sum(counts))
    return np.concatenate(kept)


def labels_text(labels: LabelSet) -> str:
    """A ``labels.yaml`` for masks that hold class ids already."""
    classes = [{"name": c.name, "color": list(c.color), "raw": [c.id]} for c in labels.classes]
    values = {"name": labels.name, "classes": classes, "ignore": [labels.ignore_index]}
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _made(
    game: Game, learnt: CachedSplit, settings: Settings, number: int, count: int
) -> Iterator[tuple[Pixels, Pixels]]:
    """Pairs of a split in batches, of its own masks and noise."""
    seed = (settings.seed, game.epochs, number)
    masks = new_masks(np.asarray(learnt.masks), count, np.random.default_rng(seed))
    noise = draw_noise(game, count, *seed)
    dropout = EpochSeeds(settings.seed)
    dropout.set_model(game)
    # Epochs of training have the numbers from 0 on.
    dropout.on_epoch_begin(game.epochs + number)
    for first in range(0, count, settings.batch):
        part = slice(first, first + settings.batch)
        yield game.make(noise[part], masks[part])


def _write(folder: Path, first: int, images: Pixels, masks: Pixels) -> None:
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number, (image, mask) in enumerate(zip(images, masks, strict=True), first):
        bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        for name, picture in (("images", bgr), ("masks", mask)):
            file = folder / name / f"{number:06d}.png"
            if not cv2.imwrite(str(file), picture):
                raise OutputError(
                    file,
                    expected="a place that can be written",
                    found="a file that could not be",
                    next_step="Check the free space and the permissions.",
                )
