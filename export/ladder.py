"""The ladder of int8: from plain quantisation upwards, until the artifact keeps the budget.

Each rung costs more than the one below it, in the export's time or in the file's speed, so the first that
keeps the budget is the cheapest that does. Every rung is measured as the gate measures, through the runtime
that the car uses.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgeseg.errors import ConversionError
from edgeseg.evaluation import Predictor
from edgeseg.export.artifacts import Artifact, Conversion
from edgeseg.export.attempts import Attempt, Climb, OnAttempt, WeightsKind, tell_nobody
from edgeseg.export.draft import Draft
from edgeseg.export.int8 import Int8Settings, Quantiser
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.parity import Budget, Reference, faults_of
from edgeseg.export.progress import Stage
from edgeseg.export.sensitivity import LayerDamage, layer_damages
from edgeseg.export.targets import Format
from edgeseg.export.weights import Weights

if TYPE_CHECKING:
    from edgeseg.export.quantisation_aware import FineTuning

MOST_IN_FLOAT = 0.5
"""At most this share of the layers stays in float: beyond it, fp16 is the better file."""

Rung = tuple[str, Int8Settings, WeightsKind]


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
    _weights: dict[WeightsKind, Weights | None] = field(default_factory=lambda: {"as trained": None})
    _quantisers: dict[WeightsKind, Quantiser] = field(default_factory=dict)
    _attempts: list[Attempt] = field(default_factory=list)
    _damages: list[LayerDamage] = field(default_factory=list)
    _damaged_classes: tuple[str, ...] = ()
    _fine_tuning: FineTuning | None = None
    _notes: list[str] = field(default_factory=list)

    def climb(self) -> Climb:
        """Rung by rung, until one keeps the budget or there are no more.

        Raises:
            ConversionError: A converter failed.
        """
        began = time.perf_counter()
        for rung in self._rungs():
            self._attempts.append(self._try(began, *rung))
            self.on_attempt(self._attempts[-1])
            # What is done for a rung before it is tried, such as calibrating, counts as its time.
            began = time.perf_counter()
            if not self._attempts[-1].faults:
                break
        return Climb(
            self._best(),
            tuple(self._attempts),
            tuple(self._damages),
            self._damaged_classes,
            tuple(self._notes),
        )

    def _rungs(self) -> Iterator[Rung]:
        """First what costs the file nothing, by the export's time; then what makes the file slower."""
        plain, *others = self._quantiser("as trained").ranges
        yield "plain", Int8Settings(plain), "as trained"
        for ranges in others:
            yield f"{ranges} ranges", Int8Settings(ranges), "as trained"
        self._weights["equalised"] = self.conversion.equalised_weights(self.frames)
        yield "equalised", Int8Settings(self._best().settings.ranges), "equalised"
        if self._qat_steps:
            yield from self._fine_tuned()
        yield from self._in_float()

    def _fine_tuned(self) -> Iterator[Rung]:
        start = self._best()
        try:
            self._weights["fine-tuned"], told = self.conversion.fine_tuned(
                self._kind, self.frames, self._weights[start.weights], self._qat_steps
            )
        except ConversionError as error:
            self._notes.append(f"{self._kind.name} int8 was not fine-tuned: {error}")
            return
        self._fine_tuning = told
        if told.float_layers:
            self._notes.append(
                f"Fine-tuning for {self._kind.name} int8 left {len(told.float_layers)} layers in float, of "
                f"kinds that it does not know: {', '.join(told.float_layers)}."
            )
        name = f"fine-tuned, {told.steps} steps"
        # These weights were taught under whole ranges, whatever those of the best rung are.
        yield name, Int8Settings(), "fine-tuned"

    def _in_float(self) -> Iterator[Rung]:
        """From the best that there is; and where that was tuned for the rounding of the very layers that are
        not rounded now, which may harm, from the best that was not."""
        start = self._best()
        yield from self._in_float_from(start)
        if start.weights == "fine-tuned":
            untuned = [attempt for attempt in self._attempts if attempt.weights != "fine-tuned"]
            yield from self._in_float_from(self._best(untuned))

    def _in_float_from(self, start: Attempt) -> Iterator[Rung]:
        most = int(MOST_IN_FLOAT * len(self._quantiser(start.weights).layers))
        if most:
            self._damaged_classes = start.classes_over(self._budget)
            self._damages = self._measure_layers(start)
        for count in _doubling(most):
            layers = frozenset(one.layer for one in self._damages[:count])
            name = f"{count} layer{'s' if count > 1 else ''} in float, {start.weights}"
            yield name, Int8Settings(start.settings.ranges, layers), start.weights

    def _try(self, began: float, rung: str, settings: Int8Settings, weights: WeightsKind) -> Attempt:
        artifact = self._artifact(self._quantiser(weights).quantise(settings))
        tried = self.draft.tried(artifact, self.reference, self.stage)
        drop = tried.comparison.drop_points
        fine_tuning, self._fine_tuning = self._fine_tuning, None
        return Attempt(
            self._kind.name,
            rung,
            settings,
            weights,
            tried,
            tuple(faults_of(tried.comparison, "int8", self._budget)),
            gain_points=self._attempts[0].drop_points - drop if self._attempts else 0.0,
            seconds=time.perf_counter() - began,
            fine_tuning=fine_tuning,
        )

    def _artifact(self, made: ModelBytes) -> Artifact:
        return self.conversion.artifact(self._kind, "int8", made)

    def _best(self, among: Sequence[Attempt] = ()) -> Attempt:
        """The one that keeps the budget, which is the last, or comes closest; of all, or of some."""
        return min(
            among or self._attempts, key=lambda attempt: (bool(attempt.faults), attempt.excess(self._budget))
        )

    @property
    def _kind(self) -> Format:
        return self.draft.plan.format

    @property
    def _budget(self) -> Budget:
        return self.draft.plan.options.budget

    @property
    def _qat_steps(self) -> int:
        return self.draft.plan.options.qat_steps

    def _quantiser(self, weights: WeightsKind) -> Quantiser:
        if weights not in self._quantisers:
            self._quantisers[weights] = self.conversion.quantiser(
                self._kind, self.frames, self._weights[weights]
            )
        return self._quantisers[weights]

    def _measure_layers(self, start: Attempt) -> list[LayerDamage]:
        quantiser = self._quantiser(start.weights).quick()

        @contextmanager
        def opened(made: ModelBytes) -> Iterator[Predictor]:
            artifact = self._artifact(made)
            with self.draft.opened([artifact]) as segmenters:
                yield segmenters[artifact.file].predict

        with self.stage("Measuring what each layer loses in int8") as advance:
            classes = [start.comparison.labels.names.index(name) for name in self._damaged_classes]
            return layer_damages(quantiser, start.settings.ranges, classes, opened, self.frames, advance)


def _doubling(most: int) -> Iterator[int]:
    """1, 2, 4 and so on, and ``most`` at last."""
    count = 1
    while count < most:
        yield count
        count *= 2
    if most:
        yield most
