"""A comparison at MLflow: a parent run with the tables and pictures, whose children are the runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg.training.comparison.outcome import Outcome
from edgeseg.training.comparison.plan import Comparison
from edgeseg.training.comparison.table import rows_of
from edgeseg.training.tracking import MLflowReporter


class MLflowComparison:
    """Tells an MLflow server or store of a comparison. One that is continued goes on in its parent run.

    Use it in a ``with`` statement, whose end is the parent run's.

    Args:
        uri: As :class:`edgeseg.training.tracking.MLflowReporter` takes it.
        comparison: The plan.

    Raises:
        MissingExtraError, UsageError: As :class:`edgeseg.training.tracking.MLflowReporter`.
    """

    def __init__(self, uri: str, comparison: Comparison) -> None:
        self._comparison, self._parent = comparison, MLflowReporter(uri)
        tags = {"edgeseg.comparison": str(comparison.out.resolve())}
        params = {"compared": comparison.subject, **comparison.common()}
        self._parent.open(comparison.out.name, tags, params, continued=True)

    @property
    def run_id(self) -> str | None:
        """What the runs' trackers take as their parent; ``None`` where MLflow failed."""
        return self._parent.run_id

    def reported(self, outcomes: Sequence[Outcome], files: Sequence[Path]) -> None:
        """The means so far, and the files as they are now."""
        rows = rows_of(self._comparison, outcomes)
        means = {f"{row.variant} miou": row.miou.mean for row in rows if row.miou}
        self._parent.log(means, len(outcomes))
        self._parent.keep(files)

    def __enter__(self) -> MLflowComparison:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        self._parent.close("interrupted" if interrupted else "failed" if kind else "finished")
