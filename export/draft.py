"""A bundle in the making: its files run as they will in the car, before anything is on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeseg.bundle import Bundle
from edgeseg.export.artifacts import Artifact
from edgeseg.export.describe import Origin, manifest_of
from edgeseg.export.measure import compare_with_keras, loaded
from edgeseg.export.parity import Comparison, Reference
from edgeseg.export.plan import Plan
from edgeseg.export.progress import Stage
from edgeseg.runtimes.tensorrt.graph_check import refuse_known_bad
from edgeseg.segmenter import Segmenter


@dataclass(frozen=True)
class Tried:
    """A model file, and how it did beside Keras in ``runtime``."""

    artifact: Artifact
    runtime: str
    comparison: Comparison


@dataclass(frozen=True)
class Draft:
    """What is known of a bundle before its files: where it goes, what was asked for, what it comes from."""

    destination: Path
    plan: Plan
    origin: Origin

    @contextmanager
    def opened(self, artifacts: Sequence[Artifact]) -> Iterator[dict[str, Segmenter]]:
        """The files, loaded by the runtime that the target prefers of those installed, by file name."""
        draft = manifest_of(self.destination.stem, self.plan, self.origin, artifacts, {})
        members = {name: data for artifact in artifacts for name, data in artifact.members.items()}
        with loaded(
            Bundle(self.destination, draft, draft.label_set(), members), self_test=False
        ) as segmenters:
            yield segmenters

    def tried(self, artifact: Artifact, reference: Reference, stage: Stage) -> Tried:
        """One file beside Keras.

        Raises:
            EngineBuildError: The target builds an engine of it, and TensorRT is known to refuse the graph.
        """
        if self.plan.target.builds_engine:
            refuse_known_bad(artifact.file, artifact.data)
        with self.opened([artifact]) as segmenters:
            segmenter = segmenters[artifact.file]
            return Tried(artifact, segmenter.runtime_name, compare_with_keras(reference, segmenter, stage))
