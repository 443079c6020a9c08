"""A Keras checkpoint to a verified bundle: convert, run, compare, gate, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from edgeseg.atomic import write_text
from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.manifest import GOLDEN_NAME, REPORT_NAME
from edgeseg.errors import AccuracyGateError
from edgeseg.export.artifacts import Artifact, Converter
from edgeseg.export.converter import Signature, require_installed, signature_of
from edgeseg.export.describe import Origin, report_of
from edgeseg.export.draft import Draft, Tried
from edgeseg.export.golden import golden_archive, golden_frames
from edgeseg.export.int8_page import write_page
from edgeseg.export.ladder import Climb, Ladder, OnAttempt, tell_nobody
from edgeseg.export.measure import keras_reference, loaded
from edgeseg.export.parity import Comparison, faults_of
from edgeseg.export.plan import ExportOptions, Plan, notes_of, plan_of, rejected_path
from edgeseg.export.progress import Stage, silent
from edgeseg.export.selection import CalibrationSet, calibration_items, calibration_set, refuse_overlap
from edgeseg.export.source import Source, open_source
from edgeseg.export.writer import write_bundle


@dataclass(frozen=True)
class ExportResult:
    """A bundle that was written: its folder, its manifest, the comparisons by file name, and notes."""

    path: Path
    manifest: Manifest
    comparisons: Mapping[str, Comparison]
    notes: Sequence[str]


def export_model(
    checkpoint: Path,
    data: str | None,
    options: ExportOptions,
    stage: Stage = silent,
    on_attempt: OnAttempt = tell_nobody,
) -> ExportResult:
    """Export a ``.keras`` file to a bundle, and prove that the bundle does what the model does.

    Args:
        checkpoint: A ``.keras`` file.
        data: The dataset that calibrates and measures; by default the one the model was trained on.
        options: What to export.
        stage: Told about each long step.
        on_attempt: Told about each way to int8 that was tried.

    Raises:
        UsageError: An option, the checkpoint's path, a missing package, or the place to write to.
        DataError: The checkpoint is damaged, or the dataset unreadable or of other classes.
        ConversionError: A converter failed.
        AccuracyGateError: An artifact differs too much; no bundle is left, only ``NAME.rejected.json``.
    """
    plan = plan_of(options)
    require_installed(f"exporting to {plan.format.name}", plan.format.packages)
    source = open_source(checkpoint, data, options.split, stage, options.foreign)
    destination = plan.destination(source.name)
    replaces = destination.exists()
    signature = signature_of(source.model, plan.output)
    calibration = _calibrate(plan, source, signature, stage)
    described = calibration.described if calibration else None
    draft = Draft(destination, plan, Origin(source.lineage, source.labels, signature, described))
    reference = keras_reference(source, options.samples, stage)
    converter = Converter(source.model, plan.format, plan.output, stage)
    climb = None
    if calibration:
        climb = Ladder(converter, draft, reference, calibration.frames, stage, on_attempt).climb()
    files = [
        climb.chosen.file
        if climb and precision == "int8"
        else draft.tried(converter.in_float(precision), reference, stage)
        for precision in plan.precisions
    ]
    manifest = _write(draft, source, files, climb, stage)
    notes = notes_of(plan, described)
    if replaces:
        notes.append(f"The older bundle {destination} was replaced.")
    return ExportResult(destination, manifest, {f.artifact.file: f.comparison for f in files}, notes)


def _calibrate(plan: Plan, source: Source, signature: Signature, stage: Stage) -> CalibrationSet | None:
    if "int8" not in plan.precisions:
        return None
    split = source.train_split
    items = calibration_items(source.dataset, split, plan.options.calibration_samples)
    refuse_overlap(source.dataset, (split, items), (source.measured_on.split, plan.options.samples))
    with stage("Reading calibration images") as advance:
        return calibration_set(source.dataset, split, items, signature.height, signature.width, advance)


def _write(
    draft: Draft, source: Source, files: Sequence[Tried], climb: Climb | None, stage: Stage
) -> Manifest:
    """Judge the files, and write the bundle where all of them keep the budget."""
    plan, destination, budget = draft.plan, draft.destination, draft.plan.options.budget
    parities = {f.artifact.file: f.comparison.parity(f.runtime, budget, source.measured_on) for f in files}
    artifacts = [f.artifact for f in files]
    manifest = draft.manifest(artifacts, parities)
    faults = {f.artifact.file: faults_of(f.comparison, f.artifact.precision, budget) for f in files}
    report = report_of(manifest, plan, files, faults, climb)
    if climb and draft.origin.calibration:
        write_page(destination, climb, budget, draft.origin.calibration)
    _gate(destination, faults, report)
    members = {a.file: a.data for a in artifacts}
    members |= {GOLDEN_NAME: _golden(draft, source, artifacts), REPORT_NAME: report}
    with stage("Writing and testing the bundle") as advance:
        written = write_bundle(destination, manifest, members, _self_test)
        advance(1, 1)
    return written


def _golden(draft: Draft, source: Source, artifacts: Sequence[Artifact]) -> bytes:
    spec = draft.origin.signature
    frames = golden_frames(source.dataset, source.measured_on.split, spec.height, spec.width)
    with ExitStack() as stack:
        opened = {a.precision: stack.enter_context(draft.opened(a)).predict for a in artifacts}
        return golden_archive(frames, opened)


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
        next_step=f"No bundle was written; {rejected} holds all figures, and all that was tried. For int8, "
        "try more and more varied --calibration-samples, or --precision fp16; or allow more with --max-drop "
        "and --max-class-drop.",
    )


def _self_test(bundle: Bundle) -> None:
    with loaded(bundle, self_test=True):
        pass
