"""A bundle in the making: its files run as they will in the car, before anything is on the disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.manifest import Parity
from edgeseg.export.artifacts import Artifact
from edgeseg.export.describe import Origin, manifest_of
from edgeseg.export.measure import loaded
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

    def manifest(
        self, artifacts: Sequence[Artifact], parities: Mapping[str, Parity] | None = None
    ) -> Manifest:
        """The manifest of a bundle of these files; ``parities`` are by file name."""
        return manifest_of(self.destination.stem, self.plan, self.origin, artifacts, parities or {})

    @contextmanager
    def opened(self, artifacts: Sequence[Artifact]) -> Iterator[dict[str, Segmenter]]:
        """The files, loaded by the runtime that the target prefers of those installed, by file name."""
        draft = self.manifest(artifacts)
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
        total = len(reference.masks)
        with self.opened([artifact]) as opened, stage(f"Comparing {artifact.file} with Keras") as advance:
            segmenter = opened[artifact.file]
            comparison = reference.compare(segmenter.predict, lambda finished: advance(finished, total))
            return Tried(artifact, segmenter.runtime_name, comparison)
