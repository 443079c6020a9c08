"""Trials that train nothing, for what is around them: who runs them, how often, and what is kept of them.

``python -m sweep_toys FOLDER`` begins a sweep of them in a folder, or goes on with the one there.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseg.errors import DataError, TrainingError
from edgeseg.training.recipe import Recipe, make_recipe
from edgeseg.training.run_folder import EpochRow, RunFolder
from edgeseg.training.sweep.on_ray import Cluster, run_on_ray
from edgeseg.training.sweep.plan import Sweep, plan_sweep, read_sweep
from edgeseg.training.sweep.run import run_sweep
from edgeseg.training.sweep.study import Study

SPACE = ("lr=1e-4..1e-2:log", "batch=2..8")


def toy_sweep(out: Path, **changes: Any) -> Sweep:
    """Of a recipe of four epochs."""
    base = make_recipe({"data": "synthetic", "epochs": 4})
    values: dict[str, Any] = {"space": SPACE, "trials": 6, "pruner": "none", **changes}
    return plan_sweep(base, values.pop("space"), out, **values)


def toy_miou(recipe: Recipe) -> float:
    """Best with a small batch and a high rate."""
    return recipe.learning_rate * 40 + (8 - recipe.batch) / 20


@dataclass(frozen=True)
class ToyTrain:
    """Takes ``seconds`` for each epoch, and notes in the trial's folder that it came to its end."""

    seconds: float = 0.0

    def __call__(
        self, recipe: Recipe, folder: RunFolder, on_epoch: Callable[[int, float], bool]
    ) -> Mapping[str, float] | None:
        folder.path.mkdir(parents=True, exist_ok=True)
        recipe.write(folder.recipe)
        rows = []
        for epoch in range(1, recipe.epochs + 1):
            time.sleep(self.seconds)
            miou = toy_miou(recipe) * epoch / recipe.epochs
            rows.append(EpochRow(epoch, 1.0, miou, 1.0, miou, 0.5, 1e-3, self.seconds))
            folder.write_rows(rows)
            if not on_epoch(epoch, miou) and epoch < recipe.epochs:
                return None
        with (folder.path / "ended").open("a", encoding="utf-8") as file:
            file.write(f"{os.getpid()}\n")
        return {"miou": toy_miou(recipe)}


def times_ended(sweep: Sweep) -> dict[str, int]:
    """Trial to how often it was trained to its end."""
    files = sorted((sweep.out / "trials").glob("*/ended"))
    return {file.parent.name: len(file.read_text(encoding="utf-8").splitlines()) for file in files}


@dataclass(frozen=True)
class FaultyTrain:
    """The same, but of one trial nothing comes, or nothing can come of any from one trial on."""

    seconds: float
    failing: str
    refusing: str

    def __call__(
        self, recipe: Recipe, folder: RunFolder, on_epoch: Callable[[int, float], bool]
    ) -> Mapping[str, float] | None:
        if folder.path.name == self.failing:
            raise TrainingError("loss", expected="a number", found="nan", next_step="Lower it.")
        if folder.path.name == self.refusing:
            raise DataError("data", expected="images", found="none", next_step="Give some.")
        return ToyTrain(self.seconds)(recipe, folder, on_epoch)


def main() -> None:
    """Begin or go on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--pruner", default="none")
    parser.add_argument("--failing", default="")
    parser.add_argument("--refusing", default="")
    parser.add_argument("--ray")
    given = parser.parse_args()
    there = (given.folder / "sweep.json").is_file()
    given.folder.mkdir(exist_ok=True)
    sweep = read_sweep(given.folder) if there else toy_sweep(given.folder, pruner=given.pruner)
    study = Study(replace(sweep, trials=given.trials))
    study.sweep.write()
    train = FaultyTrain(given.seconds, given.failing, given.refusing)
    if given.ray:
        run_on_ray(study, Cluster(given.ray), train, lambda _: None, lambda: None)
    else:
        run_sweep(study, train, lambda _: None, lambda: None)


if __name__ == "__main__":
    main()
