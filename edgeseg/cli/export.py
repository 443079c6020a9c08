"""``edgeseg export``: a Keras model to a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.cli.export_options import (
    CalibrationOption,
    CheckpointArgument,
    DataOption,
    DlaOption,
    FormatOption,
    JsonOption,
    LabelsOption,
    MaxClassDropOption,
    MaxDropOption,
    MaxLatencyOption,
    MeasureOption,
    NameOption,
    OutOption,
    OutputOption,
    PrecisionOption,
    QatStepsOption,
    SamplesOption,
    SizeOption,
    SplitOption,
    TargetOption,
)
from edgeseg.cli.options import ChannelOrderOption, PixelScaleOption
from edgeseg.export import defaults

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.export.foreign import Foreign
    from edgeseg.export.pipeline import ExportResult
    from edgeseg.export.plan import ExportOptions


def export(
    checkpoint: CheckpointArgument,
    target: TargetOption = defaults.TARGET,
    precision: PrecisionOption = None,
    format_: FormatOption = None,
    measure: MeasureOption = True,
    output: OutputOption = defaults.OUTPUT,
    data: DataOption = None,
    split: SplitOption = None,
    samples: SamplesOption = defaults.SAMPLES,
    calibration_samples: CalibrationOption = defaults.CALIBRATION_SAMPLES,
    max_drop: MaxDropOption = defaults.MAX_DROP_POINTS,
    max_class_drop: MaxClassDropOption = defaults.MAX_CLASS_DROP_POINTS,
    max_latency: MaxLatencyOption = None,
    qat_steps: QatStepsOption = defaults.QAT_STEPS,
    out: OutOption = defaults.OUT,
    name: NameOption = None,
    pixel_scale: PixelScaleOption = None,
    channel_order: ChannelOrderOption = None,
    size: SizeOption = None,
    labels: LabelsOption = None,
    dla: DlaOption = False,
    json_: JsonOption = False,
) -> None:
    """Convert a model for its target, and prove on real images that nothing was lost."""
    from edgeseg.cli.console import parse_size
    from edgeseg.export.foreign import Foreign
    from edgeseg.export.plan import ExportOptions
    from edgeseg.training.data.labels_file import read_labels

    options = ExportOptions(
        target=target,
        format=format_,
        measure=measure,
        precision=precision,
        output=output,
        max_drop_points=max_drop,
        max_class_drop_points=max_class_drop,
        max_latency_ms=max_latency,
        qat_steps=qat_steps,
        split=split,
        samples=samples,
        calibration_samples=calibration_samples,
        out=out,
        name=name,
        dla=dla,
        foreign=Foreign(
            pixel_scale,
            parse_size(size) if size else None,
            read_labels(labels, labels.stem) if labels else None,
            channel_order,
        ),
    )
    result = _exported(checkpoint, data, options, json_)
    _print_end(result, checkpoint, data, options.foreign)


def _exported(checkpoint: Path, data: str | None, options: ExportOptions, json_: bool) -> ExportResult:
    """The export, with its tables printed whether or not it passes its gates."""
    from edgeseg.cli.console import print_json, progress_bar
    from edgeseg.cli.export_tables import print_attempts, print_bundle, print_trials
    from edgeseg.export.attempts import Attempt
    from edgeseg.export.candidates import Trial
    from edgeseg.export.pipeline import export_model

    attempts: list[Attempt] = []
    trials: list[tuple[Sequence[Trial], Trial]] = []
    try:
        result = export_model(
            checkpoint,
            data,
            options,
            progress_bar,
            attempts.append,
            lambda tried, chosen: trials.append((tried, chosen)),
        )
    finally:
        if not json_:
            print_attempts(attempts)
            for tried, chosen in trials:
                print_trials(tried, chosen)
    if json_:
        print_json(result.manifest.model_dump(mode="json"))
    else:
        print_bundle(result.manifest)
    return result


def _print_end(result: ExportResult, checkpoint: Path, data: str | None, foreign: Foreign) -> None:
    import shlex

    from edgeseg.cli.console import done, note
    from edgeseg.cli.export_tables import print_dla

    print_dla(result)
    for text in [*result.notes, result.manifest.build.note]:
        note(text)
    verify = ["edgeseg", "verify", str(result.path), "--against", str(checkpoint)]
    verify += ["--data", data] if data else []
    verify += ["--pixel-scale", foreign.pixel_scale] if foreign.pixel_scale else []
    verify += ["--channel-order", foreign.channel_order] if foreign.channel_order else []
    done(result.path, shlex.join(verify))
