"""What the benchmark and its worker processes say to each other over a pipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass

STAGES = ("decode", "resize", "infer", "post", "total")
"""Columns of a round's times. ``total`` is the whole path, a little more than the sum of the others."""


@dataclass(frozen=True)
class Job:
    """What a worker loads, with what, and the JPEG frames it will be timed on."""

    bundle: str
    runtime: str | None
    precision: str | None
    threads: int
    frames: tuple[bytes, ...]
    trusted_keys: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Round:
    """So many frames untimed, then so many timed. The answer is ``float64 [frames, 5]`` milliseconds."""

    warmup: int
    frames: int


@dataclass(frozen=True)
class Finish:
    """The end; the answer is the :class:`Memory`."""


@dataclass(frozen=True)
class Loaded:
    """What the worker's segmenter turned out to be; ``computes_in`` as in :class:`edgeseg.Segmenter`."""

    runtime: str
    runtime_version: str
    model_file: str
    precision: str
    threads: int
    computes_in: str | None = None

    def __str__(self) -> str:
        """Runtime and precision; and what it computes in, where this CPU has no bfloat16."""
        fallback = f" in {self.computes_in}" if self.precision == "bf16" != self.computes_in else ""
        return f"{self.runtime} {self.precision}{fallback}"


@dataclass(frozen=True)
class ColdStart:
    """Milliseconds from starting a process to its first mask, with the files in the system's cache.

    ``process``: to the first line of Python. ``imports``: NumPy, OpenCV and edgeseg. ``load``: the
    runtime's own import, reading, hashing and loading the bundle, and its golden self-test. ``first_mask``:
    decoding and segmenting a frame.
    """

    process: float
    imports: float
    load: float
    first_mask: float

    @property
    def total(self) -> float:
        return self.process + self.imports + self.load + self.first_mask

    def to_dict(self) -> dict[str, float]:
        return {key: round(value, 1) for key, value in {**asdict(self), "total": self.total}.items()}


@dataclass(frozen=True)
class Memory:
    """Resident memory of the worker alone in MiB: after its first mask, and the most it ever was."""

    loaded_mib: float
    peak_mib: float
