"""The latency of bundles alone, as a whole benchmark measures it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeseg.benchmarks.contenders import contenders_of
from edgeseg.benchmarks.frames import FrameSet
from edgeseg.benchmarks.latency import Latency, Options, Progress, entered, take_turns


def measure_latency(
    bundles: Sequence[Path], frames: FrameSet, options: Options, on_progress: Progress | None = None
) -> list[Latency]:
    """Of each, in the order given; ``on_progress`` is called with (frames done, frames in all)."""
    contenders = contenders_of(bundles, [options.threads])
    with entered(contenders, frames, options) as entrants:
        take_turns(entrants, options, on_progress or (lambda _done, _total: None))
        return [entrant.latency(options.stream) for entrant in entrants]
