"""A Keras checkpoint to a verified bundle: convert, run, compare, gate, write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.atomic import write_text
from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.manifest import GOLDEN_NAME, REPORT_NAME
from edgeseg.errors import AccuracyGateError, BundleError, ConversionError
from edgeseg.export.artifacts import Conversion
from edgeseg.export.candidates import Candidate, Trial, choose, formats_to_try, reason, timed
from edgeseg.export.converter import Signature, signature_of
from edgeseg.export.describe import Origin, manifest_of, report_of
from edgeseg.export.dla import DlaPlan, dla_plan, markdown
from edgeseg.export.draft import Draft, Tried
from edgeseg.export.golden import golden_archive, golden_frames
from edgeseg.export.int8_page import write_page
from edgeseg.export.ladder import Climb, Ladder, OnAttempt, tell_nobody
from edgeseg.export.measure import keras_reference, loaded
from edgeseg.export.parity import Budget, Reference, faults_of
from edgeseg.export.plan import ExportOptions, Plan, dla_plan_path, notes_of, plan_of, rejected_path
from edgeseg.export.progress import Stage, silent
from edgeseg.export.selection import CalibrationSet, calibration_items, calibration_set, refuse_overlap
from edgeseg.export.source import Source, open_source
from edgeseg.export.writer import write_bundle


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
    making = _Making(
        Conversion(source.model, plan.output, stage),
        keras_reference(source, options.samples, stage),
        calibration.frames if calibration else None,
        stage,
        on_attempt,
    )
    drafts = [Draft(destination, replace(plan, format=kind), origin) for kind in formats]
    with ExitStack() as opened:
        candidates, failed = _candidates(drafts, making, opened)
        frames = golden_frames(source.dataset, source.measured_on.split, signature.height, signature.width)
        trials = timed([_judged(candidate, options.budget) for candidate in candidates], frames, stage)
        chosen = choose(trials)
        segmenters = chosen.candidate.segmenters.values()
        golden = golden_archive(frames, {s.model.precision: s.predict for s in segmenters})

    plan, artifacts = chosen.candidate.plan, chosen.candidate.artifacts
    dla_plans = {a.file: dla_plan(a.data) for a in artifacts} if options.dla else {}
    parities = {
        f.artifact.file: f.comparison.parity(f.runtime, options.budget, source.measured_on)
        for f in chosen.candidate.files
    }
    manifest = manifest_of(destination.stem, plan, origin, artifacts, parities)
    report = report_of(manifest, chosen, trials, dla_plans)
    if described:
        climbs = {t.candidate.name: t.candidate.climb for t in trials if t.candidate.climb}
        write_page(destination, climbs, options.budget, described)
    _gate(destination, chosen, trials, report)
    members = {name: data for a in artifacts for name, data in a.members.items()}
    members |= {GOLDEN_NAME: golden, REPORT_NAME: report}
    with stage("Writing and testing the bundle") as advance:
        manifest = write_bundle(destination, manifest, members, _self_test)
        advance(1, 1)
    notes = [
        *notes_of(plan, described),
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
    split = source.train_split
    items = calibration_items(source.dataset, split, plan.options.calibration_samples)
    refuse_overlap(source.dataset, (split, items), (source.measured_on.split, plan.options.samples))
    with stage("Reading calibration images") as advance:
        return calibration_set(source.dataset, split, items, signature.height, signature.width, advance)


@dataclass(frozen=True)
class _Making:
    """What the files of every format are made and compared with; ``frames`` calibrate int8."""

    conversion: Conversion
    reference: Reference
    frames: npt.NDArray[np.uint8] | None
    stage: Stage
    on_attempt: OnAttempt

    def files(self, draft: Draft) -> tuple[tuple[Tried, ...], Climb | None]:
        """The file of each precision beside Keras, and how the int8 one came about."""
        climb, files = None, []
        for precision in draft.plan.precisions:
            if precision == "int8" and self.frames is not None:
                ladder = Ladder(
                    self.conversion, draft, self.reference, self.frames, self.stage, self.on_attempt
                )
                climb = ladder.climb()
                files.append(climb.chosen.file)
            else:
                artifact = self.conversion.in_float(draft.plan.format, precision)
                files.append(draft.tried(artifact, self.reference, self.stage))
        return tuple(files), climb


def _candidates(
    drafts: Sequence[Draft], making: _Making, opened: ExitStack
) -> tuple[list[Candidate], list[str]]:
    """The model in each draft's format, loaded; and notes of formats that it cannot be brought to.

    Raises:
        ConversionError, BundleError: It can be brought to none.
    """
    candidates, notes = [], []
    for draft in drafts:
        plan = draft.plan
        try:
            files, climb = making.files(draft)
            artifacts = [tried.artifact for tried in files]
            segmenters = opened.enter_context(draft.opened(artifacts))
        except (ConversionError, BundleError) as error:
            if not candidates and draft is drafts[-1]:
                raise
            notes.append(f"The format {plan.format.name} was left out: {error}")
        else:
            candidates.append(Candidate(plan, files, segmenters, climb))
    return candidates, notes


def _judged(candidate: Candidate, budget: Budget) -> Trial:
    faults = {f.artifact.file: faults_of(f.comparison, f.artifact.precision, budget) for f in candidate.files}
    return Trial(candidate, faults)


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
        next_step=f"No bundle was written; {rejected} holds all figures and all that was tried. For "
        "int8, try more and more varied --calibration-samples, or --precision fp16; or allow more with "
        "--max-drop and --max-class-drop.",
    )


def _self_test(bundle: Bundle) -> None:
    with loaded(bundle, self_test=True):
        pass
