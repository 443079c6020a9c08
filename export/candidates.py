"""Which format a bundle gets, where several fit: each is tried on this machine, and the fastest wins.

No runtime is the fastest for every model on every CPU, so none is taken for granted. The trial is short, and
takes place in one process: it tells formats apart, and ``edgeseg benchmark`` measures them.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.evaluation import Predictor
from edgeseg.export.artifacts import Artifact
from edgeseg.export.converter import EXTRA, first_missing, require_installed
from edgeseg.export.draft import Tried
from edgeseg.export.ladder import Climb
from edgeseg.export.parity import Comparison
from edgeseg.export.plan import Plan
from edgeseg.export.progress import Advance, Stage, ignore
from edgeseg.export.targets import Format
from edgeseg.resize import Image
from edgeseg.segmenter import Segmenter

ROUNDS = 7
FRAMES_PER_ROUND = 3
_SETTLE_FRAMES = 2


@dataclass(frozen=True)
class Candidate:
    """One format of an export, converted, compared with Keras, and loaded.

    ``segmenters`` are by file name, the preferred first; ``climb`` is the way to int8 where it was asked for.
    """

    plan: Plan
    files: tuple[Tried, ...]
    segmenters: Mapping[str, Segmenter]
    climb: Climb | None = None

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        return tuple(tried.artifact for tried in self.files)

    @property
    def name(self) -> str:
        return self.plan.format.name

    @property
    def preferred(self) -> Segmenter:
        return next(iter(self.segmenters.values()))


@dataclass(frozen=True)
class Trial:
    """What one candidate measured.

    ``faults`` are by file name. ``median_ms`` is that of an inference; ``None`` where the candidate is not
    within the accuracy budget, or had no rival.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, for ``report.json``."""
        preferred = self.candidate.preferred
        comparison = self.comparisons[preferred.model.file]
        return {
            "format": self.candidate.name,
            "runtime": preferred.runtime_name,
            "threads": preferred.threads,
            "median_ms": None if self.median_ms is None else round(self.median_ms, 3),
            "bytes": sum(artifact.size for artifact in self.candidate.artifacts),
            "agreement": comparison.agreement,
            "drop_points": comparison.drop_points,
            "faults": [fault for some in self.faults.values() for fault in some],
        }


def formats_to_try(plan: Plan) -> tuple[tuple[Format, ...], list[str]]:
    """The formats to convert to, and notes of those that are left out.

    Raises:
        MissingExtraError: What the only format needs is not installed.
    """
    usual, target = plan.candidates[0], plan.target
    if len(plan.candidates) == 1:
        require_installed(f"exporting to {usual.name}", usual.needs(plan.precisions))
        return plan.candidates, []
    if not plan.options.measure or platform.machine() not in target.machines:
        require_installed(f"exporting to {usual.name}", usual.needs(plan.precisions))
        why = f"this machine is {platform.machine()}" if plan.options.measure else "--no-measure"
        return (usual,), [f"The format {usual.name} was taken unmeasured ({why})."]
    missing = {kind.name: first_missing(kind.needs(plan.precisions)) for kind in plan.candidates}
    notes = [
        f"The format {name} was not tried: the package {package!r} is not installed "
        f"(pip install 'edgeseg[{EXTRA}]')."
        for name, package in missing.items()
        if package
    ]
    there = tuple(kind for kind in plan.candidates if not missing[kind.name])
    if not there:
        require_installed(f"exporting to {usual.name}", usual.needs(plan.precisions))
    return there, notes


def timed(trials: Sequence[Trial], frames: Image, stage: Stage) -> list[Trial]:
    """The trials with the times of those within the accuracy budget, where more than one is."""
    passed = {trial.candidate.name: trial.candidate.preferred.predict for trial in trials if trial.passed}
    if len(passed) < 2:
        return list(trials)
    with stage(f"Timing {', '.join(passed)}") as advance:
        medians = medians_in_turns(passed, frames, advance)
    return [Trial(t.candidate, t.faults, medians.get(t.candidate.name)) for t in trials]


def medians_in_turns(
    predictors: Mapping[str, Predictor], frames: Image, on_progress: Advance = ignore
) -> dict[str, float]:
    """The median time of each predictor in milliseconds, by name.

    They take turns, so that what else the machine does, it does to all of them. A turn begins untimed: the
    threads of the one before may still be spinning.

    Args:
        predictors: Name to predictor.
        frames: ``uint8 [K, H, W, 3]`` RGB at the model's size, used over and over.
        on_progress: Told after each round.
    """
    times: dict[str, list[float]] = {name: [] for name in predictors}
    for number in range(ROUNDS):
        # To and fro, so that none always follows the same other.
        for name in list(predictors)[:: 1 if number % 2 == 0 else -1]:
            for index in range(-_SETTLE_FRAMES, FRAMES_PER_ROUND):
                start = time.perf_counter()
                predictors[name](frames[index % len(frames)])
                if index >= 0:
                    times[name].append(1000 * (time.perf_counter() - start))
        on_progress(number + 1, ROUNDS)
    return {name: float(np.median(some)) for name, some in times.items()}


def choose(trials: Sequence[Trial]) -> Trial:
    """The fastest within the accuracy budget; where none is, the first, for the gate to refuse."""
    passed = [trial for trial in trials if trial.passed]
    if not passed:
        return trials[0]
    return min(passed, key=lambda trial: trial.median_ms or 0)


def reason(trials: Sequence[Trial], chosen: Trial) -> str:
    """Why the bundle has the format that it has, as a sentence; empty where there was no choice."""
    if len(trials) < 2:
        return ""
    name = chosen.candidate.name
    if chosen.median_ms is None:
        return f"The format {name} was chosen: no other one was within the accuracy budget."
    threads = chosen.candidate.preferred.threads
    return f"The format {name} was chosen: the fastest here, with {threads} threads, in a short trial."
