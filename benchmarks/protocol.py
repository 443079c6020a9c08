"""What the benchmark and its worker processes say to each other over a pipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # A worker reads this module before its cold start counts imports, so NumPy is not among them.
    from edgeseg.benchmarks.summary import Times
    from edgeseg.resize import Image

STAGES = ("decode", "resize", "infer", "post", "total")
"""Columns of a round's times. ``total`` is the whole path, a little more than the sum of the others."""


@dataclass(frozen=True)
class Scaling:
    """How a foreign model's training scaled pixels: ``scale * pixel + offset`` for red, green and blue."""

    name: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True)
class Job:
    """What a worker opens, with what, and the JPEG frames it will be timed on.

    Args:
        model: The file or folder.
        loader: ``MODULE:FUNCTION``, called with this job; gives a ``Runner`` of
            :mod:`edgeseg.benchmarks.loaders`.
        threads: Threads of the runtime and of OpenCV.
        frames: JPEG files, used in turn.
        runtime: The runtime to use, where the loader has a choice.
        precision: The precision to use, likewise.
        trusted_keys: Public keys, PEM files, one of which must have signed a bundle; ``None``: none need.
        scaling: How the pixels of a model that is no bundle are scaled, where it takes floats.
    """

    model: str
    loader: str
    threads: int
    frames: tuple[bytes, ...]
    runtime: str | None = None
    precision: str | None = None
    trusted_keys: tuple[str, ...] | None = None
    scaling: Scaling | None = None


@dataclass(frozen=True)
class Loaded:
    """What the worker's model turned out to be; ``computes_in`` as in :class:`edgeseg.Segmenter`."""

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

    ``process``: to the first line of Python. ``imports``: NumPy, OpenCV and edgeseg. ``load``: the runtime's
    own import, which of a Keras model is TensorFlow's, reading the model, and for a bundle hashing it and its
    golden self-test. ``first_mask``: decoding and segmenting a frame.
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
class Opened:
    """The answer to a :class:`Job`. ``classes``: of the model's output, where its shape tells them."""

    loaded: Loaded
    cold_start: ColdStart
    height: int
    width: int
    classes: int | None


@dataclass(frozen=True)
class WarmUp:
    """At least so many frames untimed, then more until the times hold still or the seconds are over."""

    at_least: int
    seconds: float


@dataclass(frozen=True)
class WarmedUp:
    """The answer: how many frames it took, and whether the times held still at the end of them."""

    frames: int
    stable: bool


@dataclass(frozen=True)
class Round:
    """So many frames untimed, then so many timed. The answer is ``float64 [frames, 5]`` milliseconds."""

    warmup: int
    frames: int


@dataclass(frozen=True)
class Stream:
    """So many frames that arrive at a camera's rate, whether or not the one before is done."""

    frames: int
    fps: float


@dataclass(frozen=True)
class Streamed:
    """The answer: ages ``float64 [N]``, milliseconds from arrival to mask, and frames that found no time."""

    ages: Times
    dropped: int


@dataclass(frozen=True)
class Predict:
    """An image ``uint8 [H, W, 3]`` RGB at the model's size; the answer is its class map ``uint8 [h, w]``."""

    image: Image


@dataclass(frozen=True)
class AskMemory:
    """The answer is the :class:`Memory` up to now."""


@dataclass(frozen=True)
class Memory:
    """Resident memory of the worker alone in MiB: after its first mask, and the most it ever was."""

    loaded_mib: float
    peak_mib: float


Message = Job | WarmUp | Round | Stream | Predict | AskMemory
