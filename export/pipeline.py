"""A Keras checkpoint to a verified bundle: convert, run, compare, gate, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.atomic import write_text
from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.manifest import GOLDEN_NAME, REPORT_NAME, Parity
from edgeseg.errors import AccuracyGateError
from edgeseg.export.artifacts import Artifact, make_artifacts
from edgeseg.export.converter import Signature, require_installed, signature_of
from edgeseg.export.describe import Origin, manifest_of, report_of
from edgeseg.export.dla import DlaPlan, dla_plan, markdown
from edgeseg.export.golden import golden_archive, golden_frames
from edgeseg.export.measure import compare_with_keras, loaded
from edgeseg.export.parity import Comparison, faults_of
from edgeseg.export.plan import ExportOptions, Plan, dla_plan_path, notes_of, plan_of, rejected_path
from edgeseg.export.progress import Stage, silent
from edgeseg.export.selection import CalibrationSet, calibration_set, refuse_overlap
from edgeseg.export.source import Source, open_source
from edgeseg.export.writer import write_bundle
from edgeseg.runtimes.tensorrt.graph_check import refuse_known_bad


@dataclass(frozen=True)
class ExportResult:
    """A bundle that was written: its folder, its manifest, the comparisons by file name, and notes.

    ``dla_plans`` are by file name; empty where none was asked for.
    """

    path: Path
    manifest: Manifest
    comparisons: Mapping[str, Comparison]
    notes: Sequence[str]
    dla_plans: Mapping[str, DlaPlan]


def export_model(
    checkpoint: Path, data: str | None, options: ExportOptions, stage: Stage = silent
) -> ExportResult:
    """Export a ``.keras`` file to a bundle, and prove that the bundle does what the model does.

    Args:
        checkpoint: A ``.keras`` file.
        data: The dataset that calibrates and measures; by default the one the model was trained on.
        options: What to export.
        stage: Told about each long step.

    Raises:
        UsageError: An option, the checkpoint's path, a missing package, or the place to write to.
        DataError: The checkpoint is damaged, or the dataset unreadable or of other classes.
        ConversionError: A converter failed, or gave a graph that TensorRT is known to refuse.
        AccuracyGateError: An artifact differs too much; no bundle is left, only ``NAME.rejected.json``.
    """
    plan = plan_of(options)
    require_installed(f"exporting to {plan.format.name}", plan.format.packages)
    source = open_source(checkpoint, data, options.split, stage, options.foreign)
    destination = plan.destination(source.name)
    replaces = destination.exists()
    signature = signature_of(source.model, plan.output)
    calibration = _calibrate(plan, source, signature, stage)
    frames = calibration.frames if calibration else None
    artifacts = make_artifacts(source.model, plan.format, plan.precisions, plan.output, frames, stage)
    if plan.target.builds_engine:
        for artifact in artifacts:
            refuse_known_bad(artifact.file, artifact.data)
    dla_plans = {a.file: dla_plan(a.data) for a in artifacts} if options.dla else {}
    described = calibration.described if calibration else None
    origin = Origin(source.lineage, source.labels, signature, described)
    draft = manifest_of(destination.stem, plan, origin, artifacts, {})
    measured = _measure(_in_memory(destination, draft, artifacts), source, options, stage)

    manifest = manifest_of(destination.stem, plan, origin, artifacts, measured.parities)
    faults = {
        a.file: faults_of(measured.comparisons[a.file], a.precision, options.max_drop_points)
        for a in artifacts
    }
    report = report_of(manifest, plan, artifacts, measured.comparisons, faults, dla_plans)
    _gate(destination, faults, report)
    members = {a.file: a.data for a in artifacts} | {GOLDEN_NAME: measured.golden, REPORT_NAME: report}
    with stage("Writing and testing the bundle") as advance:
        manifest = write_bundle(destination, manifest, members, _self_test)
        advance(1, 1)
    notes = notes_of(plan, described.samples if described else None)
    if replaces:
        notes.append(f"The older bundle {destination} was replaced.")
    if dla_plans:
        write_text(dla_plan_path(destination), markdown(destination.stem, dla_plans))
    return ExportResult(destination, manifest, measured.comparisons, notes, dla_plans)


@dataclass(frozen=True)
class _Measured:
    comparisons: Mapping[str, Comparison]
    parities: Mapping[str, Parity]
    golden: bytes


def _calibrate(plan: Plan, source: Source, signature: Signature, stage: Stage) -> CalibrationSet | None:
    if "int8" not in plan.precisions:
        return None
    split, count = source.train_split, plan.options.calibration_samples
    refuse_overlap(source.dataset, (split, count), (source.measured_on.split, plan.options.samples))
    with stage("Reading calibration images") as advance:
        return calibration_set(source.dataset, split, count, signature.height, signature.width, advance)


def _in_memory(destination: Path, draft: Manifest, artifacts: Sequence[Artifact]) -> Bundle:
    """The bundle as it will be, for the runtimes; it is not on the disk before it has passed."""
    return Bundle(destination, draft, draft.label_set(), {a.file: a.data for a in artifacts})


def _measure(draft: Bundle, source: Source, options: ExportOptions, stage: Stage) -> _Measured:
    spec = draft.manifest.input
    with loaded(draft, self_test=False) as segmenters:
        comparisons = compare_with_keras(source, segmenters, options.samples, stage)
        parities = {
            file: comparison.parity(
                source.labels, segmenters[file].runtime_name, options.max_drop_points, source.measured_on
            )
            for file, comparison in comparisons.items()
        }
        frames = golden_frames(source.dataset, source.measured_on.split, spec.height, spec.width)
        golden = golden_archive(frames, {s.model.precision: s.predict for s in segmenters.values()})
    return _Measured(comparisons, parities, golden)


def _gate(destination: Path, faults: Mapping[str, Sequence[str]], report: bytes) -> None:
    rejected = rejected_path(destination)
    if not any(faults.values()):
        rejected.unlink(missing_ok=True)
        return
    write_text(rejected, report.decode())
    found = "; ".join(f"{file}: {fault}" for file, some in faults.items() for fault in some)
    raise AccuracyGateError(
        destination,
        expected="an artifact that is as good as its Keras model, within the budget",
        found=found,
        next_step=f"No bundle was written; {rejected} holds all figures, per class too. For int8, try more "
        "and more varied --calibration-samples, or --precision fp16; or allow more with --max-drop.",
    )


def _self_test(bundle: Bundle) -> None:
    with loaded(bundle, self_test=True):
        pass
