"""Manifest and report of an export: what was made, from what, with what, and how good it is."""

from __future__ import annotations

import hashlib
import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from typing import TYPE_CHECKING, Any

from edgeseg import __version__
from edgeseg.bundle.manifest import (
    Build,
    Calibration,
    Input,
    LabelSpec,
    Lineage,
    Manifest,
    ModelFile,
    OutputSpec,
    Parity,
    RuntimeSpec,
)
from edgeseg.export.artifacts import Artifact
from edgeseg.export.converter import Signature
from edgeseg.export.dla import DlaPlan, report_entry
from edgeseg.export.golden import MIN_AGREEMENT
from edgeseg.export.parity import MIN_FP32_AGREEMENT
from edgeseg.export.plan import Plan, notes_of
from edgeseg.export.targets import Target
from edgeseg.labels import LabelSet
from edgeseg.runtimes import RUNTIMES

if TYPE_CHECKING:
    from edgeseg.export.candidates import Trial

_TOOLS = (
    "ai-edge-litert", "keras", "nncf", "numpy", "onnx", "onnxruntime", "onnxslim", "opencv-python-headless",
    "openvino", "tensorflow", "tensorflow-cpu", "tf2onnx",
)  # fmt: skip

_MEASURED_ON = {"dataset", "split", "samples", "fingerprint"}

UNMEASURED = Parity(
    runtime="", samples=0, agreement=0, keras_miou=0, miou=0, drop_points=0, class_drop_points={},
    max_drop_points=0,
)  # fmt: skip
"""Stands in a draft until the draft's own models have been run."""


@dataclass(frozen=True)
class Origin:
    """Where an export comes from: the model, its classes and graph, and what int8 was calibrated on."""

    lineage: Lineage
    labels: LabelSet
    signature: Signature
    calibration: Calibration | None


def manifest_of(
    name: str,
    plan: Plan,
    origin: Origin,
    artifacts: Sequence[Artifact],
    parities: Mapping[str, Parity],
) -> Manifest:
    """The manifest without its members, which the writer fills in. ``parities`` are by file name."""
    signature = origin.signature
    return Manifest(
        name=name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        target=plan.target.name,
        precision=plan.precisions[0],
        input=Input(height=signature.height, width=signature.width),
        output=OutputSpec(
            kind=signature.output,
            dtype="float32" if signature.output == "logits" else "uint8",
            shape=signature.output_shape,
        ),
        labels=LabelSpec.model_validate(origin.labels.to_dict()),
        models=tuple(
            ModelFile(
                file=artifact.file,
                weights=artifact.weights_file,
                format=artifact.format,
                precision=artifact.precision,
                parity=parities.get(artifact.file, UNMEASURED),
                golden_min_agreement=MIN_AGREEMENT[artifact.precision],
            )
            for artifact in artifacts
        ),
        members=(),
        runtime=RuntimeSpec(names=plan.format.runtimes, verified_with=_verified_with(parities)),
        lineage=origin.lineage,
        calibration=origin.calibration,
        build=build_state(name, plan.target),
    )


def report_of(
    manifest: Manifest,
    chosen: Trial,
    trials: Sequence[Trial],
    dla_plans: Mapping[str, DlaPlan],
) -> bytes:
    """``report.json``: every score of every artifact beside Keras, the gate, the conditions, DLA plans."""
    plan, artifacts, faults = chosen.candidate.plan, chosen.candidate.artifacts, chosen.faults
    calibration = manifest.calibration
    values: dict[str, Any] = {
        "name": manifest.name,
        "created": manifest.created,
        "target": manifest.target,
        "output": manifest.output.kind,
        "measured_on": manifest.models[0].beside_keras.model_dump(include=_MEASURED_ON),
        "gate": {
            "passed": chosen.passed,
            "max_drop_points": plan.options.max_drop_points,
            "max_class_drop_points": plan.options.max_class_drop_points,
            "max_latency_ms": plan.options.max_latency_ms,
            "min_fp32_agreement": MIN_FP32_AGREEMENT,
            "faults": {file: list(found) for file, found in faults.items() if found},
        },
        "models": {
            artifact.file: {
                "precision": artifact.precision,
                "size": artifact.size,
                "sha256": hashlib.sha256(artifact.data).hexdigest(),
                "runtime": next(m.beside_keras.runtime for m in manifest.models if m.file == artifact.file),
                **chosen.comparisons[artifact.file].to_dict(),
            }
            for artifact in artifacts
        },
        "formats_tried": [trial.to_dict(chosen) for trial in trials],
        "quantisation": {
            t.candidate.format: t.candidate.climb.to_dict() for t in trials if t.candidate.climb
        },
        "runtime_versions": manifest.runtime.verified_with,
        "calibration": calibration and calibration.model_dump(mode="json"),
        "lineage": manifest.lineage.model_dump(mode="json"),
        "notes": list(notes_of(plan, calibration)),
        **report_entry(dla_plans),
    }
    return (json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def tool_versions() -> dict[str, str]:
    """The versions of everything that had a hand in an export."""
    versions = {"edgeseg": __version__, "python": platform.python_version()}
    for tool in _TOOLS:
        try:
            versions[tool] = metadata.version(tool)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _verified_with(parities: Mapping[str, Parity]) -> dict[str, str]:
    names = sorted({parity.runtime for parity in parities.values()})
    return {name: RUNTIMES[name].version() or "unknown" for name in names}


def build_state(name: str, target: Target) -> Build:
    """What is still to be built on the device, and how."""
    if not target.builds_engine:
        return Build(state="complete")
    command = shlex.join(["edgeseg", "build", f"{name}.edgeseg"])
    return Build(
        state="engine-not-built",
        note="No TensorRT engine is in this bundle: engines are tied to GPU and TensorRT version. "
        f"'{command}' builds it on the device and keeps it there; else the first run does.",
    )
