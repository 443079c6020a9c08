"""The file that keeps the finished steps of a robustness run over a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseg.atomic import clear_leftovers, write_text
from edgeseg.errors import UsageError

PARTIAL_FILE = "robustness.partial.json"


class PartialFile:
    """What is finished of a run, in a file of the output folder that says that it is partial.

    It appears whole after each step that ends: a run that is killed loses the step it was in and no more.

    Args:
        folder: The output folder.
        settings: All that the numbers depend on. What was kept under other settings is not used.

    Raises:
        UsageError: The folder holds a part of a run with other settings, or a file that is none.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._path = folder / PARTIAL_FILE
        self._settings = dict(settings)
        self._finished: dict[str, Any] = _finished(self._path, self._settings)

    def get(self, step: str) -> Any | None:
        """The plain JSON values kept for a step; ``None`` where it is not finished."""
        return self._finished.get(step)

    def keep(self, step: str, values: Any) -> None:
        """Keep a finished step.

        Raises:
            OutputError: The file cannot be written.
        """
        self._finished[step] = values
        document = {"state": "partial", "settings": self._settings, "finished": self._finished}
        write_text(self._path, json.dumps(document) + "\n")


def remove_partial(folder: Path) -> None:
    """Delete what a run has kept in its output folder: its whole result has been written."""
    clear_leftovers(folder / PARTIAL_FILE)
    (folder / PARTIAL_FILE).unlink(missing_ok=True)


def _finished(path: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        kept, finished = dict(document["settings"]), dict(document["finished"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            path,
            expected="the finished part of a robustness run",
            found=f"something else ({type(error).__name__})",
            next_step="Delete the file, or name another --out.",
        ) from error
    # As JSON gives them back: tuples are lists there.
    wanted = json.loads(json.dumps(settings))
    differing = sorted(key for key in {*wanted, *kept} if wanted.get(key) != kept.get(key))
    if differing:
        raise UsageError(
            path,
            expected="a part of this very run",
            found=f"a part of a run with other {', '.join(differing)}",
            next_step="Name another --out, or delete the file to begin anew.",
        )
    return finished
