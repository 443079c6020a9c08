"""What is exported: a checkpoint, the dataset it is measured on, and where both come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.bundle.manifest import Lineage
from edgeseg.errors import DataError, MissingExtraError, UsageError
from edgeseg.export.converter import quiet
from edgeseg.export.describe import tool_versions
from edgeseg.export.foreign import Foreign, custom_objects, refuse, to_contract
from edgeseg.export.progress import Stage
from edgeseg.export.selection import MeasuredOn, chosen_split
from edgeseg.labels import LabelSet, require_same_classes
from edgeseg.training.checkpoint_info import check_file
from edgeseg.training.data import check_spec, open_dataset
from edgeseg.training.data.dataset import Dataset

if TYPE_CHECKING:
    import keras

    from edgeseg.training.checkpoint_info import CheckpointInfo

_UNKNOWN = "unknown"
_NOTHING_KNOWN = Foreign()


@dataclass(frozen=True)
class Source:
    """A Keras model (float32, for inference) with the dataset of its classes, and the splits to use of it."""

    name: str
    model: keras.Model
    labels: LabelSet
    dataset: Dataset
    lineage: Lineage
    train_split: str
    measured_on: MeasuredOn


def open_source(
    checkpoint: Path, data: str | None, split: str | None, stage: Stage, foreign: Foreign = _NOTHING_KNOWN
) -> Source:
    """Load a ``.keras`` file and open the dataset that it is measured on.

    Args:
        checkpoint: The file.
        data: The dataset; by default the one that the model was trained on.
        split: The split to measure on; by default the one that the run was validated on.
        stage: Told about the loading.
        foreign: What is known of a model that edgeseg did not train, and that takes scaled pixels.

    Raises:
        MissingExtraError: Keras or TensorFlow is not installed.
        UsageError: There is no such file, neither it nor ``data`` names a dataset, or ``foreign`` does not
            fit the model.
        DataError: The file is damaged, or the dataset's classes are not the model's.
    """
    check_file(checkpoint)
    if data:
        check_spec(data)
    with stage("Loading the model") as advance:
        model, info = _load(checkpoint, foreign)
        advance(1, 1)
    dataset = open_dataset(data or _trained_on(checkpoint, info))
    labels = _labels(checkpoint, info, foreign, dataset)
    _check_outputs(checkpoint, model, labels)
    recipe = info.recipe if info else {}
    measured = chosen_split(dataset, split, recipe.get("val_split"), "val")
    return Source(
        name=info.model if info else checkpoint.stem,
        model=model,
        labels=labels,
        dataset=dataset,
        lineage=_lineage(checkpoint, info),
        train_split=chosen_split(dataset, None, recipe.get("train_split"), "train"),
        measured_on=MeasuredOn(dataset.spec, measured, dataset.fingerprint(measured)),
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(checkpoint: Path, foreign: Foreign) -> tuple[keras.Model, CheckpointInfo | None]:
    # Quiet from the import on: TensorFlow prints before any setting of its log level is read.
    with quiet():
        try:
            import keras
            import tensorflow as tf  # noqa: F401
        except ImportError as error:
            raise MissingExtraError.of("exporting", str(error.name), "export") from error
        from edgeseg.training.checkpoint import load_checkpoint

        with keras.saving.custom_object_scope(custom_objects()):
            model, info = load_checkpoint(checkpoint)
            if info is not None:
                # Turned, it would pass every gate that compares it with itself.
                why = f"edgeseg trained {checkpoint}, and its models take red first"
                refuse("--channel-order", foreign.channel_order, why)
            return to_contract(model, foreign, checkpoint), info


def _trained_on(checkpoint: Path, info: CheckpointInfo | None) -> str:
    if info is None or not info.dataset:
        raise UsageError(
            "--data",
            expected="a dataset, for instance camvid:PATH",
            found=f"none, and {checkpoint} does not say what it was trained on",
            next_step="Name the dataset that the model was trained on.",
        )
    return info.dataset


def _labels(checkpoint: Path, info: CheckpointInfo | None, foreign: Foreign, dataset: Dataset) -> LabelSet:
    """The model's classes, which have to be the dataset's; their colours are those of who named them."""
    if info is not None and foreign.labels is not None:
        refuse("--labels", foreign.labels.name, f"{checkpoint} says its own classes")
    named = foreign.labels or (info and info.label_set())
    if named:
        require_same_classes(named, dataset.labels, f"dataset {dataset.spec}")
    return foreign.labels or dataset.labels


def _check_outputs(checkpoint: Path, model: keras.Model, labels: LabelSet) -> None:
    if model.output_shape[-1] != len(labels):
        raise DataError(
            f"classes {labels.name}",
            expected=f"{model.output_shape[-1]} of them, as many as {checkpoint} gives",
            found=str(len(labels)),
            next_step="Name the dataset that the model was trained on, or its classes with --labels FILE.",
        )


def _lineage(checkpoint: Path, info: CheckpointInfo | None) -> Lineage:
    return Lineage(
        model=info.model if info else checkpoint.stem,
        recipe_hash=info.recipe_hash if info else _UNKNOWN,
        dataset=(info and info.dataset) or _UNKNOWN,
        dataset_fingerprint=info.dataset_fingerprint if info else _UNKNOWN,
        keras_file_sha256=file_sha256(checkpoint),
        tools=tool_versions(),
    )
