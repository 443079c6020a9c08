"""``edgeseg export``: a Keras model to a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import PixelScaleOption
from edgeseg.export import defaults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.bundle.manifest import Manifest, Parity
    from edgeseg.export.candidates import Trial
    from edgeseg.export.ladder import Attempt
    from edgeseg.export.pipeline import ExportResult


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A .keras file, for instance RUN/weights/best.keras.")],
    target: Annotated[str, typer.Option(help="Hardware: arm, x86 or jetson.")] = defaults.TARGET,
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16, bf16 or int8.  [default: arm int8, x86 fp32, jetson fp16]"),
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format", help="litert, onnx or openvino.  [default: x86: the fastest here; else the target's]"
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="Without --format, try those that fit on this machine, where it is of the target's kind.",
        ),
    ] = True,
    output: Annotated[
        str, typer.Option(help="What the graph gives: mask, logits or mask+confidence.")
    ] = defaults.OUTPUT,
    data: Annotated[
        str | None,
        typer.Option(help="Dataset to calibrate and measure on.  [default: the one trained on]"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split that accuracy is measured on.  [default: the one the run was validated on]"),
    ] = None,
    samples: Annotated[int, typer.Option(help="Samples of it at most, spread evenly.")] = defaults.SAMPLES,
    calibration_samples: Annotated[
        int, typer.Option(help="Training images that int8 is calibrated on, spread evenly.")
    ] = defaults.CALIBRATION_SAMPLES,
    max_drop: Annotated[
        float, typer.Option(help="Points of mIoU that the model may lose; over it, exit 5 and no bundle.")
    ] = defaults.MAX_DROP_POINTS,
    max_class_drop: Annotated[
        float, typer.Option(help="Points of IoU that any class may lose, likewise.")
    ] = defaults.MAX_CLASS_DROP_POINTS,
    out: Annotated[
        Path, typer.Option(help="Folder for the bundle, or the bundle itself (NAME.edgeseg).")
    ] = defaults.OUT,
    name: Annotated[
        str | None,
        typer.Option(help="The bundle's name, where --out is a folder.  [default: MODEL-TARGET-PRECISION]"),
    ] = None,
    pixel_scale: PixelScaleOption = None,
    size: Annotated[
        str | None, typer.Option(help="Input size, HxW, where another package's model leaves it open.")
    ] = None,
    dla: Annotated[
        bool,
        typer.Option("--dla", help="For jetson: say which layers would leave a DLA, and why."),
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the manifest as JSON.")] = False,
) -> None:
    """Convert a model for its target, and prove on real images that nothing was lost."""
    import shlex

    from edgeseg.cli.console import console, done, parse_size, print_json, progress_bar
    from edgeseg.export.foreign import Foreign
    from edgeseg.export.pipeline import export_model
    from edgeseg.export.plan import ExportOptions

    options = ExportOptions(
        target=target,
        format=format_,
        measure=measure,
        precision=precision,
        output=output,
        max_drop_points=max_drop,
        max_class_drop_points=max_class_drop,
        split=split,
        samples=samples,
        calibration_samples=calibration_samples,
        out=out,
        name=name,
        dla=dla,
        foreign=Foreign(pixel_scale, parse_size(size) if size else None),
    )
    attempts: list[Attempt] = []
    try:
        result = export_model(checkpoint, data, options, progress_bar, attempts.append)
    finally:
        if not json_:
            _print_attempts(attempts)
    if json_:
        print_json(result.manifest.model_dump(mode="json"))
    else:
        _print(result.manifest)
        if len(result.trials) > 1:
            _print_trials(result.trials, result.chosen)
    _print_dla(result)
    for note in [*result.notes, result.manifest.build.note]:
        if note:
            console.print(f"Note:    {note}", markup=False, soft_wrap=True)
    verify = ["edgeseg", "verify", str(result.path), "--against", str(checkpoint)]
    verify += ["--data", str(data), "--pixel-scale", pixel_scale] if pixel_scale else []
    done(result.path, shlex.join(verify))


def _print(manifest: Manifest) -> None:
    from edgeseg.cli.console import print_table
    from edgeseg.tables import points

    sizes = {member.file: member.size for member in manifest.members}
    rows = [
        (
            model.file,
            f"{sum(sizes[name] for name in model.members) / 1e6:.2f}",
            f"{100 * model.parity.agreement:.3f}",
            points(model.parity.keras_miou),
            points(model.parity.miou),
            f"{model.parity.drop_points:+.2f}",
            _worst_class(model.parity),
        )
        for model in manifest.models
    ]
    versions = ", ".join(f"{name} {version}" for name, version in manifest.runtime.verified_with.items())
    print_table(
        f"{manifest.name}: {manifest.models[0].parity.samples} samples through {versions}, beside Keras",
        ("file", "MB", "same %", "Keras", "mIoU", "drop", "most lost"),
        rows,
    )


def _print_trials(trials: Sequence[Trial], chosen: Trial) -> None:
    """The formats that were tried for the bundle, the chosen one marked."""
    from edgeseg.cli.console import print_table

    rows = []
    for trial in trials:
        told = trial.to_dict()
        rows.append(
            (
                told["format"],
                f"{told['bytes'] / 1e6:.2f}",
                f"{100 * told['agreement']:.3f}",
                f"{told['drop_points']:+.2f}",
                "n/a" if told["median_ms"] is None else f"{told['median_ms']:.2f}",
                "chosen" if trial is chosen else "not within the budget" if told["faults"] else "",
            )
        )
    print_table(
        f"Formats tried on this machine, {trials[0].candidate.preferred.threads} threads, one inference",
        ("format", "MB", "same %", "drop", "median ms", ""),
        rows,
    )


def _print_attempts(attempts: list[Attempt]) -> None:
    """What was tried to bring the model to int8, where the first way was not enough."""
    from edgeseg.cli.console import print_table

    if not any(attempt.faults for attempt in attempts):
        return
    rows = [
        (
            attempt.format,
            attempt.rung,
            attempt.settings.ranges,
            "yes" if attempt.equalised else "no",
            str(len(attempt.settings.float_layers)),
            f"{attempt.file.artifact.size / 1e6:.2f}",
            f"{attempt.drop_points:+.2f}",
            "{} {:+.2f}".format(*attempt.worst_class),
            "over the budget" if attempt.faults else "kept",
        )
        for attempt in attempts
    ]
    print_table(
        "Ways to int8 that were tried",
        ("format", "", "ranges", "equalised", "layers in float", "MB", "drop", "most lost", "budget"),
        rows,
    )


def _print_dla(result: ExportResult) -> None:
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
