"""What an export must keep before anything of it is written: the accuracy budget, and the time asked for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg.atomic import write_text
from edgeseg.errors import AccuracyGateError, LatencyGateError
from edgeseg.export.candidates import Trial
from edgeseg.export.plan import rejected_path


def accuracy_gate(destination: Path, chosen: Trial, trials: Sequence[Trial], report: bytes) -> None:
    """Stop where no candidate keeps the budget.

    Raises:
        AccuracyGateError: None does; the report was left beside ``destination``.
    """
    if chosen.passed:
        # Of earlier exports, by either name: auto may have chosen another than was asked for.
        for place in (destination, chosen.candidate.draft.destination):
            rejected_path(place).unlink(missing_ok=True)
        return
    rejected = rejected_path(destination)
    write_text(rejected, report.decode())
    every = {file: faults for trial in trials for file, faults in trial.faults.items()}
    found = "; ".join(f"{file}: {fault}" for file, some in every.items() for fault in some)
    raise AccuracyGateError(
        destination,
        expected="an artifact that is as good as its Keras model, within the budget",
        found=found,
        next_step=f"No bundle was written; {rejected} holds all figures and all that was tried. For "
        "int8, try more and more varied --calibration-samples, more --qat-steps, or --precision fp16; or "
        "allow more with --max-drop and --max-class-drop.",
    )


def latency_gate(destination: Path, chosen: Trial) -> None:
    """Stop, with nothing written, where the fastest within the accuracy budget is too slow.

    Raises:
        LatencyGateError: It is.
    """
    if not chosen.passed or chosen.is_fast_enough:
        return
    candidate, options = chosen.candidate, chosen.candidate.plan.options
    others = (
        "a smaller input size or a lighter model ('edgeseg models' shows what each costs)"
        if options.precision == "auto"
        else "--precision auto, a smaller input size or a lighter model"
    )
    raise LatencyGateError(
        destination,
        expected=f"a median inference of at most {options.max_latency_ms:g} ms on this machine",
        found=f"{chosen.median_ms:.2f} ms, with {candidate.preferred.threads} threads, of {candidate.name}, "
        "the fastest within the accuracy budget",
        next_step=f"Nothing was written. Try {others}; or allow more with --max-latency, --max-drop or "
        "--max-class-drop.",
    )
