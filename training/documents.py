"""Files of numbers that comparisons and sweeps leave: JSON read, CSV written, and where they come from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.errors import DataError


@dataclass(frozen=True)
class Origin:
    """How and where something was measured: the command, and the machine that its times are of."""

    command: str
    machine: str


def read_json(path: Path, expected: str, next_step: str) -> dict[str, Any] | None:
    """What a JSON file that edgeseg wrote holds; ``None`` where it is not there.

    Raises:
        DataError: It cannot be read; ``next_step`` says what mends that.
    """
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            path,
            expected=expected,
            found=f"a file that cannot be read ({error})",
            next_step=next_step,
        ) from error
    return document


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV: a column for each name in any of them, fractions to six decimals."""
    listed = list(rows)
    columns = list(dict.fromkeys(key for row in listed for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows({key: _rounded(value) for key, value in row.items()} for row in listed)
    return text.getvalue()


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
