"""What a robustness run is to do: its cells, images and video, and how the bundles are loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgeseg.benchmarks.corruptions import CORRUPTIONS, SEVERITIES, corruption
from edgeseg.errors import UsageError
from edgeseg.evaluation import Sample
from edgeseg.labels import LabelSet

FLICKER_FRAMES = 100


@dataclass(frozen=True, order=True)
class Cell:
    """A corruption at a severity; ``CLEAN`` is neither."""

    corruption: str
    severity: int

    def __str__(self) -> str:
        return f"{self.corruption}:{self.severity}"


CLEAN = Cell("clean", 0)


@dataclass(frozen=True)
class LabelledImages:
    """``count`` labelled samples at the label's own size. ``samples`` gives them anew, in the same order.

    ``fingerprint`` tells these images and labels from all others.
    """

    dataset: str
    split: str
    labels: LabelSet
    count: int
    fingerprint: str
    samples: Callable[[], Iterable[Sample]]


@dataclass(frozen=True)
class Suite:
    """What is run.

    Args:
        corruptions: Keys of ``CORRUPTIONS``.
        severities: Of 1 to 5.
        seed: Of all that is drawn at random.
        source: A video file or a folder of images for the flicker; ``None`` leaves it out.
        source_frames: How many of its frames.

    Raises:
        UnknownNameError: There is no such corruption.
        UsageError: A severity is not 1 to 5, or nothing is left to run.
    """

    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    severities: tuple[int, ...] = SEVERITIES
    seed: int = 0
    source: str | None = None
    source_frames: int = FLICKER_FRAMES

    def __post_init__(self) -> None:
        for name in self.corruptions:
            corruption(name)
        unknown = [severity for severity in self.severities if severity not in SEVERITIES]
        if unknown or not self.severities:
            raise _wrong("severities", "whole numbers from 1 to 5", ", ".join(map(str, unknown)))
        if not self.corruptions:
            raise _wrong("corruptions", f"one of {', '.join(CORRUPTIONS)}", "")
        for what, listed in (("corruptions", self.corruptions), ("severities", self.severities)):
            if len(set(listed)) < len(listed):
                raise _wrong(what, "each of them once", ", ".join(map(str, listed)))

    @property
    def cells(self) -> list[Cell]:
        """All cells, the clean one first."""
        return [CLEAN, *(Cell(name, severity) for name in self.corruptions for severity in self.severities)]

    @property
    def flicker_cells(self) -> list[Cell]:
        """The video is run clean, and spoilt by each corruption at the middle one of the severities."""
        if self.source is None:
            return []
        middle = sorted(self.severities)[len(self.severities) // 2]
        return [CLEAN, *(Cell(name, middle) for name in self.corruptions)]


@dataclass(frozen=True)
class Loading:
    """How the bundles are loaded: a runtime and precision for all of them, or each bundle's own first."""

    threads: int = 2
    runtime: str | None = None
    precision: str | None = None


OWN_CHOICE = Loading()


def _wrong(what: str, expected: str, found: str) -> UsageError:
    return UsageError(what, expected=expected, found=found or "none", next_step="Correct it.")
