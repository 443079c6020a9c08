"""A run of ``generate``: a game is trained on a split and makes new pairs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from edgeseg import __version__
from edgeseg.atomic import check_writable, write_text
from edgeseg.errors import TrainingError
from edgeseg.lock import alone
from edgeseg.training.callbacks import EpochSeeds
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.data.parallel import Advance
from edgeseg.training.generative import build_game
from edgeseg.training.generative.distance import image_distance
from edgeseg.training.generative.folder import GameRow, GenerateFolder
from edgeseg.training.generative.game import Game
from edgeseg.training.generative.grid import plot_grid
from edgeseg.training.generative.pairs import draw_noise, write_pairs
from edgeseg.training.generative.settings import Settings


@dataclass(frozen=True)
class Watch:
    """Told how it goes: each call with (finished, total), and each epoch's row."""

    decoding: Advance
    training: Advance
    writing: Advance
    epoch: Callable[[GameRow], None]


def generate(settings: Settings, folder: GenerateFolder, watch: Watch) -> dict[str, Any]:
    """Train from wherever the folder's run is, write the pairs, and give what ``summary.json`` holds.

    An interrupted run continues after its last finished epoch, as if it had never stopped. One whose epochs
    are all done only makes its pairs again.

    Args:
        settings: All settings.
        folder: Where it goes.
        watch: Told how it goes.

    Raises:
        UsageError: The folder holds something else, or another process works on it; or the batch is larger
            than the split.
        DataError: The dataset or a file of the run cannot be read.
        TrainingError: A loss is not finite. The folder stays.
        OutputError: Something cannot be written.
    """
    folder.check(settings)
    check_writable(folder.path)
    dataset = open_dataset(settings.data)
    learnt = prepare(dataset, settings.split, *settings.size, on_progress=watch.decoding)
    settings = settings.model_copy(update={"fingerprint": learnt.fingerprint})
    folder.check(settings)
    if not folder.settings.is_file():
        settings.write(folder.settings)  # which makes the folder ours
    with alone(folder.path, "a run"):
        return _generate(settings, folder, learnt, watch)


def _generate(
    settings: Settings, folder: GenerateFolder, learnt: CachedSplit, watch: Watch
) -> dict[str, Any]:
    keras.utils.set_random_seed(settings.seed)
    game = build_game(settings.gan, len(learnt.labels), *settings.size, settings.channels)
    folder.restore(game)
    rows = folder.read_rows(game.epochs)
    settings.write(folder.settings)
    _train(game, learnt, settings, folder, rows, watch)
    made = write_pairs(game, learnt, settings, folder.pairs, watch.writing)
    summary = {
        **settings.model_dump(mode="json", exclude={"epochs"}),
        "epochs": game.epochs,
        "learnt_from": len(learnt),
        "seconds": round(sum(row.seconds for row in rows), 1),
        "distance": image_distance(made, learnt.images),
        "edgeseg_version": __version__,
    }
    write_text(folder.summary, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return summary


def _train(
    game: Game,
    learnt: CachedSplit,
    settings: Settings,
    folder: GenerateFolder,
    rows: list[GameRow],
    watch: Watch,
) -> None:
    """The epochs that are left; each is added to ``rows``. What counts them is written last."""
    mirrored = AugmentConfig.none().model_copy(update={"horizontal_flip": 0.5})
    dropout = EpochSeeds(settings.seed)
    dropout.set_model(game)
    # A batch is of one size: what the networks keep of a smaller last one would weigh too much.
    with BatchLoader(
        learnt, settings.batch, augment=mirrored, seed=settings.seed, shuffle=True, drop_remainder=True
    ) as loader:
        for epoch in range(game.epochs, settings.epochs):
            began = time.monotonic()
            dropout.on_epoch_begin(epoch)
            losses = _epoch(game, loader, settings, epoch, watch)
            _check_finite(losses, epoch + 1, folder)
            rows.append(GameRow(epoch + 1, losses[1], losses[0], round(time.monotonic() - began, 3)))
            folder.write_rows(rows)
            title = f"{settings.gan}, epoch {epoch + 1}"
            plot_grid(folder.grid(epoch + 1), game, learnt, settings.seed, title)
            game.finished.assign(np.int32(epoch + 1))
            folder.save(game)
            watch.epoch(rows[-1])


def _epoch(
    game: Game, loader: BatchLoader, settings: Settings, epoch: int, watch: Watch
) -> tuple[float, float]:
    game.begin_epoch()
    losses = (0.0, 0.0)
    for index in range(loader.steps_per_epoch):
        images, masks = loader.batch(epoch, index)
        noise = draw_noise(game, len(images), settings.seed, epoch, index)
        losses = game.step(noise, images, masks)
        finished = epoch * loader.steps_per_epoch + index + 1
        watch.training(finished, settings.epochs * loader.steps_per_epoch)
    return losses


def _check_finite(losses: tuple[float, float], epoch: int, folder: GenerateFolder) -> None:
    if not all(map(math.isfinite, losses)):
        raise TrainingError(
            f"losses of epoch {epoch}",
            expected="finite numbers",
            found=f"discriminator {losses[0]}, generator {losses[1]}",
            next_step=f"Begin anew with another --seed or a larger --batch; {folder.weights} is of the epoch "
            "before.",
        )
