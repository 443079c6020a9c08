"""A comparison at MLflow: a parent run with the tables and pictures, whose children are the runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg.training.comparison.outcome import Outcome
from edgeseg.training.comparison.plan import Comparison
from edgeseg.training.comparison.table import rows_of
from edgeseg.training.tracking import MLflowParent


class MLflowComparison(MLflowParent):
    """Tells an MLflow server or store of a comparison.

    Args:
        uri: As :class:`edgeseg.training.tracking.MLflowReporter` takes it.
        comparison: The plan.

    Raises:
        MissingExtraError, UsageError: As :class:`edgeseg.training.tracking.MLflowReporter`.
    """

    def __init__(self, uri: str, comparison: Comparison) -> None:
        self._comparison = comparison
        params = {"compared": comparison.subject, **comparison.common()}
        super().__init__(uri, "comparison", comparison.out, params)

    def reported(self, outcomes: Sequence[Outcome], files: Sequence[Path]) -> None:
        """The means so far, and the files as they are now."""
        rows = rows_of(self._comparison, outcomes)
        means = {f"{row.variant} miou": row.miou.mean for row in rows if row.miou}
        self.note(means, len(outcomes), files)
