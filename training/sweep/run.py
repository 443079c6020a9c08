"""A sweep's trials one after another on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from edgeseg.errors import DataError, EdgesegError, MissingExtraError, OutputError
from edgeseg.lock import alone
from edgeseg.training.recipe import Recipe
from edgeseg.training.run_folder import RunFolder
from edgeseg.training.sweep.plan import Sweep
from edgeseg.training.sweep.study import Study, Trial

Train = Callable[[Recipe, RunFolder, Callable[[int, float], bool]], Mapping[str, float] | None]
"""Trains a recipe in a folder, calls back after each epoch, and gives its objectives; ``None`` where it was
stopped. :func:`edgeseg.training.sweep.trial.train_trial`, in a process of its own."""

Report = Callable[[], None]
"""Called before the first trial, and after each."""


def run_sweep(study: Study, train: Train, begun: Callable[[Trial], None], report: Report) -> None:
    """Train until as many trials are over as the sweep asks for.

    A trial that collapses, or whose loss is not finite, or whose values do not go together, has that as its
    result, and the sweep goes on.

    Args:
        study: The trials.
        train: Called for each trial.
        begun: Called before that.
        report: Called with everything that is over.

    Raises:
        DataError: The dataset cannot be read, or a file of a trial is damaged.
        OutputError: The folder cannot be written to.
        KeyboardInterrupt: It was interrupted. The same sweep, started again, goes on.
    """
    study.take_back()
    report()
    while study.remaining:
        trial = study.ask()
        begun(trial)
        _train(study, trial, train)
        report()


@contextmanager
def sweeping(sweep: Sweep) -> Iterator[None]:
    """Hold a sweep's folder: of two processes the second would take the first one's trials for cut off.

    Raises:
        UsageError: Another process holds it.
    """
    with alone(sweep.out, "a sweep"):
        yield


def is_of_the_trial(error: EdgesegError) -> bool:
    """Whether an error is a trial's own, and not one that every other trial would meet too."""
    return not isinstance(error, DataError | OutputError | MissingExtraError)


def _train(study: Study, trial: Trial, train: Train) -> None:
    try:
        recipe = study.sweep.recipe(trial.settings)
        values = train(
            recipe,
            study.sweep.folder(trial.name),
            lambda epoch, miou: study.report(trial.name, epoch, miou),
        )
    except EdgesegError as error:
        if not is_of_the_trial(error):
            raise
        study.fail(trial.name, str(error))
    else:
        if values is None:
            study.prune(trial.name)
        else:
            study.finish(trial.name, values)
