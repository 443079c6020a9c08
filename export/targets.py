"""Hardware that a model can be exported for: which file it gets, what may run it, at which precisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseg.bundle.manifest import FileFormat, Precision
from edgeseg.errors import UnknownNameError, UsageError

AUTO = "auto"
"""In place of a precision: the one that is fastest within the budget."""


@dataclass(frozen=True)
class Format:
    """A kind of model file.

    Args:
        name: What ``--format`` calls it.
        stored: The format's name in the manifest.
        runtimes: Runtimes that can run it on the target, best first.
        packages: What an export imports to make the file and to run it, as in ``import NAME``.
        qdq: For ONNX, which of ``RECIPES`` makes its int8 file.
        precisions: Those that there are files of.
        int8_packages: What int8 needs further.
    """

    name: str
    stored: FileFormat
    runtimes: tuple[str, ...]
    packages: tuple[str, ...]
    qdq: str = ""
    precisions: tuple[Precision, ...] = ("fp32", "fp16", "int8")
    int8_packages: tuple[str, ...] = ()

    def needs(self, precisions: Sequence[Precision]) -> tuple[str, ...]:
        """What an export of these precisions imports."""
        return (*self.packages, *(self.int8_packages if "int8" in precisions else ()))


@dataclass(frozen=True)
class Target:
    """A kind of hardware; ``edgeseg export --target NAME``.

    Args:
        name: Short name.
        hardware: What it stands for, for people.
        formats: Formats it can be given, the usual one first.
        precisions: Precisions it gains from or can run, for people to choose from.
        default_precision: The precision where none is asked for.
        builds_engine: Whether the device still has to build a TensorRT engine from the file.
        has_dla: Whether some of it has a DLA, for which a plan can be made.
        with_int8: Further precisions that an int8 bundle for this target carries after int8.
        machines: Where an export can measure which format is fastest, as ``platform.machine()`` names them;
            empty where the first format is always taken.
        note: What its users should know.
    """

    name: str
    hardware: str
    formats: tuple[Format, ...]
    precisions: tuple[Precision, ...]
    default_precision: Precision
    note: str
    builds_engine: bool = False
    has_dla: bool = False
    with_int8: tuple[Precision, ...] = ()
    machines: tuple[str, ...] = ()

    def candidates(self, name: str | None, precision: Precision) -> tuple[Format, ...]:
        """The format of that name, or all that have files of the precision, the usual one first.

        Raises:
            UsageError: The target cannot be given that format, or the format has no such precision.
        """
        named = [self._format(name)] if name else self.formats
        fitting = tuple(known for known in named if precision in known.precisions)
        if not fitting:
            raise UsageError(
                f"--precision {precision}",
                expected=f"{' or '.join(named[0].precisions)} for --format {name}",
                found=repr(precision),
                next_step="Choose one of these, or leave --format out.",
            )
        return fitting

    def _format(self, name: str) -> Format:
        for known in self.formats:
            if name == known.name:
                return known
        raise UsageError(
            f"--format {name}",
            expected=f"{' or '.join(f.name for f in self.formats)} for the target {self.name!r}",
            found=repr(name),
            next_step="Leave --format out, or choose another --target.",
        )

    def precisions_of(self, name: str | None) -> tuple[Precision, ...]:
        """The target's precisions that the format of that name has, or that any of its formats has.

        Raises:
            UsageError: The target cannot be given that format.
        """
        named = [self._format(name)] if name else self.formats
        return tuple(p for p in self.precisions if any(p in known.precisions for known in named))

    def bundle_precisions(self, asked: str | None) -> tuple[Precision, ...]:
        """The precisions of a bundle's model files, the preferred one first.

        Raises:
            UsageError: The target does not have that precision.
        """
        for known in self.precisions:
            if (asked or self.default_precision) == known:
                return (known, *self.with_int8) if known == "int8" else (known,)
        raise UsageError(
            f"--precision {asked}",
            expected=f"{' or '.join((*self.precisions, AUTO))} for the target {self.name!r}",
            found=repr(asked),
            next_step="Choose one of these, or another --target.",
        )


_ONNX_PACKAGES = ("tensorflow", "tf2onnx", "onnx", "onnxslim", "onnxruntime")
_LITERT = Format("litert", "tflite", ("litert",), ("tensorflow", "ai_edge_litert"))
_OPENVINO = Format(
    "openvino",
    "openvino",
    ("openvino",),
    ("tensorflow", "tf2onnx", "onnx", "onnxslim", "openvino"),
    precisions=("fp32", "fp16", "bf16", "int8"),
    int8_packages=("nncf",),
)
_ONNX = Format("onnx", "onnx", ("onnx",), _ONNX_PACKAGES, qdq="onnxruntime")
_TENSORRT = Format("onnx", "onnx", ("tensorrt", "onnx"), _ONNX_PACKAGES, qdq="tensorrt")

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "arm",
            "Arm boards with a CPU or a LiteRT delegate",
            (_LITERT,),
            ("fp32", "fp16", "int8"),
            "int8",
            "int8 is the fast path of Arm CPUs; check its mIoU drop in report.json.",
        ),
        Target(
            "x86",
            "in-car PCs with an x86-64 CPU",
            (_ONNX, _LITERT, _OPENVINO),
            ("fp32", "fp16", "bf16", "int8"),
            "fp32",
            "No runtime wins for every model on every CPU: 'edgeseg benchmark' on that PC has the last word. "
            "fp16 files compute in fp32 there, so fp16 saves space and no time; bf16 is fast where the CPU "
            "has it, and computes in fp32 elsewhere.",
            machines=("x86_64", "AMD64"),
        ),
        Target(
            "jetson",
            "NVIDIA Jetson with TensorRT 10.3 or later (JetPack 6.1)",
            (_TENSORRT,),
            ("fp16", "int8"),
            "fp16",
            "Parity and accuracy in this bundle were measured on the exporting machine, by the runtime that "
            "report.json names; the Jetson's TensorRT computes the same files with other kernels.",
            builds_engine=True,
            has_dla=True,
            with_int8=("fp16",),
        ),
    )
}


def target_named(name: str) -> Target:
    """The target of that name.

    Raises:
        UnknownNameError: There is none; the message lists those there are.
    """
    if name not in TARGETS:
        raise UnknownNameError.of("target", name, TARGETS)
    return TARGETS[name]
