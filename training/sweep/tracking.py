"""A sweep at MLflow: a parent run with the table and pictures, whose children are the trials."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg.training.sweep.plan import Sweep
from edgeseg.training.sweep.results import Results
from edgeseg.training.tracking import MLflowParent


class MLflowSweep(MLflowParent):
    """Tells an MLflow server or store of a sweep.

    Args:
        uri: As :class:`edgeseg.training.tracking.MLflowReporter` takes it.
        sweep: The plan.

    Raises:
        MissingExtraError, UsageError: As :class:`edgeseg.training.tracking.MLflowReporter`.
    """

    def __init__(self, uri: str, sweep: Sweep) -> None:
        varied = {f"space.{parameter.field}": str(parameter) for parameter in sweep.space}
        params = {**varied, "pruner": sweep.pruner, **sweep.base.model_dump(mode="json")}
        super().__init__(uri, "sweep", sweep.out, params)

    def reported(self, results: Results, files: Sequence[Path]) -> None:
        """The best mIoU so far, and the files as they are now."""
        over = sum(result.trial.state != "unfinished" for result in results.trials)
        self.note({"best miou": results.best.miou or 0.0} if results.best else {}, over, files)
