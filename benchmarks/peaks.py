"""What this machine can reach: multiply-accumulates and bytes a second, measured and not from a data sheet.

Arithmetic is measured with OpenVINO, on a few large convolutions and on a few large matrix products of each
precision, made in memory; the faster of the two is the peak. Memory is measured with NumPy, on arrays that no
cache holds. A peak is what these kernels reached: another library may reach more, and then a model may exceed
it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.errors import MissingExtraError
from edgeseg.runtimes.base import installed_version
from edgeseg.runtimes.openvino import import_openvino

PRECISIONS = ("int8", "bf16", "fp32")
_EXECUTED = {"int8": {"i8", "u8"}, "bf16": {"bf16"}, "fp32": {"f32"}}
# A few layers one after the other, so that bringing the input into the kernel's form counts for little.
_LAYERS = 4
_CHANNELS, _SIDE, _ORDER = 256, 32, 768
_REPEATS = 5
_SMALLEST_ARRAY, _CACHES = 64 << 20, 8
_LARGEST_SHARE = 16

Step = Callable[[], object]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Kernel:
    """Something that moves or computes a known amount at each call.

    Args:
        name: What it does, in words.
        amount: Multiply-accumulates, or bytes, of one call.
        step: The call.
    """

    name: str
    amount: float
    step: Step


@dataclass(frozen=True)
class Peak:
    """The highest of some kernels' rates.

    Args:
        per_second: Multiply-accumulates, or bytes, a second: the median over the rounds.
        rounds: The same of each round, in order.
        kernel: Which of them was the fastest.
        library: What computed it, with its version.
    """

    per_second: float
    rounds: tuple[float, ...]
    kernel: str
    library: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "giga_per_second": round(self.per_second / 1e9, 3),
            "rounds_giga_per_second": [round(rate / 1e9, 3) for rate in self.rounds],
            "kernel": self.kernel,
            "library": self.library,
        }


@dataclass(frozen=True)
class Peaks:
    """A machine's. ``compute`` is by precision, in multiply-accumulates a second; what the CPU has not is not
    there. ``memory`` is in bytes a second."""

    compute: Mapping[str, Peak]
    memory: Peak

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, in thousands of millions a second."""
        return {
            "gmacs": {name: peak.to_dict() for name, peak in self.compute.items()},
            "gigabytes": self.memory.to_dict(),
        }


class PeakMeter:
    """Measures the peaks a round at a time, so that rounds of models come between.

    Args:
        threads: Threads of every kernel.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """

    def __init__(self, threads: int) -> None:
        self._kernels: dict[str, list[Kernel]] = compute_kernels(threads)
        arrays = [np.full(array_bytes() // 8, value, np.float64) for value in (0.0, 1.0, 2.0)]
        self._kernels["memory"] = memory_kernels(threads, arrays)
        self._rates: dict[tuple[str, str], list[float]] = {}

    def round(self) -> None:
        """Run every kernel a few times; of each the median counts."""
        for kind, kernels in self._kernels.items():
            for kernel in kernels:
                rate = kernel.amount / _median_seconds(kernel.step)
                self._rates.setdefault((kind, kernel.name), []).append(rate)

    def peaks(self) -> Peaks:
        """What the rounds come to; at least one was run."""
        numpy, openvino = f"NumPy {np.__version__}", f"OpenVINO {installed_version('openvino')}"
        compute = {name: self._peak(name, openvino) for name in PRECISIONS if name in self._kernels}
        return Peaks(compute, self._peak("memory", numpy))

    def _peak(self, kind: str, library: str) -> Peak:
        rates = {kernel.name: self._rates[kind, kernel.name] for kernel in self._kernels[kind]}
        name = max(rates, key=lambda each: np.median(rates[each]))
        return Peak(float(np.median(rates[name])), tuple(rates[name]), name, library)


def compute_kernels(threads: int) -> dict[str, list[Kernel]]:
    """Precision to its kernels; a precision that the CPU computes in another one is left out.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise MissingExtraError.of("measuring the peaks of this machine", "openvino", "openvino") from error
    shapes = {
        f"{_LAYERS} convolutions 3×3 of {_CHANNELS} channels, {_SIDE}×{_SIDE}": (
            _convolutions,
            _LAYERS * _SIDE**2 * 9 * _CHANNELS**2,
        ),
        f"{_LAYERS} matrix products of {_ORDER}×{_ORDER}": (_products, _LAYERS * _ORDER**3),
    }
    found: dict[str, list[Kernel]] = {}
    for precision in PRECISIONS:
        for name, (build, macs) in shapes.items():
            step = _compiled(openvino, build(precision == "int8"), precision, threads)
            if step is not None:
                found.setdefault(precision, []).append(Kernel(name, macs, step))
    return found


def memory_kernels(threads: int, arrays: Sequence[Array]) -> list[Kernel]:
    """Copy of the second of three arrays to the first, and addition of the second and third into it.

    As in McCalpin's STREAM (https://www.cs.virginia.edu/stream/), counted are the bytes that the operation
    reads and writes, and not those that a cache reads before it writes.

    Args:
        threads: Each works on a part of its own.
        arrays: ``float64 [N]`` each.
    """
    a, b, c = arrays
    bounds = np.linspace(0, len(a), threads + 1).astype(int)
    parts = [slice(start, end) for start, end in pairwise(bounds)]
    # NumPy lets go of the interpreter's lock in both.
    pool = ThreadPoolExecutor(threads)

    def copy(part: slice) -> None:
        np.copyto(a[part], b[part])

    def add(part: slice) -> None:
        np.add(b[part], c[part], out=a[part])

    return [
        Kernel("copy", 2 * a.nbytes, lambda: list(pool.map(copy, parts))),
        Kernel("addition", 3 * a.nbytes, lambda: list(pool.map(add, parts))),
    ]


def array_bytes(caches: Path = Path("/sys/devices/system/cpu/cpu0/cache"), memory: int | None = None) -> int:
    """Bytes of an array that is far larger than the largest cache, and far smaller than the memory.

    Args:
        caches: Where the kernel describes the caches.
        memory: Bytes of memory; by default this machine's.
    """
    sizes = [_cache_bytes(file.read_text()) for file in caches.glob("index*/size")]
    wanted = max(_SMALLEST_ARRAY, _CACHES * max(sizes, default=0))
    return min(wanted, (memory or _memory_bytes()) // _LARGEST_SHARE) // 8 * 8


def _median_seconds(step: Step) -> float:
    # The first call after others had their turn wakes threads and fills caches.
    step()
    seconds = np.empty(_REPEATS)
    for index in range(_REPEATS):
        start = time.perf_counter()
        step()
        seconds[index] = time.perf_counter() - start
    return float(np.median(seconds))


def _convolutions(integer: bool) -> Any:
    from openvino import opset13 as ops

    one = [1, 1]
    kernel = _noise(_CHANNELS, _CHANNELS, 3, 3)
    return _model(
        [1, _CHANNELS, _SIDE, _SIDE],
        lambda x, k: ops.convolution(x, k, one, one, one, one),
        kernel,
        integer,
    )


def _products(integer: bool) -> Any:
    from openvino import opset13 as ops

    return _model(
        [_ORDER, _ORDER], lambda x, k: ops.matmul(x, k, False, True), _noise(_ORDER, _ORDER), integer
    )


def _model(
    shape: list[int], layer: Callable[[Any, Any], Any], kernel: npt.NDArray[np.float32], integer: bool
) -> Any:
    """A few layers; of integers as a quantised file says it, so that nothing between them is in float."""
    import openvino
    from openvino import opset13 as ops

    given = x = ops.parameter(shape, np.float32)
    for _ in range(_LAYERS):
        if integer:
            x = layer(_quantised(x, 0.0, 1.0, 256), _quantised(ops.constant(kernel), -1.0, 1.0, 255))
        else:
            x = layer(x, ops.constant(kernel))
    return openvino.Model([_quantised(x, 0.0, 1.0, 256) if integer else x], [given], "peak")


def _quantised(tensor: Any, low: float, high: float, levels: int) -> Any:
    from openvino import opset13 as ops

    ends = [ops.constant(np.float32(value)) for value in (low, high, low, high)]
    return ops.fake_quantize(tensor, *ends, levels)


def _noise(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def _compiled(openvino: Any, model: Any, precision: str, threads: int) -> Step | None:
    """A call of the model; ``None`` where this CPU computes it in another precision."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    executed = _executed_in(compiled)
    if not executed or not executed <= _EXECUTED[precision]:
        return None
    request = compiled.create_infer_request()
    given = np.abs(_noise(*model.inputs[0].shape))
    return lambda: request.infer([given], share_inputs=True, share_outputs=True)


def _executed_in(compiled: Any) -> set[str]:
    """The precisions that the compiled graph's large layers compute in, as OpenVINO names them."""
    notes = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    return {
        str(note["runtimePrecision"].astype(str))
        for note in notes
        if note["layerType"].astype(str) in ("Convolution", "FullyConnected", "MatMul")
    }


def _cache_bytes(text: str) -> int:
    """The kernel's way of writing a size, for instance ``32768K``."""
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    number = text.strip()
    return int(number.rstrip("KMG") or 0) * units.get(number[-1:], 1)


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
