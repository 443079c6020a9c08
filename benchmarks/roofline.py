"""How near models come to what the machine can do: the roofline of Williams, Waterman and Patterson.

"Roofline: An Insightful Visual Performance Model for Multicore Architectures", CACM 52(4), 2009,
https://doi.org/10.1145/1498765.1498785. A model with few multiply-accumulates for each byte is bounded by
memory, one with many by arithmetic; the lower of the two bounds is its roof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeseg.benchmarks.contenders import ANY, Choice, contenders_of
from edgeseg.benchmarks.frames import frames_from_images
from edgeseg.benchmarks.graph_costs import FORMATS, GraphCost
from edgeseg.benchmarks.latency import Entrant, Options, Progress, entered, take_turns
from edgeseg.benchmarks.peaks import PeakMeter, Peaks
from edgeseg.benchmarks.protocol import STAGES, Loaded
from edgeseg.benchmarks.summary import Summary, summarise
from edgeseg.bundle import Bundle
from edgeseg.errors import UsageError
from edgeseg.runtimes.choice import choose_model


@dataclass(frozen=True)
class Placed:
    """A model under its roof.

    Args:
        name: The bundle's.
        loaded: What ran.
        cost: Counted in the file that ran.
        infer: Milliseconds of one inference, with all that the runtime does beside its layers.
        peaks: The machine's, measured between the model's rounds.
    """

    name: str
    loaded: Loaded
    cost: GraphCost
    infer: Summary
    peaks: Peaks

    @property
    def bytes(self) -> int:
        """Bytes that the layers read and write at the width that they are computed in."""
        return self.cost.half_bytes if self.float_precision == "bf16" else self.cost.bytes

    @property
    def intensity(self) -> float:
        """Multiply-accumulates for each of these bytes."""
        return self.cost.macs / self.bytes

    @property
    def macs_per_second(self) -> float:
        """Reached at the median."""
        return self.cost.macs / (self.infer.p50 / 1000)

    @property
    def float_precision(self) -> str:
        """What the layers that are not of 8 bits compute in."""
        return "bf16" if self.loaded.computes_in == "bf16" else "fp32"

    @property
    def compute_peak(self) -> float | None:
        """Multiply-accumulates a second with each layer at the peak of its precision; ``None``: not known."""
        parts = {
            "int8": self.cost.integer_macs,
            self.float_precision: self.cost.macs - self.cost.integer_macs,
        }
        if any(count and name not in self.peaks.compute for name, count in parts.items()):
            return None
        seconds = sum(count / self.peaks.compute[name].per_second for name, count in parts.items() if count)
        return self.cost.macs / seconds

    @property
    def memory_roof(self) -> float:
        """Multiply-accumulates a second where nothing but the bytes took time."""
        return self.intensity * self.peaks.memory.per_second

    @property
    def roof(self) -> float | None:
        """The lower of both."""
        return None if self.compute_peak is None else min(self.compute_peak, self.memory_roof)

    @property
    def bound(self) -> str:
        """Which of them it is: ``compute`` or ``memory``."""
        return "memory" if self.roof == self.memory_roof else "compute"

    def share(self, of: float | None) -> float | None:
        """What is reached of a number of multiply-accumulates a second."""
        return None if of is None else self.macs_per_second / of

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; what is not known is ``None``."""
        return {
            "name": self.name,
            **vars(self.loaded),
            "macs": self.cost.macs,
            "int8_macs": self.cost.integer_macs,
            "bytes": self.bytes,
            "layers": len(self.cost.layers),
            "macs_per_byte": round(self.intensity, 3),
            "infer_ms": self.infer.to_dict(),
            "gmacs_per_second": round(self.macs_per_second / 1e9, 3),
            "compute_peak_gmacs_per_second": _giga(self.compute_peak),
            "memory_roof_gmacs_per_second": _giga(self.memory_roof),
            "share_of_compute_peak": _rounded(self.share(self.compute_peak)),
            "share_of_roof": _rounded(self.share(self.roof)),
            "bound": self.bound if self.roof else None,
        }


def measure_roofline(
    bundles: Sequence[Bundle],
    options: Options,
    choice: Choice = ANY,
    on_progress: Progress | None = None,
) -> list[Placed]:
    """Count each model, and time it and the machine's peaks in rounds that take turns.

    Args:
        bundles: Opened bundles; all of them are timed on the golden frames of the first.
        options: Frames, rounds, warm-up and threads, of the peaks' kernels too.
        choice: Runtime and precision, where the bundles hold several.
        on_progress: Called with (frames done, frames in all) after each turn.

    Raises:
        MissingExtraError: A package that counting or measuring needs is not installed.
        BundleError: A bundle cannot be used, or its graph cannot be read.
        UsageError: A graph holds no layer that multiplies.
        InferenceError: A runtime failed on a frame, or a worker process died.
    """
    costs = [count_bundle(bundle, choice) for bundle in bundles]
    contenders = contenders_of([bundle.path for bundle in bundles], [options.threads], choice)
    frames = frames_from_images(bundles[0].golden().frames, f"golden frames of {bundles[0].path.name}")
    meter = PeakMeter(options.threads)
    with entered(contenders, frames, options) as entrants:
        take_turns(entrants, options, on_progress or (lambda _done, _total: None), meter.round)
        return [
            Placed(contender.name, entrant.opened.loaded, cost, _inference(entrant), meter.peaks())
            for contender, entrant, cost in zip(contenders, entrants, costs, strict=True)
        ]


def count_bundle(bundle: Bundle, choice: Choice = ANY) -> GraphCost:
    """The cost of the model file of a bundle that would run here.

    Raises:
        MissingExtraError: A package that counting needs is not installed.
        BundleError: Its graph cannot be read.
        UsageError: It holds no layer that multiplies.
    """
    _, model = choose_model(bundle, choice.runtime, choice.precision)
    cost = FORMATS[model.format](model.file, bundle.model_bytes(model))
    if not cost.macs:
        raise UsageError(
            bundle.path,
            expected="a model with convolutions or matrix products",
            found=f"none in {model.file}",
            next_step="A roofline is drawn of models that multiply; leave this one out.",
        )
    return cost


def _inference(entrant: Entrant) -> Summary:
    if entrant.failure:
        raise entrant.failure
    return summarise([times[:, STAGES.index("infer")] for times in entrant.rounds])


def _giga(value: float | None) -> float | None:
    return None if value is None else round(value / 1e9, 3)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
