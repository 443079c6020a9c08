"""What happens between the steps and after each epoch of ``Model.fit``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import override

from edgeseg import __version__
from edgeseg.training.batches import Batches
from edgeseg.training.checkpoint import save_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.examiner import Examiner, Score
from edgeseg.training.guards import check_finite, check_not_collapsed, top_class_share
from edgeseg.training.observer import Observer, Run
from edgeseg.training.optimizer import unscaled
from edgeseg.training.plots import plot_predictions
from edgeseg.training.run_folder import EpochRow, best_row, out_of_patience
from edgeseg.training.schedule import plateau_factor
from edgeseg.training.teacher import teacher_hash

GRID_IMAGES = 4


class StepWatch(keras.callbacks.Callback):
    """Sets the epoch whose batches are read, tells the observer of each step, and stops at a NaN."""

    def __init__(self, batches: Batches, observer: Observer) -> None:
        super().__init__()
        self._batches, self._observer, self._epoch = batches, observer, 0

    @override
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epoch = self._batches.epoch = epoch

    @override
    def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
        logs = logs or {}
        check_finite(logs["loss"], self._epoch + 1)
        # Several steps may be one dispatch, of which an epoch's last may hold fewer.
        self._observer.stepped(self._epoch + 1, min(batch + 1, self._batches.num_batches), logs)


class EpochSeeds(keras.callbacks.Callback):
    """Gives Dropout and its like the random numbers of the epoch, whatever was drawn before.

    A ``.keras`` file does not keep the state of Keras's seed generators: a resumed run would draw others.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    @override
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        states = [v for v in self.model.variables if v.name == "seed_generator_state"]
        for index, state in enumerate(states):
            word = np.random.SeedSequence((self._seed, epoch, index)).generate_state(1)[0] >> 1
            state.assign(ops.convert_to_tensor([int(word), 0], dtype=state.dtype))


class EpochKeeper(keras.callbacks.Callback):
    """Keeps each finished epoch: table, best and last checkpoint, prediction grid.

    The order makes a run resumable wherever it is cut off: ``last.keras`` is written last and says which
    epochs count, so a row or a better checkpoint of an epoch that it does not know is simply made again.

    Args:
        run: The run.
        rows: Epochs finished before, of a resumed run.
        examiner: Scores the weights after each epoch, and holds those that are kept as the best.
        val: The validation split.
        info: What checkpoints say, see :func:`checkpoint_info`.
        observer: Told at the end of each epoch.
    """

    def __init__(
        self,
        run: Run,
        rows: list[EpochRow],
        examiner: Examiner,
        val: BatchLoader,
        info: CheckpointInfo,
        observer: Observer,
    ) -> None:
        super().__init__()
        self._run, self.rows, self._examiner = run, rows, examiner
        self._val, self._batches = val.cached, Batches(val)
        self._info, self._observer = info, observer
        self._began = 0.0
        count = len(self._val)
        self._shown = np.linspace(0, count - 1, min(GRID_IMAGES, count)).round().astype(int)

    @override
    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self._set_plateau()

    @override
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._began = time.monotonic()

    @override
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._examiner.follow(self.model.network, self.model.optimizer)
        score = self._examiner.score(self._batches)
        row = self._row(epoch + 1, logs or {}, score)
        check_finite(row.val_loss, row.epoch)
        self.rows.append(row)
        best = best_row(self.rows).epoch == row.epoch
        self._set_plateau()
        self._keep(row, best)
        self._observer.epoch_ended(row, best)
        check_not_collapsed(self.rows, self._run.steps_per_epoch, score.matrix)
        self.model.stop_training = out_of_patience(self.rows, self._run.recipe.early_stopping)

    def _set_plateau(self) -> None:
        if self._run.recipe.schedule == "plateau":
            unscaled(self.model.optimizer).plateau.assign(plateau_factor([row.val_miou for row in self.rows]))

    def _keep(self, row: EpochRow, best: bool) -> None:
        folder, recipe = self._run.folder, self._run.recipe
        info = self._info.model_copy(update={"epoch": row.epoch, "val_miou": row.val_miou})
        folder.write_rows(self.rows)
        self._draw(row)
        if best:
            height, width = recipe.size
            whole = info.model_copy(update={"height": height, "width": width})
            save_checkpoint(self._examiner.model, folder.best, whole)
        save_checkpoint(self.model.network, folder.last, info)

    def _row(self, epoch: int, logs: Mapping[str, float], score: Score) -> EpochRow:
        return EpochRow(
            epoch=epoch,
            loss=float(logs["loss"]),
            miou=float(logs["miou"]),
            val_loss=score.loss,
            val_miou=score.miou,
            top_class_share=top_class_share(score.matrix),
            learning_rate=unscaled(self.model.optimizer).rate,
            seconds=round(time.monotonic() - self._began, 3),
        )

    def _draw(self, row: EpochRow) -> None:
        images, masks = self._val.images[self._shown], self._val.masks[self._shown]
        plot_predictions(
            self._run.folder.prediction(row.epoch),
            self._run.labels,
            list(images),
            list(masks),
            [self._examiner.predict(image) for image in images],
            title=f"Epoch {row.epoch}: mIoU {100 * row.val_miou:.1f} on {self._run.recipe.val_split}",
        )


def checkpoint_info(run: Run, fingerprint: str, *, resident: bool = False) -> CheckpointInfo:
    """What the run's checkpoints say, before its first epoch; its size is the one that is trained on."""
    recipe = run.recipe
    height, width = recipe.train_size
    values: dict[str, Any] = recipe.model_dump(mode="json")
    return CheckpointInfo(
        model=recipe.model,
        recipe=values,
        recipe_hash=recipe.hash(),
        precision=run.precision,
        resident=resident,
        teacher=teacher_hash(recipe),
        labels=run.labels.to_dict(),
        height=height,
        width=width,
        dataset=recipe.data,
        dataset_fingerprint=fingerprint,
        epoch=0,
        val_miou=None,
        edgeseg_version=__version__,
    )
