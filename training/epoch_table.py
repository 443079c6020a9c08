"""The table of a run's finished epochs: a dataclass a row, its fields the columns, among them ``epoch``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgeseg.atomic import write_text
from edgeseg.errors import DataError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def read_table(path: Path, row: type[Row]) -> list[Row]:
    """The finished epochs; none where ``path`` does not exist.

    Raises:
        DataError: The file is damaged.
    """
    if not path.is_file():
        return []
    names = [field.name for field in fields(row)]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [
                row(**{name: (int if name == "epoch" else float)(values[name]) for name in names})
                for values in csv.DictReader(file)
            ]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise DataError(
            path,
            expected=f"a table with the columns {', '.join(names)}",
            found=f"something else ({error})",
            next_step="Restore the file, or start a new run.",
        ) from error


def read_finished(path: Path, row: type[Row], epochs: int, counter: Path) -> list[Row]:
    """The rows of the epochs that ``counter``, the weights' file, counts; a row after them is of one cut off.

    Raises:
        DataError: The file is damaged, or lacks one.
    """
    rows = [values for values in read_table(path, row) if _epoch(values) <= epochs]
    found = [_epoch(values) for values in rows]
    if found != list(range(1, epochs + 1)):
        raise DataError(
            path,
            expected=f"a row for each of the {epochs} epochs that {counter.name} counts, in order",
            found=f"rows of the epochs {found}" if found else "none",
            next_step="Restore the file, or start a new run.",
        )
    return rows


def write_table(path: Path, rows: Sequence[Row], row: type[Row]) -> None:
    """Write the table whole, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(values) for values in rows)
    write_text(path, text.getvalue())


def _epoch(values: DataclassInstance) -> int:
    return int(values.epoch)  # type: ignore[attr-defined]
