"""What came of a run, kept in its folder, so that a finished run is never trained again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgeseg.atomic import write_text
from edgeseg.training.comparison.plan import PlannedRun
from edgeseg.training.documents import read_json


@dataclass(frozen=True)
class LossCheck:
    """The best epoch's validation loss: as training recorded it, and as the recipe's loss gives it apart."""

    recorded: float
    recomputed: float


@dataclass(frozen=True)
class Outcome:
    """A run that is over.

    Scores are those of the best epoch at label resolution, 0 to 1; one is ``None`` where the run failed or
    the class does not occur. ``seconds`` are those of all epochs, ``epoch_seconds`` those of the median one
    after the first, in which the model is compiled; 0 where there was none. ``failure`` says why there is
    no score.
    """

    run: PlannedRun
    epochs: int
    seconds: float
    epoch_seconds: float
    failure: str | None = None
    loss_check: LossCheck | None = None
    best_epoch: int | None = None
    precision: str | None = None
    parameters: int | None = None
    miou: float | None = None
    mean_dice: float | None = None
    class_iou: Mapping[str, float | None] | None = None


def write_outcome(run: PlannedRun, failure: str | None, check: LossCheck | None) -> None:
    """Note in the run's folder that it is over, and how."""
    values = {
        "recipe_hash": run.recipe.hash(),
        "failure": failure,
        "loss_check": asdict(check) if check else None,
    }
    write_text(_note(run), json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def read_outcome(run: PlannedRun) -> Outcome | None:
    """What came of a run, or ``None`` where it is not over.

    Raises:
        DataError: A file of the run is damaged.
    """
    note = _read(_note(run))
    if note is None or note.get("recipe_hash") != run.recipe.hash():
        return None
    rows = run.folder.read_rows()
    later = [row.seconds for row in rows[1:] or rows]
    seconds, epoch_seconds = sum(row.seconds for row in rows), median(later) if later else 0.0
    if note["failure"]:
        return Outcome(run, len(rows), seconds, epoch_seconds, failure=note["failure"])
    summary = _read(run.folder.summary)
    if summary is None:
        return None
    scores = summary["evaluation"]["label_resolution"]
    return Outcome(
        run,
        len(rows),
        seconds,
        epoch_seconds,
        loss_check=LossCheck(**note["loss_check"]),
        best_epoch=summary["best_epoch"],
        precision=summary["precision"],
        parameters=summary["parameters"],
        miou=scores["miou"],
        mean_dice=scores["mean_dice"],
        class_iou={name: values["iou"] for name, values in scores["per_class"].items()},
    )


def _note(run: PlannedRun) -> Path:
    return run.folder.path / "outcome.json"


def _read(path: Path) -> dict[str, Any] | None:
    return read_json(path, "the JSON that edgeseg wrote", "Delete it: it is made again.")
