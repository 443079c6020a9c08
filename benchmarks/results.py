"""What a benchmark found, as values: written as JSON, Markdown, a plot and a page by their own modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeseg.benchmarks.host import NOT_MEASURED, Host
from edgeseg.benchmarks.latency import Latency
from edgeseg.bundle.manifest import Parity
from edgeseg.evaluation import Evaluation
from edgeseg.labels import LabelSet

NOT_MEASURED_HERE = {
    "power": "no power sensor is read",
    "temperature": "no temperature sensor is read",
    "throttling": "clock and throttle events are not read; drifting medians of the rounds hint at them",
    "accelerators": "inference ran on the CPU; nothing is said about a GPU, a DLA or an NPU",
    "camera": "exposure, transfer and driver come before the path that is timed",
}
"""What this benchmark does not cover on any machine, and why. The JSON says so, and never writes a zero."""


@dataclass(frozen=True)
class Subject:
    """The bundle that was measured. ``size_mib`` is its model's, weights and all."""

    name: str
    path: str
    target: str
    model: str
    digest: str
    size_mib: float
    height: int
    width: int
    build: str


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

    def to_dict(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "split": self.split, **self.evaluation.to_dict(self.labels)}


@dataclass(frozen=True)
class BundleResult:
    """One line of the table. ``exported`` is what the manifest recorded at export, on what it names."""

    subject: Subject
    latency: Latency
    accuracy: Accuracy | None
    exported: Parity

    def to_dict(self) -> dict[str, Any]:
        return {
            **vars(self.subject),
            **vars(self.latency.loaded),
            **self.latency.to_dict(),
            "accuracy": self.accuracy.to_dict() if self.accuracy else NOT_MEASURED,
            "recorded_at_export": self.exported.model_dump(mode="json"),
            **dict.fromkeys(NOT_MEASURED_HERE, NOT_MEASURED),
        }


@dataclass(frozen=True)
class BenchmarkResult:
    """A whole run. ``frames`` and ``options`` are plain values, as they go into the JSON."""

    created: str
    command: str
    host: Host
    frames: dict[str, Any]
    options: dict[str, Any]
    bundles: tuple[BundleResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "frames": self.frames,
            "options": self.options,
            "bundles": [bundle.to_dict() for bundle in self.bundles],
        }
