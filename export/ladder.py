"""The ladder of int8: from plain quantisation upwards, until the artifact keeps the budget.

Each rung costs more than the one below it, in the export's time or in the file's speed, so the first that
keeps the budget is the cheapest that does. Every rung is measured as the gate measures, through the runtime
that the car uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.evaluation import Predictor
from edgeseg.export.artifacts import Artifact, Conversion
from edgeseg.export.draft import Draft, Tried
from edgeseg.export.int8 import Int8Settings, Quantiser
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.parity import Budget, Comparison, Reference, faults_of
from edgeseg.export.progress import Stage
from edgeseg.export.sensitivity import LayerDamage, layer_damages
from edgeseg.export.targets import Format

MOST_IN_FLOAT = 0.5
"""At most this share of the layers stays in float: beyond it, fp16 is the better file."""


@dataclass(frozen=True)
class Attempt:
    """A rung that was tried: for which format, what it is called, how it quantises, and how its file did.

    ``equalised`` says whether the model's channels were made alike before. ``faults`` are empty where it
    keeps the budget.
    """

    format: str
    rung: str
    settings: Int8Settings
    equalised: bool
    file: Tried
    faults: tuple[str, ...]

    @property
    def comparison(self) -> Comparison:
        return self.file.comparison

    @property
    def drop_points(self) -> float:
        return self.comparison.drop_points

    @property
    def worst_class(self) -> tuple[str, float]:
        """The class that lost most, and its loss in points."""
        drops = {n: d for n, d in self.comparison.class_drop_points().items() if d is not None}
        name = max(drops, key=drops.__getitem__)
        return name, drops[name]

    def excess(self, budget: Budget) -> float:
        """How far it is over the budget, in points: of the mean or of a class, whichever is farther."""
        over = [self.drop_points - budget.drop]
        if budget.class_drop is not None:
            over.append(self.worst_class[1] - budget.class_drop)
        return max(over)

    def to_dict(self) -> dict[str, Any]:
        name, drop = self.worst_class
        return {
            "rung": self.rung,
            "ranges": self.settings.ranges,
            "equalised": self.equalised,
            "float_layers": sorted(self.settings.float_layers),
            "size": self.file.artifact.size,
            "miou": self.comparison.artifact_miou,
            "drop_points": self.drop_points,
            "worst_class": {"name": name, "drop_points": drop},
            "faults": list(self.faults),
        }


@dataclass(frozen=True)
class Climb:
    """The ladder as far as it was climbed.

    ``chosen`` keeps the budget, or else came closest to it. ``damages`` are empty where no layer had to be
    measured.
    """

    chosen: Attempt
    attempts: tuple[Attempt, ...]
    damages: tuple[LayerDamage, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``report.json``."""
        return {
            "chosen": self.chosen.rung,
            "attempts": [attempt.to_dict() for attempt in self.attempts],
            "sensitivity": [{"layer": d.layer, "damage": d.damage} for d in self.damages],
        }


OnAttempt = Callable[[Attempt], None]


def tell_nobody(_attempt: Attempt) -> None:
    """An :data:`OnAttempt` that tells nobody."""


@dataclass
class Ladder:
    """Climbs for one model and format.

    Args:
        conversion: Of the model.
        draft: Of the bundle; its options hold the budget.
        reference: What Keras gives of the samples of the gate.
        frames: The calibration images ``uint8 [N, H, W, 3]`` RGB.
        stage: Told about each step.
        on_attempt: Told about each rung.
    """

    conversion: Conversion
    draft: Draft
    reference: Reference
    frames: npt.NDArray[np.uint8]
    stage: Stage
    on_attempt: OnAttempt = tell_nobody
    _quantisers: dict[bool, Quantiser] = field(default_factory=dict)
    _attempts: list[Attempt] = field(default_factory=list)
    _damages: list[LayerDamage] = field(default_factory=list)

    def climb(self) -> Climb:
        """Rung by rung, until one keeps the budget or there are no more.

        Raises:
            ConversionError: A converter failed.
        """
        for rung, settings, equalised in self._rungs():
            self._attempts.append(self._try(rung, settings, equalised))
            self.on_attempt(self._attempts[-1])
            if not self._attempts[-1].faults:
                break
        return Climb(self._best(), tuple(self._attempts), tuple(self._damages))

    def _rungs(self) -> Iterator[tuple[str, Int8Settings, bool]]:
        plain, *others = self._quantiser(equalised=False).ranges
        yield "plain", Int8Settings(plain), False
        for ranges in others:
            yield f"{ranges} ranges", Int8Settings(ranges), False
        yield "equalised", Int8Settings(self._best().settings.ranges), True
        start = self._best()
        most = int(MOST_IN_FLOAT * len(self._quantiser(equalised=start.equalised).layers))
        if most:
            self._damages = self._measure_layers(start)
        for count in _doubling(most):
            layers = frozenset(one.layer for one in self._damages[:count])
            name = f"{count} layer{'s' if count > 1 else ''} in float"
            yield name, Int8Settings(start.settings.ranges, layers), start.equalised

    def _try(self, rung: str, settings: Int8Settings, equalised: bool) -> Attempt:
        artifact = self._artifact(self._quantiser(equalised=equalised).quantise(settings))
        tried = self.draft.tried(artifact, self.reference, self.stage)
        faults = faults_of(tried.comparison, "int8", self._budget)
        return Attempt(self._kind.name, rung, settings, equalised, tried, tuple(faults))

    def _artifact(self, made: ModelBytes) -> Artifact:
        return self.conversion.artifact(self._kind, "int8", made)

    def _best(self) -> Attempt:
        """The one that keeps the budget, which is the last, or comes closest."""
        return min(self._attempts, key=lambda attempt: (bool(attempt.faults), attempt.excess(self._budget)))

    @property
    def _kind(self) -> Format:
        return self.draft.plan.format

    @property
    def _budget(self) -> Budget:
        return self.draft.plan.options.budget

    def _quantiser(self, *, equalised: bool) -> Quantiser:
        if equalised not in self._quantisers:
            self._quantisers[equalised] = self.conversion.quantiser(
                self._kind, self.frames, equalise=equalised
            )
        return self._quantisers[equalised]

    def _measure_layers(self, start: Attempt) -> list[LayerDamage]:
        quantiser = self._quantiser(equalised=start.equalised).quick()

        @contextmanager
        def opened(made: ModelBytes) -> Iterator[Predictor]:
            artifact = self._artifact(made)
            with self.draft.opened([artifact]) as segmenters:
                yield segmenters[artifact.file].predict

        with self.stage("Measuring what each layer loses in int8") as advance:
            return layer_damages(quantiser, start.settings.ranges, opened, self.frames, advance)


def _doubling(most: int) -> Iterator[int]:
    """1, 2, 4 and so on, and ``most`` at last."""
    count = 1
    while count < most:
        yield count
        count *= 2
    if most:
        yield most
