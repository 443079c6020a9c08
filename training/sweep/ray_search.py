"""What Ray Tune is given: its Optuna search over a sweep's study, who is stopped, and what a machine runs.

Imported only where Ray is: :mod:`edgeseg.training.sweep.on_ray`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search.optuna import OptunaSearch
from typing_extensions import override

from edgeseg.atomic import writing
from edgeseg.errors import EdgesegError, OutputError
from edgeseg.training.sweep.plan import Sweep
from edgeseg.training.sweep.run import Report, Train, is_of_the_trial
from edgeseg.training.sweep.study import Study, Trial

_LOST = "its machine or its process was lost again and again: see ray/ in the sweep's folder"


class StudySearch(OptunaSearch):
    """Ray's Optuna search, with the study's storage, names, pruning and reasons for failing.

    As it is, that search notes a trial which was stopped as one that is complete. ``refused`` is an error
    that every trial would meet, and that ends the sweep.
    """

    def __init__(self, study: Study, begun: Callable[[Trial], None], report: Report) -> None:
        self.refused: EdgesegError | None = None
        self._sweep_study, self._begun, self._report = study, begun, report
        self._names: dict[str, str] = {}
        super().__init__(
            self._values,
            metric="miou",
            mode="max",
            sampler=study.study.sampler,
            storage=study.storage,
            study_name=study.sweep.study,
        )

    @override
    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        config = super().suggest(trial_id)
        if config is not None:
            self._names[trial_id] = config["trial"]
        return config

    def goes_on(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Note an epoch; gives whether the trial is worth going on with."""
        if "epoch" not in result:
            return True
        worth = self._sweep_study.report(self._names[trial_id], result["epoch"], result["miou"])
        return worth or result["last"]

    @override
    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: each epoch was noted when it was asked whether to go on."""

    @override
    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        ended = result or {}
        if "refused" in ended:
            # It stays running in the study, and is tried again when the sweep goes on.
            self.refused = self.refused or ended["refused"]
            return
        failure = _LOST if error else ended.get("failure")
        if failure:
            self._sweep_study.explain(self._names[trial_id], failure)
        # Without a result a trial was stopped, and that is pruned.
        super().on_trial_complete(trial_id, ended if "over" in ended else None, error=failure is not None)
        self._report()

    @override
    def save(self, checkpoint_path: str) -> None:
        """Nothing: a sweep goes on from the study's storage."""

    def __getstate__(self) -> dict[str, Any]:
        # For the same reason: Tune keeps a copy of all that it was given.
        return {}

    def _values(self, asked: Any) -> dict[str, Any]:
        trial = self._sweep_study.begin(asked)
        self._begun(trial)
        return {"trial": trial.name, "settings": dict(trial.settings)}


class Pruning(FIFOScheduler):
    """Trials in the order they come, stopped when the study's pruner says so."""

    def __init__(self, search: StudySearch) -> None:
        super().__init__()
        self._search = search

    @override
    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = self.CONTINUE if self._search.goes_on(trial.trial_id, result) else self.STOP
        return decision


class Refusal(tune.Stopper):
    """Ends everything once an error was met that every trial would meet."""

    def __init__(self, search: StudySearch) -> None:
        self._search = search

    @override
    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    @override
    def stop_all(self) -> bool:
        return self._search.refused is not None


def trainable(sweep: Sweep, train: Train) -> Callable[[dict[str, Any]], None]:
    """What a machine of the cluster calls with what the search proposed. ``sweep.out`` is absolute."""
    here = Path.cwd()

    def run(config: dict[str, Any]) -> None:
        try:
            values = _trained(sweep, train, here, config)
        except EdgesegError as error:
            said = {"failure": str(error)} if is_of_the_trial(error) else {"refused": error}
            tune.report({"miou": math.nan, **said})
            return
        if values is not None:
            tune.report({**values, "over": True})

    return run


def _trained(sweep: Sweep, train: Train, here: Path, config: dict[str, Any]) -> Any:
    if not sweep.document.is_file():
        raise OutputError(
            sweep.out,
            expected=f"the sweep's folder on every machine of the cluster, also on {os.uname().nodename}",
            found="no such folder there",
            next_step="Name a folder on a file system that all of them share with --out.",
        )
    # Ray starts a trial in a folder of its own, where the data's path leads nowhere.
    with writing(here):
        os.chdir(here)
    recipe = sweep.recipe(config["settings"])

    def on_epoch(epoch: int, miou: float) -> bool:
        # A trial that is to be stopped does not come back from this.
        tune.report({"epoch": epoch, "miou": miou, "last": epoch >= recipe.epochs})
        return True

    return train(recipe, sweep.folder(config["trial"]), on_epoch)
