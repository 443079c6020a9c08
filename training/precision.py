"""What pays off on this machine: number format, compiler, worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras

_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
_ACCELERATORS = ("gpu", "cuda", "tpu")
_FIRST_WITH_BFLOAT16 = 8.0


def resolve_precision(precision: str) -> str:
    """The Keras dtype policy for ``auto``, or what was asked for.

    A GPU gains from bfloat16, which all have since Ampere, an older one from float16 with loss scaling. A CPU
    gains from bfloat16 only with instructions for it (measured with U-Net Mini: 1.5 times faster); without
    them it is emulated and slower than float32.
    """
    if precision != "auto":
        return precision
    if has_accelerator():
        return "mixed_bfloat16" if _compute_capability() >= _FIRST_WITH_BFLOAT16 else "mixed_float16"
    return "mixed_bfloat16" if _cpu_flags() & _BFLOAT16_FLAGS else "float32"


@contextmanager
def dtype_policy(precision: str) -> Iterator[None]:
    """A precision as Keras's global policy, for as long as the block lasts."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def jit_compile() -> bool | str:
    """What ``Model.compile`` takes: XLA makes TensorFlow's training on a CPU slower, not faster."""
    on_tensorflow_cpu = keras.backend.backend() == "tensorflow" and not has_accelerator()
    return False if on_tensorflow_cpu else "auto"


def default_workers() -> int:
    """Processes that augment: none where the model trains on the CPU and would wait for the same cores."""
    return min(8, max(1, (os.cpu_count() or 1) - 1)) if has_accelerator() else 0


def has_accelerator() -> bool:
    """Whether the backend has a GPU or TPU to train on."""
    if keras.backend.backend() == "torch":
        # Keras's distribution knows no device of Torch.
        import torch

        return bool(torch.cuda.is_available())
    # Asked for a GPU by name, JAX raises where there is none.
    return any(name.startswith(_ACCELERATORS) for name in keras.distribution.list_devices())


def device_name() -> str:
    """What trains, for a report: the first accelerator's own name, or ``CPU``."""
    if not has_accelerator():
        return "CPU"
    if keras.backend.backend() == "jax":
        import jax

        return str(jax.local_devices()[0].device_kind)
    if keras.backend.backend() == "torch":
        import torch

        return str(torch.cuda.get_device_name())
    return str(_gpu_details().get("device_name", "GPU"))


def accelerator_memory() -> int | None:
    """Bytes that the backend may use on the first accelerator; ``None`` where it says none, as Torch does."""
    if not has_accelerator():
        return None
    if keras.backend.backend() == "jax":
        import jax

        return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if keras.backend.backend() == "tensorflow":
        from tensorflow.python.client import device_lib

        limits = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type == "GPU"]
        return int(limits[0]) if limits else None
    return None


def _compute_capability() -> float:
    """NVIDIA's, as major.minor; that of a TPU, which has bfloat16 too, counts as the newest."""
    if keras.backend.backend() == "jax":
        import jax

        return float(getattr(jax.local_devices()[0], "compute_capability", "inf"))
    if keras.backend.backend() == "torch":
        import torch

        major, minor = torch.cuda.get_device_capability()
    else:
        major, minor = _gpu_details().get("compute_capability", (0, 0))
    return major + minor / 10


def _gpu_details() -> dict[str, Any]:
    import tensorflow as tf

    details: dict[str, Any] = tf.config.experimental.get_device_details(
        tf.config.list_physical_devices("GPU")[0]
    )
    return details


def _cpu_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return set()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()
