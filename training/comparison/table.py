"""The rows of a comparison: each variant's scores over its seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from edgeseg.training.comparison.outcome import Outcome
from edgeseg.training.comparison.plan import Comparison

# Of two values the standard deviation says less than the values themselves.
_FEWEST_FOR_DEVIATION = 3


@dataclass(frozen=True)
class Spread:
    """One number of a variant over its seeds, in their order; there is at least one."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return mean(self.values)

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; ``None`` of fewer than three values."""
        return stdev(self.values) if len(self.values) >= _FEWEST_FOR_DEVIATION else None

    @property
    def reach(self) -> tuple[float, float]:
        """What is drawn as the spread: a standard deviation to each side, or lowest and highest value."""
        if self.deviation is None:
            return min(self.values), max(self.values)
        return self.mean - self.deviation, self.mean + self.deviation

    def in_points(self) -> str:
        """``61.2 ± 0.4``; of two values ``61.2 (60.9 to 61.5)``; of one ``61.2``."""
        centre = f"{100 * self.mean:.1f}"
        if self.deviation is not None:
            deviation = f"{100 * self.deviation:.1f}"
            return f"{centre} ± {'<0.1' if deviation == '0.0' else deviation}"
        low, high = (f"{100 * value:.1f}" for value in self.reach)
        return f"{centre} ({low} to {high})" if len(self.values) > 1 else centre


@dataclass(frozen=True)
class Row:
    """A variant: its runs that are over, in the order of their seeds, and its scores over those not failed.

    A score is ``None`` where no run has it.
    """

    variant: str
    outcomes: tuple[Outcome, ...]
    miou: Spread | None
    mean_dice: Spread | None
    class_iou: dict[str, Spread | None]

    @property
    def scored(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.failure is None]

    @property
    def failed(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.failure is not None]

    @property
    def seconds(self) -> float | None:
        """Mean wall time of the epochs of a run that did not fail."""
        return mean(outcome.seconds for outcome in self.scored) if self.scored else None

    @property
    def epoch_seconds(self) -> float | None:
        """Mean over those runs of their median epoch."""
        return mean(outcome.epoch_seconds for outcome in self.scored) if self.scored else None


def rows_of(comparison: Comparison, outcomes: Sequence[Outcome]) -> list[Row]:
    """A row for each variant that has a run, best mean mIoU first; those without a score come last."""
    names = class_names(outcomes)
    by_variant = {name: [o for o in outcomes if o.run.variant == name] for name in comparison.variants}
    rows = [_row(variant, its, names) for variant, its in by_variant.items() if its]
    return sorted(rows, key=lambda row: -row.miou.mean if row.miou else math.inf)


def class_names(outcomes: Sequence[Outcome]) -> list[str]:
    """The classes' names, in their order; none while no run has scores."""
    return next((list(o.class_iou) for o in outcomes if o.class_iou), [])


def _row(variant: str, outcomes: Sequence[Outcome], classes: Sequence[str]) -> Row:
    per_class = {name: _spread((o.class_iou or {}).get(name) for o in outcomes) for name in classes}
    return Row(
        variant,
        tuple(outcomes),
        _spread(o.miou for o in outcomes),
        _spread(o.mean_dice for o in outcomes),
        per_class,
    )


def _spread(values: Iterable[float | None]) -> Spread | None:
    there = tuple(value for value in values if value is not None)
    return Spread(there) if there else None
