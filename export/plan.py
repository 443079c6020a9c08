"""What an export is asked for, checked before anything slow begins."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from edgeseg.bundle.manifest import MANIFEST_NAME, Calibration, Output, Precision
from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.export import defaults
from edgeseg.export.foreign import Foreign
from edgeseg.export.parity import Budget
from edgeseg.export.targets import AUTO, Format, Target, target_named

SUFFIX = ".edgeseg"
OUTPUTS: tuple[Output, ...] = get_args(Output)
FEW_CALIBRATION_SAMPLES = 100


@dataclass(frozen=True)
class ExportOptions:
    """What ``edgeseg export`` is asked for.

    Args:
        target: One of ``TARGETS``.
        format: ``onnx``, ``litert`` or ``openvino``; by default the one that is fastest here, where the
            target's machines are of this kind, and the target's usual one elsewhere.
        measure: Measure which is fastest; otherwise take the usual one.
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``; by default the target's. ``auto``: the one that
            is fastest here within the budget, over all formats that fit.
        output: ``mask``, ``logits`` or ``mask+confidence``.
        max_drop_points: mIoU that an artifact may lose against Keras at label resolution, in points.
        max_class_drop_points: IoU that any class may lose, likewise.
        max_latency_ms: The median of an inference may take so many milliseconds on this machine.
        qat_steps: Steps of fine-tuning under the rounding of int8, where cheaper ways were not enough; 0 goes
            without.
        split: The split to measure accuracy and parity on; by default the one the run was validated on.
        samples: At most so many samples of it, spread evenly.
        calibration_samples: Images of the run's training split that int8 is calibrated on.
        out: The folder for the bundle, or the bundle itself where it ends in ``.edgeseg``.
        name: The bundle's name; by default from model, target and precision. Not where ``out`` names it.
        dla: Whether to say which layers would leave a Jetson's DLA.
        foreign: What is known of a model that edgeseg did not train.
    """

    target: str = defaults.TARGET
    format: str | None = None
    measure: bool = True
    precision: str | None = None
    output: str = defaults.OUTPUT
    max_drop_points: float = defaults.MAX_DROP_POINTS
    max_class_drop_points: float = defaults.MAX_CLASS_DROP_POINTS
    max_latency_ms: float | None = None
    qat_steps: int = defaults.QAT_STEPS
    split: str | None = None
    samples: int = defaults.SAMPLES
    calibration_samples: int = defaults.CALIBRATION_SAMPLES
    out: Path = defaults.OUT
    name: str | None = None
    dla: bool = False
    foreign: Foreign = field(default_factory=Foreign)

    @property
    def budget(self) -> Budget:
        return Budget(self.max_drop_points, self.max_class_drop_points)

    @property
    def asking_for_times(self) -> tuple[str, ...]:
        """The options, as they are typed, that need times of this machine."""
        auto = ("--precision auto",) if self.precision == AUTO else ()
        return auto if self.max_latency_ms is None else (*auto, f"--max-latency {self.max_latency_ms:g}")

    @property
    def wants_times(self) -> bool:
        return bool(self.asking_for_times)


@dataclass(frozen=True)
class Plan:
    """Options with every name looked up.

    ``candidates`` are the formats that fit, the usual one first; ``format`` is that of the bundle, or of one
    candidate for it. ``precisions`` are those of the bundle's files, in order.
    """

    options: ExportOptions
    target: Target
    candidates: tuple[Format, ...]
    format: Format
    precisions: tuple[Precision, ...]
    output: Output

    def destination(self, model: str, precision: str | None = None) -> Path:
        """Where the bundle of a model of that name goes.

        Args:
            model: The model's name.
            precision: What the bundle's name says of its precision; by default the first.

        Raises:
            UsageError: Something stands there that is no bundle.
        """
        asked = self.options.format
        usual = asked in (None, self.target.formats[0].name)
        parts = [model, self.target.name, *([] if usual else [asked]), precision or self.precisions[0]]
        return bundle_path(self.options.out, self.options.name, "-".join(parts))


def plans_of(options: ExportOptions) -> tuple[Plan, ...]:
    """Look up and check what was asked for: a plan for each precision, which is one unless it is ``auto``.

    Raises:
        UnknownNameError, UsageError: A name or a number that does not exist or fit.
    """
    target = target_named(options.target)
    _check_numbers(options)
    _check_names(options, target)
    output = _output_named(options.output)
    if options.precision == AUTO:
        asked = target.precisions_of(options.format)
    else:
        asked = target.bundle_precisions(options.precision)[:1]
    plans = []
    for precision in asked:
        candidates = target.candidates(options.format, precision)
        precisions = target.bundle_precisions(precision)
        plans.append(Plan(options, target, candidates, candidates[0], precisions, output))
    return tuple(plans)


def _check_names(options: ExportOptions, target: Target) -> None:
    refuse_two_names(options.out, options.name)
    if options.dla and not target.has_dla:
        raise UsageError(
            "--dla",
            expected="--target jetson, whose larger modules have a DLA",
            found=f"--target {target.name}",
            next_step="Leave --dla out, or export for jetson.",
        )


def _check_numbers(options: ExportOptions) -> None:
    _check_points("--max-drop", options.max_drop_points)
    _check_points("--max-class-drop", options.max_class_drop_points)
    _check_count("--samples", options.samples, 1)
    _check_count("--calibration-samples", options.calibration_samples, 1)
    _check_count("--qat-steps", options.qat_steps, 0)
    # Not `latency <= 0`: what is not a number must not pass.
    if options.max_latency_ms is not None and not 0 < options.max_latency_ms < math.inf:
        raise UsageError(
            "--max-latency",
            expected="more than 0 milliseconds",
            found=str(options.max_latency_ms),
            next_step="Correct it, or leave it out.",
        )


def bundle_path(out: Path, name: str | None, usual: str) -> Path:
    """Where a bundle goes: ``out`` itself where it ends in ``.edgeseg``, else in it under a name.

    Raises:
        UsageError: Something stands there that is no bundle.
    """
    if out.suffix != SUFFIX:
        out = out / f"{(name or usual).removesuffix(SUFFIX)}{SUFFIX}"
    if out.exists() and not (out / MANIFEST_NAME).is_file():
        raise UsageError(
            out,
            expected="nothing, or an older bundle to replace",
            found="something that is no bundle",
            next_step="Move it away, or name another --out.",
        )
    return out


def refuse_two_names(out: Path, name: str | None) -> None:
    """Refuse ``--name`` beside an ``--out`` that is a bundle's name already.

    Raises:
        UsageError: Both were given.
    """
    if name and out.suffix == SUFFIX:
        raise UsageError(
            f"--name {name}",
            expected=f"an --out that is a folder, for {out} is a name already",
            found="both",
            next_step="Leave one of them out.",
        )


def rejected_path(destination: Path) -> Path:
    """Where the report of an export that failed its gate goes: beside the bundle that was not written."""
    return destination.with_name(f"{destination.stem}.rejected.json")


def dla_plan_path(destination: Path) -> Path:
    """Where the page with the DLA plan goes: beside the bundle, which is a closed set of files."""
    return destination.with_name(f"{destination.stem}.dla.md")


def notes_of(plan: Plan, calibration: Calibration | None) -> list[str]:
    """What a user of the bundle should know, for the report and the terminal."""
    notes = [plan.target.note]
    if calibration and calibration.samples < FEW_CALIBRATION_SAMPLES:
        notes.append(
            f"int8 was calibrated on {calibration.samples} images; {FEW_CALIBRATION_SAMPLES} or more varied "
            "ones give steadier ranges."
        )
    if calibration and calibration.absent_classes:
        names = ", ".join(calibration.absent_classes)
        notes.append(
            f"int8 was calibrated without a pixel of {names}: the split {calibration.split!r} has none."
        )
    return notes


def _output_named(name: str) -> Output:
    for known in OUTPUTS:
        if name == known:
            return known
    raise UnknownNameError.of("output", name, OUTPUTS)


def _check_points(argument: str, points: float) -> None:
    # Not `points < 0`: what is not a number must not pass.
    if not 0 <= points < math.inf:
        raise UsageError(
            argument, expected="0 or more points of IoU", found=str(points), next_step="Correct it."
        )


def _check_count(argument: str, count: int, least: int) -> None:
    if count < least:
        raise UsageError(argument, expected=f"{least} or more", found=str(count), next_step="Correct it.")
