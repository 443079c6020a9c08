"""The benchmark's own times beside those of a harness that is not edgeseg's.

Both run the same model file with as many threads, each in processes of its own, in rounds that take turns.
What is compared is inference alone: no harness knows of cameras, resizing or masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.benchmarks.contenders import Choice, contenders_of
from edgeseg.benchmarks.frames import FrameSet, frames_from_images
from edgeseg.benchmarks.harnesses import STATISTICS, Harness, Statistics, Turn, harness_of, statistics_of
from edgeseg.benchmarks.latency import Entrant, Options, Progress, entered, take_turns
from edgeseg.benchmarks.protocol import STAGES, Loaded
from edgeseg.bundle import Bundle
from edgeseg.runtimes.choice import choose_model

TOLERANCE = 0.05
"""By how much two harnesses may differ and still be said to agree."""


@dataclass(frozen=True)
class Comparison:
    """One bundle, measured by both; each round's statistics in milliseconds, in order."""

    name: str
    loaded: Loaded
    harness: str
    gives: str
    ours: tuple[Statistics, ...]
    theirs: tuple[Statistics, ...]

    @property
    def shared(self) -> tuple[str, ...]:
        """The statistics that both tell."""
        return tuple(name for name in STATISTICS if name in self.theirs[0])

    def ours_ms(self, statistic: str) -> float:
        """Our median over the rounds of a statistic."""
        return float(np.median([found[statistic] for found in self.ours]))

    def theirs_ms(self, statistic: str) -> float:
        """Theirs, of one that they tell."""
        return float(np.median([found[statistic] for found in self.theirs]))

    def ratio(self, statistic: str) -> float:
        """Ours divided by theirs, round by round, and the median of those: what a shared machine does slowly,
        it does to both of a round. NaN where theirs is less than they write down, which is 0.005 ms."""
        theirs = np.array([found[statistic] for found in self.theirs])
        if not theirs.all():
            return float("nan")
        return float(np.median(np.array([found[statistic] for found in self.ours]) / theirs))

    @property
    def agrees(self) -> bool:
        """Whether every percentile that both tell is within the tolerance."""
        percentiles = [name for name in self.shared if name != "mean"]
        return all(abs(self.ratio(name) - 1) <= TOLERANCE for name in percentiles)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            **vars(self.loaded),
            "harness": self.harness,
            "harness_gives": self.gives,
            "agrees_within_5_percent": self.agrees,
            "statistics": {
                name: {
                    "edgeseg_ms": _rounded(self.ours_ms(name)),
                    "harness_ms": _rounded(self.theirs_ms(name)),
                    "ratio": _ratio(self.ratio(name)),
                }
                for name in self.shared
            },
            "rounds": {
                "edgeseg_ms": [_statistics(found) for found in self.ours],
                "harness_ms": [_statistics(found) for found in self.theirs],
            },
        }


def compare(
    bundles: Sequence[Bundle], options: Options, choice: Choice, on_progress: Progress | None = None
) -> list[Comparison]:
    """Measure each bundle by edgeseg's own worker and by its runtime's harness.

    Args:
        bundles: Opened bundles, measured one after the other.
        options: Frames of each of both, in all rounds; rounds, warm-up and threads.
        choice: Runtime and precision, where the bundles hold several.
        on_progress: Called with (frames done, frames in all) after each turn.

    Raises:
        UsageError: A bundle's runtime has no harness.
        BundleError: A bundle cannot be used.
        InferenceError: One of the processes failed.
    """
    report = on_progress or (lambda _done, _total: None)
    total = options.frames * len(bundles)
    # Before anything is measured: what cannot be compared is to be said at once.
    harnesses = [harness_of(choose_model(b, choice.runtime, choice.precision)[0].name) for b in bundles]
    found: list[Comparison] = []

    def advance(done: int, _total: int) -> None:
        report(len(found) * options.frames + done, total)

    for bundle, harness in zip(bundles, harnesses, strict=True):
        found.append(_compare(bundle, harness, options, choice, advance))
    return found


def _compare(
    bundle: Bundle, harness: Harness, options: Options, choice: Choice, on_progress: Progress
) -> Comparison:
    contenders = contenders_of([bundle.path], [options.threads], choice)
    theirs: list[Statistics] = []
    with entered(contenders, _own_size_frames(bundle), options) as (entrant,):

        def harness_turn() -> None:
            theirs.append(_run(harness, bundle, entrant, options))

        take_turns([entrant], options, on_progress, harness_turn)
        if entrant.failure:
            raise entrant.failure
        ours = tuple(statistics_of(times[:, STAGES.index("infer")]) for times in entrant.rounds)
        loaded = entrant.opened.loaded
        return Comparison(contenders[0].name, loaded, harness.name, harness.gives, ours, tuple(theirs))


def _run(harness: Harness, bundle: Bundle, entrant: Entrant, options: Options) -> Statistics:
    loaded = entrant.opened.loaded
    turn = Turn(loaded.threads, options.warmup, len(entrant.rounds[-1]), loaded.computes_in)
    return harness.run(bundle.path / loaded.model_file, turn)


def _own_size_frames(bundle: Bundle) -> FrameSet:
    """Golden frames at the model's size: a harness has nothing to do between two inferences, and so these
    leave as little as can be."""
    return frames_from_images(bundle.golden().frames, f"golden frames of {bundle.path.name}, at their size")


def _statistics(found: Statistics) -> dict[str, float]:
    return {name: _rounded(value) for name, value in found.items()}


def _rounded(milliseconds: float) -> float:
    return round(milliseconds, 3)


def _ratio(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)
