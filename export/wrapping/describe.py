"""Manifest and report of a wrapped model: what was wrapped, how it was read, and how like itself it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edgeseg.bundle.manifest import (
    Input,
    LabelSpec,
    Lineage,
    Manifest,
    ModelFile,
    OutputSpec,
    RecordedAccuracy,
    RuntimeSpec,
    Wrapping,
)
from edgeseg.export.describe import build_state, tool_versions
from edgeseg.export.golden import MIN_AGREEMENT as GOLDEN_AGREEMENT
from edgeseg.export.parity import Comparison
from edgeseg.export.selection import MeasuredOn
from edgeseg.export.targets import Format, Target
from edgeseg.export.wrapping.reading import Asked, Reading, described
from edgeseg.export.wrapping.tensors import RawModel
from edgeseg.labels import LabelSet
from edgeseg.runtimes import RUNTIMES

MIN_AGREEMENT = 0.999
"""The wrapped file computes what the bare one does: below this share of equal pixels, it was read wrongly."""

_UNKNOWN = "unknown"
_NO_KERAS_FILE = "none"


@dataclass(frozen=True)
class Wrapped:
    """A foreign file and what it became; ``data`` is the file with the contract around it."""

    raw: RawModel
    asked: Asked
    reading: Reading
    labels: LabelSet
    target: Target
    kind: Format
    data: bytes

    @property
    def file(self) -> str:
        """The model's name in the bundle."""
        return f"model.{self.raw.precision}{self.raw.path.suffix.lower()}"


@dataclass(frozen=True)
class Proof:
    """The wrapped file beside the bare one.

    Args:
        frames: On how many frames.
        agreement: The share of their pixels, 0 to 1, with the same class.
        classes: How many classes are in the golden masks.
        runtime: What ran the wrapped file.
        measured_on, comparison: Scores, where labelled data was given.
    """

    frames: int
    agreement: float
    classes: int
    runtime: str
    measured_on: MeasuredOn | None = None
    comparison: Comparison | None = None

    @property
    def accuracy(self) -> RecordedAccuracy | None:
        if self.comparison is None or self.measured_on is None:
            return None
        return RecordedAccuracy(
            miou=self.comparison.artifact_miou,
            bare_miou=self.comparison.keras_miou,
            samples=self.comparison.artifact.samples,
            **vars(self.measured_on),
        )

    def notes(self) -> Iterator[str]:
        """What a user of the bundle should know."""
        if self.comparison is None:
            yield (
                "The golden frames are drawn and no accuracy was measured: give --data to take real ones "
                "and to score them."
            )
        if self.classes == 1:
            yield (
                "The model gives one class for all golden frames, so that agreeing on them says little: give "
                "--data with images like those it was trained on."
            )


UNPROVED = Proof(0, 0.0, 0, "")
"""Stands in a draft until the draft's own model has been run."""


def manifest_of(name: str, wrapped: Wrapped, proof: Proof) -> Manifest:
    """The manifest without its members, which the writer fills in."""
    raw, given = wrapped.raw, wrapped.reading.input
    return Manifest(
        name=name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        target=wrapped.target.name,
        precision=raw.precision,
        input=Input(height=given.height, width=given.width),
        output=OutputSpec(kind="mask", dtype="uint8", shape=(1, given.height, given.width)),
        labels=LabelSpec.model_validate(wrapped.labels.to_dict()),
        models=(
            ModelFile(
                file=wrapped.file,
                format=raw.format,
                precision=raw.precision,
                golden_min_agreement=GOLDEN_AGREEMENT[raw.precision],
                wrapping=_wrapping(wrapped, proof),
            ),
        ),
        members=(),
        runtime=RuntimeSpec(
            names=wrapped.kind.runtimes,
            verified_with={name: RUNTIMES[name].version() or _UNKNOWN for name in (proof.runtime,) if name},
        ),
        lineage=Lineage(
            model=raw.path.stem,
            recipe_hash=_UNKNOWN,
            dataset=_UNKNOWN,
            dataset_fingerprint=_UNKNOWN,
            keras_file_sha256=_NO_KERAS_FILE,
            tools=tool_versions(),
        ),
        build=build_state(name, wrapped.target),
    )


def report_of(manifest: Manifest, proof: Proof) -> bytes:
    """``report.json``: what was wrapped, the comparison, the scores, the conditions."""
    labels, model = manifest.label_set(), manifest.models[0]
    scores = proof.comparison.artifact.to_dict(labels) if proof.comparison else None
    values: dict[str, Any] = {
        "name": manifest.name,
        "created": manifest.created,
        "target": manifest.target,
        "output": manifest.output.kind,
        "models": {model.file: model.model_dump(mode="json")},
        "classes_in_golden_masks": proof.classes,
        "scores": scores,
        "runtime_versions": manifest.runtime.verified_with,
        "lineage": manifest.lineage.model_dump(mode="json"),
        "notes": list(proof.notes()),
    }
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _wrapping(wrapped: Wrapped, proof: Proof) -> Wrapping:
    raw, given, made = wrapped.raw, wrapped.reading.input, wrapped.reading.output
    return Wrapping(
        file=raw.path.name,
        sha256=hashlib.sha256(raw.data).hexdigest(),
        pixel_scale=given.pixels.name,
        channel_order=given.order,
        input=described(given.tensor, given.layout),
        output_name=made.tensor.name,
        output=f"{described(made.tensor, made.layout)}, {made.kind}",
        output_layout=wrapped.asked.output_layout,
        threshold=wrapped.asked.threshold,
        runtime=raw.runtime,
        frames=proof.frames,
        agreement=proof.agreement,
        min_agreement=MIN_AGREEMENT,
        accuracy=proof.accuracy,
    )
