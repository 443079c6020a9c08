"""A training run from its recipe to its run folder, and the continuation of one that was cut off."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from edgeseg.atomic import clear_leftovers
from edgeseg.errors import DataError
from edgeseg.training.callbacks import EpochKeeper, EpochSeeds, StepWatch, checkpoint_info
from edgeseg.training.checkpoint import load_trainable, restore, save_checkpoint
from edgeseg.training.checkpoint_info import CheckpointInfo, read_info
from edgeseg.training.compilation import check_accumulate, check_loss, make_trainee, steps_per_epoch
from edgeseg.training.data import CachedSplit, Dataset, open_dataset, prepare
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.distributed import ALONE, Cluster
from edgeseg.training.examiner import Examiner
from edgeseg.training.models import inference_model
from edgeseg.training.network import check_sizes, choose_precision, new_network
from edgeseg.training.observer import Observer, Observers, Run, Status, Stopped
from edgeseg.training.optimizer import ENCODER
from edgeseg.training.plots import plot_labels
from edgeseg.training.precision import default_workers, dtype_policy
from edgeseg.training.recipe import Recipe, make_recipe, read_recipe
from edgeseg.training.resident import is_resident, resident_trainee
from edgeseg.training.run_folder import EpochRow, RunFolder, check_new_folder, out_of_patience
from edgeseg.training.summary import summarise
from edgeseg.training.teacher import Teacher, open_teacher, teacher_hash
from edgeseg.training.trainee import Trainee
from edgeseg.training.training_split import training_split


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its folder, its recipe, its epochs, and what ``summary.json`` holds."""

    folder: RunFolder
    recipe: Recipe
    rows: tuple[EpochRow, ...]
    summary: dict[str, Any]


def train(
    recipe: Recipe, out: Path, observers: Sequence[Observer] = (), cluster: Cluster = ALONE
) -> TrainResult:
    """Train from the start.

    Args:
        recipe: All settings.
        out: Run folder to make; where it is taken, the next free ``out-2``, ``out-3``, … is made.
        observers: Told how it goes.

    Returns:
        The finished run. ``weights/best.keras`` is the epoch of the highest val mIoU at model resolution; the
        summary's headline is that checkpoint's mIoU at label resolution.

    Raises:
        UsageError: The recipe does not fit the model or the data.
        OutputError: ``out`` cannot be made.
        DataError: The dataset cannot be read, or a split has no labelled pixel.
        TrainingError: The run collapsed to one class or its loss is not finite. The run folder stays.
        KeyboardInterrupt, Stopped: It was interrupted, or stopped by an observer; :func:`resume` goes on.
    """
    observer = Observers(observers)
    # What can be wrong without looking at an image is found before all of them are decoded.
    check_new_folder(out)
    check_accumulate(recipe, cluster)
    dataset = open_dataset(recipe.data)
    check_loss(recipe, dataset.labels)
    check_sizes(recipe, dataset.labels)
    precision = choose_precision(recipe, dataset.labels)
    cluster.check_alike(_settings(recipe, precision))
    with dtype_policy(precision):
        keras.utils.set_random_seed(recipe.seed)
        with cluster.scope():
            network, teacher = new_network(recipe, dataset.labels), open_teacher(recipe, dataset.labels)
        data = _decoded(recipe, dataset, observer)
        trainee, resident = _trainee(network, teacher, recipe, recipe.resident, data, cluster)
        run = _run(RunFolder.create(out), recipe, data, network, precision)
        info = checkpoint_info(run, data.fingerprint, resident=resident)
        _write_start(run, data)
        # From here on a run can be resumed, even one that is cut off in its first epoch.
        save_checkpoint(network, run.folder.last, info)
        return _fit(run, data, trainee, info, [], observer, cluster)


def resume(path: Path, observers: Sequence[Observer] = (), cluster: Cluster = ALONE) -> TrainResult:
    """Continue a run in its folder, as if it had never stopped.

    Its recipe, weights, optimiser state and order of samples are those of the uninterrupted run. A run whose
    epochs are all done is only evaluated and summarised again.

    Raises:
        UsageError: ``path`` is no run folder.
        DataError: The dataset is not what it was, or a file of the run is damaged.
        TrainingError, KeyboardInterrupt, Stopped: As :func:`train`.
    """
    folder = RunFolder.existing(path)
    recipe = make_recipe(read_recipe(folder.recipe))
    check_accumulate(recipe, cluster)
    observer = Observers(observers)
    for checkpoint in (folder.last, folder.best):
        clear_leftovers(checkpoint)
    info = _resumable_info(folder, recipe)
    rows = folder.read_finished(info.epoch)
    data = _decoded(recipe, open_dataset(recipe.data), observer)
    _check_same_data(folder, info, data)
    # What "auto" was when the run began holds, whatever this machine would choose.
    precision = info.precision or choose_precision(recipe, data.dataset.labels)
    cluster.check_alike(_settings(recipe, precision))
    with dtype_policy(precision):
        keras.utils.set_random_seed(recipe.seed)
        # From the file, and not built anew: the weights that an encoder began with need not be there again.
        with cluster.scope():
            network, teacher = load_trainable(folder.last), open_teacher(recipe, data.dataset.labels)
        _check_same_teacher(recipe, info)
        trainee, _ = _trainee(network, teacher, recipe, info.resident, data, cluster)
        with cluster.scope():
            restore(network, folder.last)
        run = replace(_run(folder, recipe, data, network, precision), first_epoch=info.epoch)
        return _fit(run, data, trainee, info, rows, observer, cluster)


@dataclass(frozen=True)
class _Data:
    dataset: Dataset
    train: CachedSplit
    val: CachedSplit

    @property
    def fingerprint(self) -> str:
        """One for both splits: a checkpoint was chosen by the one as it was trained on the other."""
        return hashlib.sha256(f"{self.train.fingerprint} {self.val.fingerprint}".encode()).hexdigest()


def _decoded(recipe: Recipe, dataset: Dataset, observer: Observer) -> _Data:
    train = training_split(recipe, dataset, observer.preparing)
    name = recipe.val_split
    val = prepare(dataset, name, recipe.height, recipe.width, on_progress=partial(observer.preparing, name))
    for name, split in ((recipe.train_split, train), (recipe.val_split, val)):
        _check_labelled(name, split, recipe)
    return _Data(dataset, train, val)


def _check_labelled(name: str, split: CachedSplit, recipe: Recipe) -> None:
    if not split.histogram.any():
        raise DataError(
            f"split {name!r} of {recipe.data}",
            expected="masks with at least one labelled pixel",
            found="only ignored pixels",
            next_step="Run 'edgeseg data check' and correct the label mapping.",
        )


def _trainee(
    network: keras.Model,
    teacher: Teacher | None,
    recipe: Recipe,
    resident: bool | None,
    data: _Data,
    cluster: Cluster,
) -> tuple[Trainee, bool]:
    """What trains the network, and whether the images live on the device; ``None`` leaves that to it."""
    on_device = is_resident(resident, data.train, cluster)
    make = resident_trainee(data.train, recipe) if on_device else None
    return make_trainee(network, recipe, data.train, teacher, cluster, make), on_device


def _loader(
    recipe: Recipe, split: CachedSplit, *, training: bool, part: tuple[int, int, int] = (0, 1, 1)
) -> BatchLoader:
    workers = default_workers() if recipe.workers is None else recipe.workers
    return BatchLoader(
        split,
        recipe.batch,
        augment=recipe.augment if training else None,
        seed=recipe.seed,
        crop=recipe.crop if training else None,
        shuffle=training,
        workers=workers if training else 0,
        part=part,
    )


def _run(folder: RunFolder, recipe: Recipe, data: _Data, model: keras.Model, precision: str) -> Run:
    return Run(
        folder=folder,
        recipe=recipe,
        labels=data.dataset.labels,
        precision=precision,
        parameters=inference_model(model).count_params(),
        steps_per_epoch=steps_per_epoch(recipe, data.train),
        first_epoch=0,
        without_effect=_without_effect(recipe, model),
    )


def _without_effect(recipe: Recipe, network: keras.Model) -> tuple[str, ...]:
    """No reason to refuse: a comparison of models gives all of them one recipe."""
    idle = []
    if all(layer.name != ENCODER for layer in network.layers):
        idle += ["encoder_rate", "encoder_frozen_epochs"]
    if recipe.teacher is None:
        idle += ["distill_distance", "distill_weight", "distill_temperature"]
    return tuple(name for name in idle if getattr(recipe, name) != Recipe.model_fields[name].default)


def _write_start(run: Run, data: _Data) -> None:
    run.recipe.write(run.folder.recipe)
    # A sample that shows many classes says more than the first one.
    index = max(range(min(len(data.train), 32)), key=lambda i: len(np.unique(data.train.masks[i])))
    histograms = {run.recipe.train_split: data.train.histogram, run.recipe.val_split: data.val.histogram}
    plot_labels(run.folder.labels, run.labels, histograms, data.train.images[index], data.train.masks[index])


def _fit(
    run: Run,
    data: _Data,
    trainee: Trainee,
    info: CheckpointInfo,
    rows: list[EpochRow],
    observer: Observer,
    cluster: Cluster,
) -> TrainResult:
    status: Status = "failed"
    summary: dict[str, Any] = {}
    try:
        cluster.check_alike(_beginning(data, trainee))
        observer.started(run)
        if not out_of_patience(rows, run.recipe.early_stopping):
            _fit_epochs(run, data, trainee, info, rows, observer, cluster)
        summary = summarise(run, data.dataset, rows, observer.evaluating)
        status = "finished"
        return TrainResult(run.folder, run.recipe, tuple(rows), summary)
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except Stopped:
        status = "stopped"
        raise
    finally:
        observer.ended(status, summary)


def _fit_epochs(
    run: Run,
    data: _Data,
    trainee: Trainee,
    info: CheckpointInfo,
    rows: list[EpochRow],
    observer: Observer,
    cluster: Cluster,
) -> None:
    """The epochs that are left; each is added to ``rows``."""
    recipe = run.recipe
    examiner = Examiner(recipe, data.train, trainee.objective, cluster)
    with (
        _loader(recipe, data.train, training=True, part=cluster.part) as train_loader,
        _loader(recipe, data.val, training=False) as val_loader,
    ):
        batches = trainee.batches(train_loader)
        keeper = EpochKeeper(run, rows, examiner, val_loader, info, observer)
        trainee.fit(
            cluster.batches(batches),
            initial_epoch=run.first_epoch,
            epochs=recipe.epochs,
            callbacks=[EpochSeeds(recipe.seed), StepWatch(batches, observer), keeper],
            verbose=0,
            # The loader shuffles, by seed and epoch; Keras would shuffle its batches again, by chance.
            shuffle=False,
        )


def _settings(recipe: Recipe, precision: str) -> dict[str, str]:
    """What all processes have to have in common before the variables, each of which they make together."""
    there = recipe.teacher is not None and Path(recipe.teacher).is_file()
    return {
        "recipe": recipe.settings_hash(),
        "precision": hashlib.sha256(precision.encode()).hexdigest(),
        "teacher": (teacher_hash(recipe) if there else None) or "0" * 64,
    }


def _beginning(data: _Data, trainee: Trainee) -> dict[str, str]:
    """And what before they train."""
    weights = hashlib.sha256()
    for array in trainee.network.get_weights():
        weights.update(array.tobytes())
    return {"images and labels": data.fingerprint, "weights to begin with": weights.hexdigest()}


def _resumable_info(folder: RunFolder, recipe: Recipe) -> CheckpointInfo:
    info = read_info(folder.last)
    if info is None or info.recipe_hash != recipe.hash():
        raise DataError(
            folder.last,
            expected=f"the checkpoint of {folder.recipe}",
            found="another recipe's checkpoint" if info else "a file without edgeseg's information",
            next_step="Restore recipe.yaml as it was, or start a new run with: edgeseg train --recipe FILE",
        )
    return info


def _check_same_teacher(recipe: Recipe, info: CheckpointInfo) -> None:
    if teacher_hash(recipe) != info.teacher:
        raise DataError(
            f"teacher {recipe.teacher}",
            expected="the file that the run began with",
            found="another",
            next_step="Put it back there, or start a new run.",
        )


def _check_same_data(folder: RunFolder, info: CheckpointInfo, data: _Data) -> None:
    if data.fingerprint != info.dataset_fingerprint:
        raise DataError(
            data.dataset.spec,
            expected="the images and labels that the run began with",
            found="others",
            next_step=f"Restore them, or start a new run with: edgeseg train --recipe {folder.recipe}",
        )
