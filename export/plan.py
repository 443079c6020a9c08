"""What an export is asked for, checked before anything slow begins."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from edgeseg.bundle.manifest import MANIFEST_NAME, Calibration, Output, Precision
from edgeseg.errors import UnknownNameError, UsageError
from edgeseg.export import defaults
from edgeseg.export.foreign import Foreign
from edgeseg.export.parity import Budget
from edgeseg.export.targets import Format, Target, target_named

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
        precision: ``fp32``, ``fp16``, ``bf16`` or ``int8``; by default the target's.
        output: ``mask``, ``logits`` or ``mask+confidence``.
        max_drop_points: mIoU that an artifact may lose against Keras at label resolution, in points.
        max_class_drop_points: IoU that any class may lose, likewise.
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

    def destination(self, model: str) -> Path:
        """Where the bundle of a model of that name goes.

        Raises:
            UsageError: Something stands there that is no bundle.
        """
        out = self.options.out
        if out.suffix != SUFFIX:
            asked = self.options.format
            usual = asked in (None, self.target.formats[0].name)
            parts = [model, self.target.name, *([] if usual else [asked]), self.precisions[0]]
            name = (self.options.name or "-".join(parts)).removesuffix(SUFFIX)
            out = out / f"{name}{SUFFIX}"
        if out.exists() and not (out / MANIFEST_NAME).is_file():
            raise UsageError(
                out,
                expected="nothing, or an older bundle to replace",
                found="something that is no bundle",
                next_step="Move it away, or name another --out.",
            )
        return out


def plan_of(options: ExportOptions) -> Plan:
    """Look up and check what was asked for.

    Raises:
        UnknownNameError, UsageError: A name or a number that does not exist or fit.
    """
    target = target_named(options.target)
    _check_points("--max-drop", options.max_drop_points)
    _check_points("--max-class-drop", options.max_class_drop_points)
    if options.name and options.out.suffix == SUFFIX:
        raise UsageError(
            f"--name {options.name}",
            expected=f"an --out that is a folder, for {options.out} is a name already",
            found="both",
            next_step="Leave one of them out.",
        )
    if options.dla and not target.has_dla:
        raise UsageError(
            "--dla",
            expected="--target jetson, whose larger modules have a DLA",
            found=f"--target {target.name}",
            next_step="Leave --dla out, or export for jetson.",
        )
    _check_count("--samples", options.samples)
    _check_count("--calibration-samples", options.calibration_samples)
    precisions = target.bundle_precisions(options.precision)
    candidates = target.candidates(options.format, precisions[0])
    return Plan(options, target, candidates, candidates[0], precisions, _output_named(options.output))


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
    if not points >= 0:
        raise UsageError(
            argument, expected="0 or more points of IoU", found=str(points), next_step="Correct it."
        )


def _check_count(argument: str, count: int) -> None:
    if count < 1:
        raise UsageError(argument, expected="1 or more", found=str(count), next_step="Correct it.")
