"""What a checkpoint says of itself, read without Keras: a wrong file is refused before its slow import."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edgeseg.errors import DataError, UsageError
from edgeseg.labels import LabelSet

INFO_MEMBER = "edgeseg.json"


class CheckpointInfo(BaseModel):
    """What an exporter or a resumed run needs to know beside the weights.

    ``epoch`` counts finished epochs, 0 before the first. ``val_miou`` is that epoch's, at model resolution,
    0 to 1, ``None`` before the first. ``recipe`` holds the fields of :class:`edgeseg.training.recipe.Recipe`;
    ``precision`` is what its ``auto`` came to on the machine that trained, ``None`` where that was not kept;
    ``resident`` likewise. ``teacher`` is the SHA-256, hexadecimal, of the recipe's, ``None`` without one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    recipe: dict[str, Any]
    recipe_hash: str
    precision: str | None = None
    resident: bool | None = None
    teacher: str | None = None
    labels: dict[str, Any]
    height: int
    width: int
    dataset: str
    dataset_fingerprint: str
    epoch: int
    val_miou: float | None
    edgeseg_version: str

    def label_set(self) -> LabelSet:
        return LabelSet.from_dict(self.labels)


def read_info(path: Path) -> CheckpointInfo | None:
    """The info of a checkpoint without loading its model.

    Raises:
        UsageError: There is no such file, or it is no ``.keras`` file.
        DataError: It is damaged.
    """
    check_file(path)
    try:
        return CheckpointInfo.model_validate_json(read_member(path, INFO_MEMBER))
    except KeyError:
        return None
    except (OSError, ValidationError, zipfile.BadZipFile) as error:
        raise damaged(path, str(error)) from error


def own_info(path: Path, *, otherwise: str) -> CheckpointInfo:
    """The info of a checkpoint that has to say what its classes are.

    Args:
        path: A ``.keras`` file.
        otherwise: What to do, for the message, where edgeseg did not write it.

    Raises:
        UsageError, DataError: As :func:`read_info`, and where edgeseg did not write it.
    """
    info = read_info(path)
    if info is None:
        raise DataError(
            path,
            expected="a checkpoint that edgeseg train wrote, which says what its classes are",
            found="a .keras file of another origin",
            next_step=otherwise,
        )
    return info


def read_member(path: Path, name: str) -> bytes:
    """A member of the archive; ``KeyError`` where it has none of that name."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(name)


def check_file(path: Path) -> None:
    """
    Raises:
        UsageError: There is no such file, or it is no ``.keras`` file.
    """
    if path.is_file() and path.suffix == ".keras":
        return
    raise UsageError(
        path,
        expected="a .keras file",
        found="another file" if path.is_file() else "a folder" if path.is_dir() else "nothing there",
        next_step="Name a checkpoint, for instance RUN/weights/best.keras.",
    )


def damaged(path: Path, found: str) -> DataError:
    """The error of a ``.keras`` file that cannot be read, for its reader to raise."""
    return DataError(
        path,
        expected="a whole .keras file that edgeseg's Keras can load",
        found=" ".join(found.split())[:300],
        next_step="Train again, or name another checkpoint of the run.",
    )
