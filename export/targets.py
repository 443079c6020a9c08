"""Hardware that a model can be exported for: which file it gets, what may run it, at which precisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgeseg.bundle.manifest import Precision
from edgeseg.errors import UnknownNameError, UsageError


@dataclass(frozen=True)
class Format:
    """A kind of model file.

    Args:
        name: What ``--format`` calls it.
        suffix: The file's suffix, which is also the format's name in the manifest.
        runtimes: Runtimes that can run it on the target, best first.
        packages: What an export imports to make the file and to run it, as in ``import NAME``.
        qdq: For ONNX, which of ``RECIPES`` makes its int8 file.
    """

    name: str
    suffix: Literal["tflite", "onnx"]
    runtimes: tuple[str, ...]
    packages: tuple[str, ...]
    qdq: str = ""


@dataclass(frozen=True)
class Target:
    """A kind of hardware; ``edgeseg export --target NAME``.

    Args:
        name: Short name.
        hardware: What it stands for, for people.
        formats: Formats it can be given, the usual one first.
        precisions: Precisions it gains from or can run, for people to choose from.
        default_precision: The precision where none is asked for.
        builds_engine: Whether the device still has to build an engine from the file.
        with_int8: Further precisions that an int8 bundle for this target carries after int8.
        note: What its users should know.
    """

    name: str
    hardware: str
    formats: tuple[Format, ...]
    precisions: tuple[Precision, ...]
    default_precision: Precision
    note: str
    builds_engine: bool = False
    with_int8: tuple[Precision, ...] = ()

    def format(self, name: str | None) -> Format:
        """The format of that name, or the target's usual one.

        Raises:
            UsageError: The target cannot be given that format.
        """
        for known in self.formats:
            if name in (None, known.name):
                return known
        raise UsageError(
            f"--format {name}",
            expected=f"{' or '.join(f.name for f in self.formats)} for the target {self.name!r}",
            found=repr(name),
            next_step="Leave --format out, or choose another --target.",
        )

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
            expected=f"{' or '.join(self.precisions)} for the target {self.name!r}",
            found=repr(asked),
            next_step="Choose one of these, or another --target.",
        )


_ONNX_PACKAGES = ("tensorflow", "tf2onnx", "onnx", "onnxslim", "onnxruntime")
_LITERT = Format("litert", "tflite", ("litert",), ("tensorflow", "ai_edge_litert"))
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
            (_ONNX, _LITERT),
            ("fp32", "fp16", "int8"),
            "fp32",
            "No runtime wins for every model: export both formats and run 'edgeseg benchmark' on that PC. "
            "x86 CPUs compute fp16 files in fp32, so fp16 saves space there and no time.",
        ),
        Target(
            "jetson",
            "NVIDIA Jetson with TensorRT 10.3 or later (JetPack 6.1)",
            (_TENSORRT,),
            ("fp16", "int8"),
            "fp16",
            "Parity and accuracy in this bundle were measured with ONNX Runtime on the exporting machine; "
            "TensorRT computes the same files with other kernels.",
            builds_engine=True,
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
