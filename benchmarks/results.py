"""What a benchmark found, as values: written as JSON, Markdown, plots and a page by their own modules."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

from edgeseg.benchmarks.conditions import Conditions
from edgeseg.benchmarks.contenders import Subject
from edgeseg.benchmarks.host import NOT_MEASURED, Host
from edgeseg.benchmarks.latency import Latency
from edgeseg.benchmarks.sensors.report import SensorReport
from edgeseg.benchmarks.sustained_results import Sustained
from edgeseg.bundle.manifest import Parity, RecordedAccuracy
from edgeseg.evaluation import Evaluation
from edgeseg.labels import LabelSet

NOT_MEASURED_HERE = {
    "accelerators": "inference ran on the CPU; nothing is said about a GPU, a DLA or an NPU",
    "camera": "exposure, transfer and driver come before the path that is timed",
}
"""What this benchmark does not cover on any machine, and why. The JSON says so, and never writes a zero."""


SCHEMA = 2
"""Of the JSON; it grows when a field changes its meaning or goes."""


@dataclass(frozen=True)
class Accuracy:
    """Scores through the same runtime, on ``split`` of ``dataset``."""

    dataset: str
    split: str
    evaluation: Evaluation
    labels: LabelSet

    @property
    def miou(self) -> float:
        """At label resolution, 0 to 1."""
        return self.evaluation.label_scores.miou

    @property
    def scored_on(self) -> str:
        """The images, in words: a split's first few are not the split."""
        return f"{self.evaluation.samples} images of {self.dataset} {self.split}"

    def to_dict(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "split": self.split, **self.evaluation.to_dict(self.labels)}


@dataclass(frozen=True)
class ModelResult:
    """One line of the table. ``exported`` is what the manifest recorded, if anything, on what it names."""

    subject: Subject
    latency: Latency
    accuracy: Accuracy | None
    exported: Parity | RecordedAccuracy | None
    sensors: SensorReport | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            **vars(self.subject),
            **vars(self.latency.loaded),
            **self.latency.to_dict(),
            "accuracy": self.accuracy.to_dict() if self.accuracy else NOT_MEASURED,
            "recorded_at_export": self.exported.model_dump(mode="json") if self.exported else NOT_MEASURED,
            "sensors": self.sensors.to_dict() if self.sensors else NOT_MEASURED,
            **dict.fromkeys(NOT_MEASURED_HERE, NOT_MEASURED),
        }


@dataclass(frozen=True)
class BenchmarkResult:
    """A run. ``frames`` and ``options`` are plain values, as they go into the JSON.

    ``state`` is ``partial`` as long as it goes on, and for ever where it was killed. ``marks`` say what makes
    its numbers less than they seem. ``unscored`` are the models that ended while they were scored, to what
    ended them; a mark tells of each.
    """

    created: str
    command: str
    host: Host
    frames: dict[str, Any]
    options: dict[str, Any]
    models: tuple[ModelResult, ...]
    state: Literal["complete", "partial"] = "complete"
    conditions: Conditions | None = None
    marks: tuple[str, ...] = ()
    sustained: Sustained | None = None
    unscored: dict[str, str] = field(default_factory=dict)

    def completed(self) -> BenchmarkResult:
        """It, as one that went to its end."""
        return replace(self, state="complete")

    @property
    def cautions(self) -> list[str]:
        """What makes the numbers less than they seem: that the run did not end, and the marks."""
        unfinished = ["incomplete: the run was stopped before its end"] if self.state == "partial" else []
        return [*unfinished, *self.marks]

    @property
    def not_measured(self) -> dict[str, str]:
        """What a reader could miss, to the reason."""
        sensed = next((model.sensors for model in self.models if model.sensors), None)
        return {**(sensed.why_not if sensed else {}), **NOT_MEASURED_HERE}

    @property
    def sensed(self) -> list[tuple[str, SensorReport]]:
        """Name of each model of which the sensors told something, with what they told."""
        return [
            (model.subject.name, model.sensors)
            for model in self.models
            if model.sensors and model.sensors.told
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": SCHEMA,
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "frames": self.frames,
            "options": self.options,
            "state": self.state,
            "conditions": self.conditions.to_dict() if self.conditions else NOT_MEASURED,
            "marks": list(self.marks),
            "sustained": self.sustained.to_dict() if self.sustained else NOT_MEASURED,
            "models": [model.to_dict() for model in self.models],
        }
