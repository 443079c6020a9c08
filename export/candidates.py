"""Which format and precision a bundle gets, where several fit: each is tried here, and the fastest wins.

No runtime is the fastest for every model on every CPU, so none is taken for granted. The trial is short, and
takes place in one process: it tells formats apart, and ``edgeseg benchmark`` measures them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.bundle.manifest import Precision
from edgeseg.evaluation import Predictor
from edgeseg.export.artifacts import Artifact
from edgeseg.export.attempts import Climb
from edgeseg.export.draft import Draft, Tried
from edgeseg.export.parity import Comparison
from edgeseg.export.plan import Plan
from edgeseg.export.progress import Advance, Stage, ignore
from edgeseg.resize import Image
from edgeseg.segmenter import Segmenter

ROUNDS = 7
FRAMES_PER_ROUND = 3
_SETTLE_FRAMES = 2


@dataclass(frozen=True)
class Candidate:
    """One format and precision of an export, converted, compared with Keras, and loaded.

    ``segmenters`` are by file name, the preferred first; ``climb`` is the way to int8 where it was asked for.
    """

    draft: Draft
    files: tuple[Tried, ...]
    segmenters: Mapping[str, Segmenter]
    climb: Climb | None = None

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        return tuple(tried.artifact for tried in self.files)

    @property
    def plan(self) -> Plan:
        return self.draft.plan

    @property
    def format(self) -> str:
        return self.plan.format.name

    @property
    def precision(self) -> Precision:
        """Of the preferred file."""
        return self.plan.precisions[0]

    @property
    def name(self) -> str:
        return f"{self.format} {self.precision}"

    @property
    def preferred(self) -> Segmenter:
        return next(iter(self.segmenters.values()))


@dataclass(frozen=True)
class Trial:
    """What one candidate measured.

    ``faults`` are by file name. ``median_ms`` is that of an inference; ``None`` where the candidate is not
    within the accuracy budget, or where there was nothing to find out.
    """

    candidate: Candidate
    faults: Mapping[str, Sequence[str]]
    median_ms: float | None = None

    @property
    def comparisons(self) -> dict[str, Comparison]:
        """By file name."""
        return {tried.artifact.file: tried.comparison for tried in self.candidate.files}

    @property
    def passed(self) -> bool:
        return not any(self.faults.values())

    @property
    def preferred(self) -> Comparison:
        """Of the file that the target runs first."""
        return self.comparisons[self.candidate.preferred.model.file]

    @property
    def is_fast_enough(self) -> bool:
        """Whether it is as fast as asked for; so is all, where that was not asked for."""
        limit = self.candidate.plan.options.max_latency_ms
        return limit is None or (self.median_ms is not None and self.median_ms <= limit)

    def verdict(self, chosen: Trial) -> str:
        """What became of it beside the chosen one, and why, in words."""
        if not self.passed:
            return "refused: " + "; ".join(fault for some in self.faults.values() for fault in some)
        if not self.is_fast_enough:
            return f"refused: takes more than {self.candidate.plan.options.max_latency_ms:g} ms"
        return "chosen" if self is chosen else "kept, but slower"

    def to_dict(self, chosen: Trial) -> dict[str, Any]:
        """Plain JSON values, for ``report.json``."""
        preferred, comparison = self.candidate.preferred, self.preferred
        name, drop = comparison.worst_class
        return {
            "format": self.candidate.format,
            "precision": self.candidate.precision,
            "runtime": preferred.runtime_name,
            "threads": preferred.threads,
            "median_ms": None if self.median_ms is None else round(self.median_ms, 3),
            "bytes": sum(artifact.size for artifact in self.candidate.artifacts),
            "agreement": comparison.agreement,
            "drop_points": comparison.drop_points,
            "worst_class": {"name": name, "drop_points": drop},
            "faults": [fault for some in self.faults.values() for fault in some],
            "chosen": self is chosen,
            "verdict": self.verdict(chosen),
        }


def timed(trials: Sequence[Trial], frames: Image, stage: Stage) -> list[Trial]:
    """The trials with the times of those within the accuracy budget, where there is something to find out."""
    passed = {trial.candidate.name: trial.candidate.preferred.predict for trial in trials if trial.passed}
    wanted = trials[0].candidate.plan.options.wants_times
    if len(passed) < (1 if wanted else 2):
        return list(trials)
    with stage(f"Timing {', '.join(passed)}") as advance:
        medians = medians_in_turns(passed, frames, advance)
    return [Trial(t.candidate, t.faults, medians.get(t.candidate.name)) for t in trials]


def medians_in_turns(
    predictors: Mapping[str, Predictor],
    frames: Image,
    on_progress: Advance = ignore,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """The median time of each predictor in milliseconds, by name.

    They take turns, so that what else the machine does, it does to all of them. A turn begins untimed: the
    threads of the one before may still be spinning.

    Args:
        predictors: Name to predictor.
        frames: ``uint8 [K, H, W, 3]`` RGB at the model's size, used over and over.
        on_progress: Told after each round.
        clock: Seconds since whenever.
    """
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for number in range(ROUNDS):
        # To and fro, so that none always follows the same other.
        for name in list(predictors)[:: 1 if number % 2 == 0 else -1]:
            for index in range(-_SETTLE_FRAMES, FRAMES_PER_ROUND):
                start = clock()
                predictors[name](frames[index % len(frames)])
                if index >= 0:
                    times[name].append(1000 * (clock() - start))
        on_progress(number + 1, ROUNDS)
    return {name: float(np.median(some)) for name, some in times.items()}


def choose(trials: Sequence[Trial]) -> Trial:
    """The fastest within the accuracy budget; where none is, the first, for the gate to refuse."""
    passed = [trial for trial in trials if trial.passed]
    if not passed:
        return trials[0]
    return min(passed, key=lambda trial: trial.median_ms or 0)


def reason(trials: Sequence[Trial], chosen: Trial) -> str:
    """Why the bundle is what it is, as a sentence; empty where there was no choice."""
    if len(trials) < 2:
        return ""
    auto = len({trial.candidate.precision for trial in trials}) > 1
    what = chosen.candidate.name if auto else f"The format {chosen.candidate.format}"
    if sum(trial.passed for trial in trials) == 1:
        return f"{what} was chosen: no other one was within the accuracy budget."
    threads = chosen.candidate.preferred.threads
    return f"{what} was chosen: the fastest here, with {threads} threads, in a short trial."
