"""What a run of the loop says of itself."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from edgeseg.errors import EdgesegError
from edgeseg.loop.statistics import Summary

Ended = Literal["end of stream", "stopped", "failed"]
Mode = Literal["live", "real-time", "every-frame"]
STAGES = ("decode", "wait", "resize", "infer", "post", "sink")


@dataclass(frozen=True)
class Counts:
    """Frames. ``captured`` = ``segmented`` + ``overwritten`` + ``stale`` + those left when the loop stopped.

    Args:
        captured: Read from the source.
        skipped: Passed over undecoded, since the source was behind its own clock.
        overwritten: Replaced by a newer frame before inference could take them.
        stale: Older than two frame periods when inference took them, and thrown away.
        segmented: Given a mask.
        late: Given to the sink as not valid, since the mask was older than ``max_age_ms`` by then.
        written: Taken by the sink; where it was slower than the masks came, fewer than ``segmented``.
    """

    captured: int
    skipped: int
    overwritten: int
    stale: int
    segmented: int
    late: int
    written: int


@dataclass(frozen=True)
class LoopStatus:
    """How the loop is doing; given to ``on_status`` about twice a second."""

    seconds: float
    position: int
    frame_count: int | None
    fps: float
    age_ms: float
    dropped: int


@dataclass(frozen=True)
class LoopReport:
    """The whole run.

    Args:
        signature: ``signed by FINGERPRINT``, ``signed, not checked`` or ``unsigned``.
        build_note: What is still to be built on the device before the bundle's first runtime can run it,
            where another one ran here; else ``None``.
        mode: ``live`` and ``real-time`` let the newest frame win; ``every-frame`` drops none.
        ended: Why it ended.
        error: What went wrong, where something did. The sink was finished all the same.
        seconds: From the first frame to the last mask.
        fps: Masks a second.
        stages: Milliseconds of each of ``STAGES``; ``wait`` is from capture to inference less decoding.
        age: Milliseconds from capture to the finished mask, of every mask. With ``every-frame`` it says how
            long frames queued, not how old a picture of the road is.
        age_at_sink: Milliseconds from capture to the moment the sink was given the mask, of those it took.
        max_overdue_ms: By how much the oldest mask exceeded its own inference plus two frame periods; 0 or
            less means that none did. ``None`` with ``every-frame``.
    """

    bundle: str
    digest: str
    signature: str
    runtime: str
    threads: int
    build_note: str | None
    source: str
    source_fps: float
    frame_size: tuple[int, int]
    sink: str
    output: Path | None
    mode: Mode
    ended: Ended
    error: EdgesegError | None
    seconds: float
    fps: float
    counts: Counts
    stages: dict[str, Summary]
    age: Summary
    age_at_sink: Summary
    max_overdue_ms: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "bundle": self.bundle,
            "digest": self.digest,
            "signature": self.signature,
            "runtime": self.runtime,
            "threads": self.threads,
            "build_note": self.build_note,
            "source": self.source,
            "source_fps": self.source_fps,
            "frame_size": list(self.frame_size),
            "sink": self.sink,
            "output": str(self.output) if self.output else None,
            "mode": self.mode,
            "ended": self.ended,
            "error": str(self.error) if self.error else None,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "counts": asdict(self.counts),
            "stages_ms": {name: summary.to_dict() for name, summary in self.stages.items()},
            "age_ms": self.age.to_dict(),
            "age_at_sink_ms": self.age_at_sink.to_dict(),
            "max_overdue_ms": None if self.max_overdue_ms is None else round(self.max_overdue_ms, 3),
        }

    def to_json(self) -> str:
        """The same as a JSON document."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
