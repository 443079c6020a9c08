"""One run of a comparison: trained or continued, proved to be what was planned, and its outcome noted."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseg.errors import TrainingError
from edgeseg.training.comparison.outcome import write_outcome
from edgeseg.training.comparison.plan import PlannedRun
from edgeseg.training.comparison.proof import check_trained_as_planned
from edgeseg.training.continuation import bring_to_end
from edgeseg.training.observer import Observer


def train_run(run: PlannedRun, observers: Sequence[Observer] = ()) -> None:
    """Bring a run to its end, from wherever it is. One that fails has that as its outcome.

    Raises:
        UsageError, DataError, OutputError, KeyboardInterrupt: As :func:`edgeseg.training.fit.train`.
    """
    try:
        bring_to_end(run.recipe, run.folder, observers)
        write_outcome(run, None, check_trained_as_planned(run))
    except TrainingError as error:
        write_outcome(run, str(error), None)
