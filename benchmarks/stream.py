"""Frames at a camera's rate: how old masks are, and how many came too late or never."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.benchmarks.protocol import Streamed
from edgeseg.benchmarks.summary import Summary, summarise
from edgeseg.errors import UsageError


@dataclass(frozen=True)
class StreamOptions:
    """A camera's rate, and how old a mask may be in milliseconds; by default one period of the camera.

    Raises:
        UsageError: One of them is not positive.
    """

    fps: float
    deadline_ms: float | None = None

    def __post_init__(self) -> None:
        for flag, value in (("--fps", self.fps), ("--deadline", self.deadline_ms)):
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(
                    flag, expected="a number above 0", found=f"{value:g}", next_step="Correct it."
                )

    @property
    def limit_ms(self) -> float:
        return 1000 / self.fps if self.deadline_ms is None else self.deadline_ms


@dataclass(frozen=True)
class StreamResult:
    """A constant stream's end.

    A frame misses its deadline when its mask is older than ``deadline_ms``, counted from the frame's arrival,
    or when a newer one arrived before its turn and it was dropped.
    """

    fps: float
    deadline_ms: float
    frames: int
    dropped: int
    late: int
    age: Summary

    @property
    def missed(self) -> float:
        """Share of all frames, 0 to 1."""
        return (self.dropped + self.late) / self.frames

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "fps": self.fps,
            "deadline_ms": round(self.deadline_ms, 3),
            "frames": self.frames,
            "dropped": self.dropped,
            "late": self.late,
            "missed": round(self.missed, 6),
            "age_ms": self.age.to_dict(),
        }


def stream_result(turns: Sequence[Streamed], options: StreamOptions) -> StreamResult:
    """All turns of one model as one result; at least one frame was used in each."""
    ages = [turn.ages for turn in turns]
    dropped = sum(turn.dropped for turn in turns)
    late = int((np.concatenate(ages) > options.limit_ms).sum())
    frames = sum(map(len, ages)) + dropped
    return StreamResult(options.fps, options.limit_ms, frames, dropped, late, summarise(ages))
