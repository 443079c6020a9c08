"""A Keras checkpoint to a verified bundle: convert, run, compare, gate, write."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.atomic import write_text
from edgeseg.bundle import Manifest
from edgeseg.bundle.manifest import GOLDEN_NAME, REPORT_NAME, Calibration
from edgeseg.errors import BundleError, ConversionError
from edgeseg.export.alternatives import plans_to_try
from edgeseg.export.artifacts import Conversion
from edgeseg.export.attempts import Climb, OnAttempt, tell_nobody
from edgeseg.export.candidates import Candidate, Trial, choose, reason, timed
from edgeseg.export.converter import Signature, signature_of
from edgeseg.export.describe import Origin, manifest_of, report_of
from edgeseg.export.dla import DlaPlan, dla_plan, markdown
from edgeseg.export.draft import Draft, Tried
from edgeseg.export.gates import accuracy_gate, latency_gate
from edgeseg.export.golden import golden_archive, golden_frames
from edgeseg.export.int8_page import write_page
from edgeseg.export.ladder import Ladder
from edgeseg.export.measure import keras_reference
from edgeseg.export.parity import Budget, Reference, faults_of
from edgeseg.export.plan import ExportOptions, Plan, dla_plan_path, notes_of, plans_of
from edgeseg.export.progress import Stage, silent
from edgeseg.export.selection import CalibrationSet, calibration_items, calibration_set, refuse_overlap
from edgeseg.export.source import Source, open_source
from edgeseg.export.writer import replacing, write_bundle


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


OnTrials = Callable[[Sequence[Trial], Trial], None]
"""Called with the trials and the chosen one."""


def _tell_nobody(_trials: Sequence[Trial], _chosen: Trial) -> None:
    """An :data:`OnTrials` that tells nobody."""


def export_model(
    checkpoint: Path,
    data: str | None,
    options: ExportOptions,
    stage: Stage = silent,
    on_attempt: OnAttempt = tell_nobody,
    on_trials: OnTrials = _tell_nobody,
) -> ExportResult:
    """Export a ``.keras`` file to a bundle, and prove that the bundle does what the model does.

    Args:
        checkpoint: A ``.keras`` file.
        data: The dataset that calibrates and measures; by default the one the model was trained on.
        options: What to export.
        stage: Told about each long step.
        on_attempt: Told about each way to int8 that was tried.
        on_trials: Told what every format and precision measured, before the gates.

    Raises:
        UsageError: An option, the checkpoint's path, a missing package, or the place to write to.
        DataError: The checkpoint is damaged, or the dataset unreadable or of other classes.
        ConversionError: A converter failed, or gave a graph that TensorRT is known to refuse.
        AccuracyGateError: An artifact differs too much; no bundle is left, only ``NAME.rejected.json``.
        LatencyGateError: The fastest within the budget takes more than was asked for; nothing is left.
    """
    plans, notes = plans_to_try(plans_of(options))
    source = open_source(checkpoint, data, options.split, stage, options.foreign)
    with ExitStack() as opened:
        measured = _measured(plans, source, stage, on_attempt, opened)
    on_trials(measured.trials, measured.chosen)
    return _written(measured, source, [*notes, *measured.notes], stage)


@dataclass(frozen=True)
class _Measured:
    """All candidates with what they measured, the chosen one, its ``golden.npz``, and notes.

    ``asked`` is the bundle's place by the name that was asked for, which may say ``auto``.
    """

    asked: Path
    trials: Sequence[Trial]
    chosen: Trial
    golden: bytes
    calibration: Calibration | None
    notes: Sequence[str]


def _measured(
    plans: Sequence[Plan], source: Source, stage: Stage, on_attempt: OnAttempt, opened: ExitStack
) -> _Measured:
    """Every candidate converted, compared with Keras and timed; they stay open as long as ``opened``."""
    options = plans[0].options
    signature = signature_of(source.model, plans[0].output)
    # Before the slow part, for it may be that nothing can be written there.
    places = [plan.destination(source.name) for plan in plans]
    asked = plans[0].destination(source.name, options.precision)
    calibration = _calibrate(plans, source, signature, stage)
    described = calibration.described if calibration else None
    origin = Origin(source.lineage, source.labels, signature, None)
    making = _Making(
        Conversion(source.model, plans[0].output, stage),
        keras_reference(source, options.samples, stage),
        calibration.frames if calibration else None,
        stage,
        on_attempt,
    )
    drafts = [
        Draft(place, plan, replace(origin, calibration=described) if "int8" in plan.precisions else origin)
        for place, plan in zip(places, plans, strict=True)
    ]
    candidates, failed = _candidates(drafts, making, opened)
    frames = golden_frames(source.dataset, source.measured_on.split, signature.height, signature.width)
    trials = timed([_judged(candidate, options.budget) for candidate in candidates], frames, stage)
    chosen = choose(trials)
    segmenters = chosen.candidate.segmenters.values()
    masks = {s.model.precision: np.stack([s.predict(frame) for frame in frames]) for s in segmenters}
    golden = golden_archive(frames, masks)
    climbs = [candidate.climb for candidate in candidates if candidate.climb]
    notes = [*failed, *(note for climb in climbs for note in climb.notes), reason(trials, chosen)]
    return _Measured(asked, trials, chosen, golden, described, notes)


def _written(measured: _Measured, source: Source, notes: Sequence[str], stage: Stage) -> ExportResult:
    """The chosen candidate as a bundle, where it passes the gates."""
    chosen, trials = measured.chosen, measured.trials
    draft, artifacts = chosen.candidate.draft, chosen.candidate.artifacts
    plan, options = draft.plan, draft.plan.options
    latency_gate(draft.destination, chosen)
    dla_plans = {a.file: dla_plan(a.data) for a in artifacts} if options.dla else {}
    parities = {
        f.artifact.file: f.comparison.parity(f.runtime, options.budget, source.measured_on)
        for f in chosen.candidate.files
    }
    manifest = manifest_of(draft.destination.stem, plan, draft.origin, artifacts, parities)
    report = report_of(manifest, chosen, trials, dla_plans)
    # Named as was asked for: where none passes, none was chosen.
    place = draft.destination if chosen.passed else measured.asked
    climbs = {t.candidate.format: t.candidate.climb for t in trials if t.candidate.climb}
    if measured.calibration and climbs:
        write_page(place, climbs, options.budget, measured.calibration)
    accuracy_gate(measured.asked, chosen, trials, report)
    members = {name: data for a in artifacts for name, data in a.members.items()}
    members |= {GOLDEN_NAME: measured.golden, REPORT_NAME: report}
    replaced = replacing(place)
    with stage("Writing and testing the bundle") as advance:
        manifest = write_bundle(place, manifest, members)
        advance(1, 1)
    told = [*notes_of(plan, draft.origin.calibration), *notes, *replaced]
    if dla_plans:
        write_text(dla_plan_path(place), markdown(place.stem, dla_plans))
    return ExportResult(place, manifest, chosen, trials, [note for note in told if note], dla_plans)


def _calibrate(
    plans: Sequence[Plan], source: Source, signature: Signature, stage: Stage
) -> CalibrationSet | None:
    if not any("int8" in plan.precisions for plan in plans):
        return None
    split, options = source.train_split, plans[0].options
    items = calibration_items(source.dataset, split, options.calibration_samples)
    refuse_overlap(source.dataset, (split, items), (source.measured_on.split, options.samples))
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
    auto = len({draft.plan.precisions for draft in drafts}) > 1
    for draft in drafts:
        plan = draft.plan
        try:
            files, climb = making.files(draft)
            artifacts = [tried.artifact for tried in files]
            segmenters = opened.enter_context(draft.opened(artifacts))
        except (ConversionError, BundleError) as error:
            if not candidates and draft is drafts[-1]:
                raise
            what = f"{plan.format.name} {plan.precisions[0]}" if auto else f"The format {plan.format.name}"
            notes.append(f"{what} was left out: {error}")
        else:
            candidates.append(Candidate(draft, files, segmenters, climb))
    return candidates, notes


def _judged(candidate: Candidate, budget: Budget) -> Trial:
    faults = {f.artifact.file: faults_of(f.comparison, f.artifact.precision, budget) for f in candidate.files}
    return Trial(candidate, faults)
