"""What ``edgeseg export`` shows: the bundle, what was tried for it, the ways to int8, the DLA."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.bundle.manifest import Manifest, Parity
    from edgeseg.export.attempts import Attempt
    from edgeseg.export.candidates import Trial
    from edgeseg.export.pipeline import ExportResult


def print_bundle(manifest: Manifest) -> None:
    from edgeseg.cli.console import print_table
    from edgeseg.tables import points

    sizes = {member.file: member.size for member in manifest.members}
    rows = [
        (
            model.file,
            f"{sum(sizes[name] for name in model.members) / 1e6:.2f}",
            f"{100 * model.beside_keras.agreement:.3f}",
            points(model.beside_keras.keras_miou),
            points(model.beside_keras.miou),
            f"{model.beside_keras.drop_points:+.2f}",
            _worst_class(model.beside_keras),
        )
        for model in manifest.models
    ]
    versions = ", ".join(f"{name} {version}" for name, version in manifest.runtime.verified_with.items())
    samples = manifest.models[0].beside_keras.samples
    print_table(
        f"{manifest.name}: {samples} samples through {versions}, beside Keras",
        ("file", "MB", "same %", "Keras", "mIoU", "drop", "most lost"),
        rows,
    )


def print_trials(trials: Sequence[Trial], chosen: Trial) -> None:
    """What was tried for the bundle on this machine, and what became of it; nothing where nothing was timed
    and nothing chosen."""
    from edgeseg.cli.console import print_table

    if len(trials) < 2 and chosen.median_ms is None:
        return
    rows = []
    for trial in trials:
        comparison = trial.preferred
        rows.append(
            (
                trial.candidate.precision,
                trial.candidate.format,
                f"{sum(artifact.size for artifact in trial.candidate.artifacts) / 1e6:.2f}",
                f"{100 * comparison.agreement:.3f}",
                f"{comparison.drop_points:+.2f}",
                "{} {:+.2f}".format(*comparison.worst_class),
                "n/a" if trial.median_ms is None else f"{trial.median_ms:.2f}",
                trial.verdict(chosen),
            )
        )
    print_table(
        f"Tried on this machine, {trials[0].candidate.preferred.threads} threads, one inference",
        ("precision", "format", "MB", "same %", "drop", "most lost", "median ms", ""),
        rows,
    )


def print_attempts(attempts: list[Attempt]) -> None:
    """What was tried to bring the model to int8, where the first way was not enough."""
    from edgeseg.cli.console import print_table

    if not any(attempt.faults for attempt in attempts):
        return
    rows = [
        (
            attempt.format,
            attempt.rung,
            attempt.settings.ranges,
            attempt.weights,
            str(len(attempt.settings.float_layers)),
            f"{attempt.file.artifact.size / 1e6:.2f}",
            f"{attempt.drop_points:+.2f}",
            f"{attempt.gain_points:+.2f}",
            "{} {:+.2f}".format(*attempt.worst_class),
            f"{attempt.seconds / 60:.1f}",
            "over the budget" if attempt.faults else "kept",
        )
        for attempt in attempts
    ]
    print_table(
        "Ways to int8 that were tried",
        (
            "format",
            "",
            "ranges",
            "weights",
            "in float",
            "MB",
            "drop",
            "gained",
            "most lost",
            "minutes",
            "budget",
        ),
        rows,
    )


def print_dla(result: ExportResult) -> None:
    from edgeseg.cli.console import console, done
    from edgeseg.export.dla import PROMISES_NOTHING
    from edgeseg.export.plan import dla_plan_path

    if not result.dla_plans:
        return
    for file, plan in result.dla_plans.items():
        console.print(f"DLA:     {file}: {plan.summary()}", markup=False, soft_wrap=True)
        for operation, count, change in plan.grouped():
            console.print(f"         {count}× {operation}: {change}", markup=False, soft_wrap=True)
    console.print(f"Note:    {PROMISES_NOTHING}", markup=False, soft_wrap=True)
    done(dla_plan_path(result.path))


def _worst_class(parity: Parity) -> str:
    drops = {name: drop for name, drop in parity.class_drop_points.items() if drop is not None}
    worst = max(drops, key=drops.__getitem__)
    return f"{worst} {drops[worst]:+.2f}" if drops[worst] > 0 else "none"
