"""One run of a comparison: trained or continued, proved to be what was planned, and its outcome noted."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from edgeseg.errors import TrainingError
from edgeseg.training.comparison.outcome import is_summarised, write_outcome
from edgeseg.training.comparison.plan import PlannedRun
from edgeseg.training.comparison.proof import check_trained_as_planned
from edgeseg.training.compilation import check_loss
from edgeseg.training.data import open_dataset
from edgeseg.training.fit import resume, train
from edgeseg.training.network import check_sizes, new_network
from edgeseg.training.observer import Observer


def check_recipes(runs: Sequence[PlannedRun]) -> None:
    """Find what does not fit now, and not after the hours that the runs before it take.

    Raises:
        UsageError: A recipe does not fit its model, its loss or the labels.
        DataError: The dataset cannot be read.
    """
    built: list[object] = []
    for recipe in {run.variant: run.recipe for run in runs}.values():
        labels = open_dataset(recipe.data).labels
        check_loss(recipe, labels)
        network = (recipe.model, recipe.model_options, recipe.train_size)
        if network not in built:
            check_sizes(recipe, labels)
            new_network(recipe, labels)
            built.append(network)


def train_run(run: PlannedRun, observers: Sequence[Observer] = ()) -> None:
    """Bring a run to its end, from wherever it is. One that fails has that as its outcome.

    Raises:
        UsageError, DataError, OutputError, KeyboardInterrupt: As :func:`edgeseg.training.fit.train`.
    """
    try:
        _train(run, observers)
        write_outcome(run, None, check_trained_as_planned(run))
    except TrainingError as error:
        write_outcome(run, str(error), None)


def _train(run: PlannedRun, observers: Sequence[Observer]) -> None:
    path = run.folder.path
    if is_summarised(run):
        return
    if run.folder.last.is_file():
        resume(path, observers)
        return
    if path.exists():
        # Cut off before its first checkpoint: there is nothing in it, and train would write beside it.
        shutil.rmtree(path)
    train(run.recipe, path, observers)
