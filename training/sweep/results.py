"""What came of a sweep's trials, from the study and the run folders, best first where it counts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgeseg.training.run_folder import EpochRow
from edgeseg.training.sweep.plan import Sweep
from edgeseg.training.sweep.study import Study, TrialRow


@dataclass(frozen=True)
class Result:
    """A trial with the epochs that its run folder holds; ``leads`` where none beats it in all objectives."""

    trial: TrialRow
    epochs: tuple[EpochRow, ...]
    leads: bool

    @property
    def name(self) -> str:
        return self.trial.name

    @property
    def miou(self) -> float | None:
        """At label resolution, 0 to 1; ``None`` of a trial that did not finish."""
        return self.trial.values.get("miou")

    @property
    def last_miou(self) -> float | None:
        """Of its best epoch at model resolution, for a trial that has no score."""
        return max((row.val_miou for row in self.epochs), default=None)

    @property
    def seconds(self) -> float:
        """Of all its epochs."""
        return sum(row.seconds for row in self.epochs)


@dataclass(frozen=True)
class Results:
    """All trials in the order they were begun, and each field's share of what made mIoU differ."""

    sweep: Sweep
    trials: tuple[Result, ...]
    importance: Mapping[str, float]

    @property
    def best(self) -> Result | None:
        """The trial with the highest mIoU."""
        finished = [result for result in self.trials if result.miou is not None]
        return max(finished, key=lambda result: result.miou or 0.0, default=None)

    def ranked(self) -> list[Result]:
        """Finished ones by their mIoU, then the others as they were begun."""
        return sorted(self.trials, key=lambda r: math.inf if r.miou is None else -r.miou)

    def counts(self) -> dict[str, int]:
        """State to how many trials are in it; states without one are left out."""
        states = [result.trial.state for result in self.trials]
        return {state: states.count(state) for state in dict.fromkeys(sorted(states))}


def results_of(study: Study) -> Results:
    """What is known now.

    Raises:
        DataError: A file of a run is damaged.
    """
    front = {*study.front()}
    rows = study.rows()
    results = tuple(Result(row, _epochs(study.sweep, row.name), row.name in front) for row in rows)
    return Results(study.sweep, results, study.importance())


def _epochs(sweep: Sweep, name: str) -> tuple[EpochRow, ...]:
    return tuple(sweep.folder(name).read_rows())


def fields_of(sweep: Sweep) -> Sequence[str]:
    """The fields that are varied, as they were given."""
    return [parameter.field for parameter in sweep.space]
