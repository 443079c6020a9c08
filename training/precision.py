"""What pays off on this machine: number format, compiler, worker processes."""

from __future__ import annotations

import os
from pathlib import Path

import keras

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}


def resolve_precision(precision: str) -> str:
    """The Keras dtype policy for ``auto``, or what was asked for.

    A GPU gains from float16 with loss scaling. A CPU gains from bfloat16 only with instructions for it
    (measured with U-Net Mini: 1.5 times faster); without them it is emulated and slower than float32.
    """
    if precision != "auto":
        return precision
    if has_accelerator():
        return "mixed_float16"
    return "mixed_bfloat16" if _cpu_flags() & _BFLOAT16_FLAGS else "float32"


def jit_compile() -> bool | str:
    """What ``Model.compile`` takes: XLA makes TensorFlow's training on a CPU slower, not faster."""
    on_tensorflow_cpu = keras.backend.backend() == "tensorflow" and not has_accelerator()
    return False if on_tensorflow_cpu else "auto"


def default_workers() -> int:
    """Processes that augment: none where the model trains on the CPU and would wait for the same cores."""
    return min(8, max(1, (os.cpu_count() or 1) - 1)) if has_accelerator() else 0


def has_accelerator() -> bool:
    return bool(keras.distribution.list_devices("gpu"))


def _cpu_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return set()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
