"""The folder of a run of ``generate``: what it leaves, and what it continues from."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.atomic import fsync, writing
from edgeseg.errors import DataError, UsageError
from edgeseg.training.epoch_table import read_finished, write_table
from edgeseg.training.generative.game import Game
from edgeseg.training.generative.settings import Settings, check_continues


@dataclass(frozen=True)
class GameRow:
    """One line of ``losses.csv``: the mean losses of an epoch, which counts from 1."""

    epoch: int
    generator: float
    discriminator: float
    seconds: float


@dataclass(frozen=True)
class GenerateFolder:
    """Paths of a run's folder. ``pairs`` is the dataset that was made."""

    path: Path

    @property
    def settings(self) -> Path:
        return self.path / "settings.yaml"

    @property
    def weights(self) -> Path:
        return self.path / "weights" / "last.weights.h5"

    @property
    def losses(self) -> Path:
        return self.path / "losses.csv"

    @property
    def summary(self) -> Path:
        return self.path / "summary.json"

    @property
    def pairs(self) -> Path:
        return self.path / "pairs"

    def grid(self, epoch: int) -> Path:
        return self.path / "grids" / f"epoch-{epoch:03d}.png"

    def check(self, settings: Settings) -> None:
        """See before slow work whether a run with these settings may begin or continue here.

        Raises:
            UsageError: The folder holds something else, or a run with other settings.
            DataError: Its settings cannot be read.
        """
        if self.settings.is_file():
            check_continues(self.settings, settings)
        elif self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(
                f"--out {self.path}",
                expected="a new or empty folder, or one of an earlier run of edgeseg generate",
                found="a file" if self.path.is_file() else "a folder that holds something else",
                next_step="Name another --out.",
            )

    def save(self, game: Game) -> None:
        """Write weights, optimisers' state and finished epochs, as one file, atomically.

        Raises:
            OutputError: It cannot be written.
        """
        # Keras wants the whole of its suffix. One name: what a killed process left is written over.
        half = self.weights.with_name(".last.part.weights.h5")
        with writing(self.weights):
            half.parent.mkdir(parents=True, exist_ok=True)
            try:
                game.save_weights(half)
                fsync(half)
                half.replace(self.weights)
            except BaseException:
                half.unlink(missing_ok=True)
                raise

    def restore(self, game: Game) -> None:
        """What :meth:`save` wrote; nothing where it wrote nothing yet.

        Raises:
            DataError: The file is damaged, or of another game.
        """
        if not self.weights.is_file():
            return
        try:
            with warnings.catch_warnings():
                # Keras only warns of an optimiser that does not fit, and would go on with a fresh one.
                warnings.filterwarnings("error", "Skipping variable loading for optimizer", UserWarning)
                game.load_weights(self.weights)
        except (OSError, ValueError, KeyError, UserWarning, zipfile.BadZipFile) as error:
            raise DataError(
                self.weights,
                expected="the weights that this run wrote",
                found=" ".join(str(error).split())[:200],
                next_step="Restore the file, or delete the folder and begin anew.",
            ) from error

    def read_rows(self, epochs: int) -> list[GameRow]:
        """The rows of the finished epochs; a row after them is of one that was cut off.

        Raises:
            DataError: The table is damaged, or lacks one.
        """
        return read_finished(self.losses, GameRow, epochs, self.weights)

    def write_rows(self, rows: Sequence[GameRow]) -> None:
        """Write ``losses.csv`` whole, atomically."""
        write_table(self.losses, rows, GameRow)
