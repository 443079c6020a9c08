"""What the ladder of int8 tried, rung by rung, and how far it was climbed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from edgeseg.export.draft import Tried
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.parity import Budget, Comparison, classes_over, scored
from edgeseg.export.sensitivity import LayerDamage

if TYPE_CHECKING:
    from edgeseg.export.quantisation_aware import FineTuning

WeightsKind = Literal["as trained", "equalised", "fine-tuned"]
"""Which weights a file was made of: the model's own, with channels made alike, or taught under rounding."""


@dataclass(frozen=True)
class Attempt:
    """A rung that was tried: for which format, what it is called, how it quantises, and how its file did.

    ``gain_points`` of mIoU are won against the plain rung of the format; ``seconds`` it took in the export.
    ``fine_tuning`` is there on the rung that fine-tuned. ``faults`` are empty where it keeps the budget.
    """

    format: str
    rung: str
    settings: Int8Settings
    weights: WeightsKind
    file: Tried
    faults: tuple[str, ...]
    gain_points: float
    seconds: float
    fine_tuning: FineTuning | None = None

    @property
    def comparison(self) -> Comparison:
        return self.file.comparison

    @property
    def drop_points(self) -> float:
        return self.comparison.drop_points

    @property
    def worst_class(self) -> tuple[str, float]:
        """The class that lost most, and its loss in points."""
        return self.comparison.worst_class

    def classes_over(self, budget: Budget) -> tuple[str, ...]:
        """The classes that lose more than they may, or all where it is the mean that does, or none does."""
        drops = self.comparison.class_drop_points()
        over = classes_over(drops, budget.class_drop)
        return tuple(over if over and self.drop_points <= budget.drop else scored(drops))

    def excess(self, budget: Budget) -> float:
        """How far it is over the budget, in points: of the mean or of a class, whichever is farther."""
        over = [self.drop_points - budget.drop]
        if budget.class_drop is not None:
            over.append(self.worst_class[1] - budget.class_drop)
        return max(over)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``report.json``."""
        name, drop = self.worst_class
        return {
            "rung": self.rung,
            "ranges": self.settings.ranges,
            "weights": self.weights,
            "float_layers": sorted(self.settings.float_layers),
            "size": self.file.artifact.size,
            "miou": self.comparison.artifact_miou,
            "drop_points": self.drop_points,
            "gain_points": self.gain_points,
            "worst_class": {"name": name, "drop_points": drop},
            "seconds": round(self.seconds, 1),
            "fine_tuning": self.fine_tuning and self.fine_tuning.to_dict(),
            "faults": list(self.faults),
        }


@dataclass(frozen=True)
class Climb:
    """The ladder as far as it was climbed.

    ``chosen`` keeps the budget, or else came closest to it. ``damages`` are empty where no layer had to be
    measured, else what these layers do to ``damaged_classes``. ``notes`` are for people.
    """

    chosen: Attempt
    attempts: tuple[Attempt, ...]
    damages: tuple[LayerDamage, ...] = ()
    damaged_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def damages_all(self) -> bool:
        """Whether the damage is that to every class that was scored."""
        return set(self.damaged_classes) >= scored(self.chosen.comparison.class_drop_points()).keys()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``report.json``."""
        return {
            "chosen": self.chosen.rung,
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "sensitivity": [{"layer": d.layer, "damage": d.damage} for d in self.damages],
            "sensitivity_of": list(self.damaged_classes),
            "notes": list(self.notes),
        }


OnAttempt = Callable[[Attempt], None]


def tell_nobody(_attempt: Attempt) -> None:
    """An :data:`OnAttempt` that tells nobody."""
