"""The run folder: what a training run leaves, and what a resumed one starts from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.errors import OutputError, UsageError
from edgeseg.training.epoch_table import read_finished, read_table, write_table


@dataclass(frozen=True)
class EpochRow:
    """One line of ``metrics.csv``. ``epoch`` counts from 1; mIoU values are at model resolution, 0 to 1.

    ``top_class_share`` is the share of validation pixels given to the class that was predicted most, and
    ``learning_rate`` that of the step after the epoch.
    """

    epoch: int
    loss: float
    miou: float
    val_loss: float
    val_miou: float
    top_class_share: float
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder, ``runs/train/NAME[-N]/``."""

    path: Path

    @classmethod
    def create(cls, wanted: Path) -> RunFolder:
        """A new folder at ``wanted``, or at ``wanted-2``, ``wanted-3``, … where that is taken.

        Raises:
            OutputError: It cannot be made.
        """
        return cls(new_folder(wanted))

    @classmethod
    def existing(cls, path: Path) -> RunFolder:
        """The folder of a run to resume.

        Raises:
            UsageError: It is none.
        """
        folder = cls(path)
        if not (folder.recipe.is_file() and folder.last.is_file()):
            raise UsageError(
                f"--resume {path}",
                expected=f"a run folder with {folder.recipe.name} and weights/{folder.last.name}",
                found="a folder without them" if path.is_dir() else "no folder",
                next_step="Name the folder that the interrupted run printed.",
            )
        return folder

    @property
    def recipe(self) -> Path:
        return self.path / "recipe.yaml"

    @property
    def best(self) -> Path:
        return self.path / "weights" / "best.keras"

    @property
    def last(self) -> Path:
        return self.path / "weights" / "last.keras"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def labels(self) -> Path:
        return self.path / "labels.png"

    @property
    def confusion(self) -> Path:
        return self.path / "confusion.png"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    def prediction(self, epoch: int) -> Path:
        return self.path / "predictions" / f"epoch-{epoch:03d}.png"

    def read_rows(self) -> list[EpochRow]:
        """The finished epochs; none where ``metrics.csv`` does not exist.

        Raises:
            DataError: The file is damaged.
        """
        return read_table(self.metrics, EpochRow)

    def read_finished(self, epochs: int) -> list[EpochRow]:
        """The rows of the epochs that ``last.keras`` counts.

        Raises:
            DataError: The file is damaged, or lacks one.
        """
        return read_finished(self.metrics, EpochRow, epochs, self.last)

    def write_rows(self, rows: Sequence[EpochRow]) -> None:
        """Write ``metrics.csv`` whole, atomically."""
        write_table(self.metrics, rows, EpochRow)


def best_row(rows: Sequence[EpochRow]) -> EpochRow:
    """The first epoch with the highest val mIoU."""
    return max(rows, key=lambda row: row.val_miou)


def out_of_patience(rows: Sequence[EpochRow], patience: int) -> bool:
    """Whether so many epochs since the best one were no better; never with a patience of 0."""
    return bool(patience and rows) and rows[-1].epoch - best_row(rows).epoch >= patience


def check_new_folder(wanted: Path) -> None:
    """Say before slow work what would keep :func:`new_folder` from making the folder after it.

    Raises:
        OutputError: The nearest folder above that exists is none, or cannot be written to.
    """
    above = next(path for path in wanted.absolute().parents if path.exists())
    if not above.is_dir():
        raise _no_folder(wanted, f"{above}, which is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise _no_folder(wanted, f"{above}, which cannot be written to")


def new_folder(wanted: Path) -> Path:
    """A folder that did not exist before: ``wanted``, or the first free of ``wanted-2``, ``wanted-3``, …

    Raises:
        OutputError: It cannot be made.
    """
    number, path = 1, wanted
    try:
        wanted.parent.mkdir(parents=True, exist_ok=True)
        while not _made(path):
            number += 1
            path = wanted.with_name(f"{wanted.name}-{number}")
    except OSError as error:
        raise _no_folder(wanted, str(error)) from error
    return path


def _no_folder(wanted: Path, found: str) -> OutputError:
    return OutputError(
        f"--out {wanted}",
        expected="a place where a folder can be made",
        found=found,
        next_step="Name another folder with --out.",
    )


def _made(path: Path) -> bool:
    try:
        path.mkdir()
    except FileExistsError:
        return False
    return True
