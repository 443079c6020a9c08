"""A Keras checkpoint to a verified bundle: convert, run, compare, gate, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from edgeseg.atomic import write_text
from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.manifest import GOLDEN_NAME, REPORT_NAME, Parity
from edgeseg.errors import AccuracyGateError, BundleError, ConversionError
from edgeseg.export.artifacts import Artifact, Conversion
from edgeseg.export.candidates import Candidate, Trial, choose, formats_to_try, reason, timed
from edgeseg.export.converter import Signature, signature_of
from edgeseg.export.describe import Origin, manifest_of, report_of
from edgeseg.export.dla import DlaPlan, dla_plan, markdown
from edgeseg.export.golden import golden_archive, golden_frames
from edgeseg.export.measure import compare_with_keras, loaded
from edgeseg.export.parity import faults_of
from edgeseg.export.plan import ExportOptions, Plan, dla_plan_path, notes_of, plan_of, rejected_path
from edgeseg.export.progress import Stage, silent
from edgeseg.export.selection import CalibrationSet, calibration_set, refuse_overlap
from edgeseg.export.source import Source, open_source
from edgeseg.export.writer import write_bundle
from edgeseg.runtimes.tensorrt.graph_check import refuse_known_bad


@dataclass(frozen=True)
class ExportResult:
    """A bundle that was written: its folder, its manifest, the trial of every format, and notes.

    ``trials`` are more than one where the fastest was looked for; ``chosen`` is that of the bundle.
    ``dla_plans`` are by file name; empty where none was asked for.
    """

    path: Path
    manifest: Manifest
    chosen: Trial
    trials: Sequence[Trial]
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
    formats, notes = formats_to_try(plan)
    source = open_source(checkpoint, data, options.split, stage, options.foreign)
    destination = plan.destination(source.name)
    replaces = destination.exists()
    signature = signature_of(source.model, plan.output)
    calibration = _calibrate(plan, source, signature, stage)
    described = calibration.described if calibration else None
    origin = Origin(source.lineage, source.labels, signature, described)
    conversion = Conversion(source.model, plan.output, calibration.frames if calibration else None, stage)
    with ExitStack() as opened:
        plans = [replace(plan, format=kind) for kind in formats]
        candidates, failed = _candidates(destination, plans, origin, conversion, opened)
        frames = golden_frames(source.dataset, source.measured_on.split, signature.height, signature.width)
        trials = timed(_compared(candidates, source, options, stage), frames, stage)
        chosen = choose(trials)
        segmenters = chosen.candidate.segmenters.values()
        golden = golden_archive(frames, {s.model.precision: s.predict for s in segmenters})

    plan, artifacts = chosen.candidate.plan, chosen.candidate.artifacts
    dla_plans = {a.file: dla_plan(a.data) for a in artifacts} if options.dla else {}
    parities = _parities(chosen, source, options)
    manifest = manifest_of(destination.stem, plan, origin, artifacts, parities)
    report = report_of(manifest, chosen, trials, dla_plans)
    _gate(destination, chosen, trials, report)
    members = {name: data for a in artifacts for name, data in a.members.items()}
    members |= {GOLDEN_NAME: golden, REPORT_NAME: report}
    with stage("Writing and testing the bundle") as advance:
        manifest = write_bundle(destination, manifest, members, _self_test)
        advance(1, 1)
    notes = [
        *notes_of(plan, described.samples if described else None),
        *notes,
        *failed,
        reason(trials, chosen),
    ]
    if replaces:
        notes.append(f"The older bundle {destination} was replaced.")
    if dla_plans:
        write_text(dla_plan_path(destination), markdown(destination.stem, dla_plans))
    return ExportResult(destination, manifest, chosen, trials, [note for note in notes if note], dla_plans)


def _calibrate(plan: Plan, source: Source, signature: Signature, stage: Stage) -> CalibrationSet | None:
    if "int8" not in plan.precisions:
        return None
    split, count = source.train_split, plan.options.calibration_samples
    refuse_overlap(source.dataset, (split, count), (source.measured_on.split, plan.options.samples))
    with stage("Reading calibration images") as advance:
        return calibration_set(source.dataset, split, count, signature.height, signature.width, advance)


def _candidates(
    destination: Path, plans: Sequence[Plan], origin: Origin, conversion: Conversion, opened: ExitStack
) -> tuple[list[Candidate], list[str]]:
    """The model in each plan's format, loaded; and notes of formats that it cannot be brought to.

    Raises:
        ConversionError, BundleError: It can be brought to none.
    """
    candidates, notes = [], []
    for plan in plans:
        try:
            artifacts = conversion.artifacts(plan.format, plan.precisions)
            if plan.target.builds_engine:
                for artifact in artifacts:
                    refuse_known_bad(artifact.file, artifact.data)
            draft = _in_memory(
                destination, manifest_of(destination.stem, plan, origin, artifacts, {}), artifacts
            )
            segmenters = opened.enter_context(loaded(draft, self_test=False))
        except (ConversionError, BundleError) as error:
            if not candidates and plan is plans[-1]:
                raise
            notes.append(f"The format {plan.format.name} was left out: {error}")
        else:
            candidates.append(Candidate(plan, artifacts, segmenters))
    return candidates, notes


def _in_memory(destination: Path, draft: Manifest, artifacts: Sequence[Artifact]) -> Bundle:
    """The bundle as it will be, for the runtimes; it is not on the disk before it has passed."""
    members = {name: data for a in artifacts for name, data in a.members.items()}
    return Bundle(destination, draft, draft.label_set(), members)


def _compared(
    candidates: Sequence[Candidate], source: Source, options: ExportOptions, stage: Stage
) -> list[Trial]:
    """Every file of every candidate beside Keras, on the same samples."""
    segmenters = {file: s for candidate in candidates for file, s in candidate.segmenters.items()}
    comparisons = compare_with_keras(source, segmenters, options.samples, stage)
    return [
        Trial(
            candidate,
            {a.file: comparisons[a.file] for a in candidate.artifacts},
            {
                a.file: faults_of(comparisons[a.file], a.precision, options.max_drop_points)
                for a in candidate.artifacts
            },
        )
        for candidate in candidates
    ]


def _parities(chosen: Trial, source: Source, options: ExportOptions) -> dict[str, Parity]:
    return {
        file: chosen.comparisons[file].parity(
            source.labels, segmenter.runtime_name, options.max_drop_points, source.measured_on
        )
        for file, segmenter in chosen.candidate.segmenters.items()
    }


def _gate(destination: Path, chosen: Trial, trials: Sequence[Trial], report: bytes) -> None:
    rejected = rejected_path(destination)
    if chosen.passed:
        rejected.unlink(missing_ok=True)
        return
    write_text(rejected, report.decode())
    every = {file: faults for trial in trials for file, faults in trial.faults.items()}
    found = "; ".join(f"{file}: {fault}" for file, some in every.items() for fault in some)
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
