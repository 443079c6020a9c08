"""What a run of the loop says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edgeseg.errors import EdgesegError
from edgeseg.loop.ledger import Ledger
from edgeseg.loop.states import State
from edgeseg.loop.statistics import Summary

Ended = Literal["end of stream", "stopped", "failed"]
Mode = Literal["live", "real-time", "every-frame"]
STAGES = ("decode", "wait", "resize", "infer", "post", "publish")


@dataclass(frozen=True)
class LoopStatus:
    """How the loop is doing; given to ``on_status`` about twice a second."""

    seconds: float
    state: State
    reason: str
    position: int
    frame_count: int | None
    fps: float
    age_ms: float
    dropped: int


@dataclass(frozen=True)
class SinkReport:
    """What came of one sink.

    Args:
        name: As it was asked for.
        output: The file or folder that is there now; ``None`` where there is none.
        written: Masks that it took; where it was slower than they came, fewer than were made.
        late: Those that were older than the deadline by then.
        age: Milliseconds from capture to the moment it was given the mask.
        error: What it failed with, if it did.
    """

    name: str
    output: Path | None
    written: int
    late: int
    age: Summary
    error: EdgesegError | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "output": str(self.output) if self.output else None,
            "written": self.written,
            "late": self.late,
            "age_ms": self.age.to_dict(),
            "error": str(self.error) if self.error else None,
        }


@dataclass(frozen=True)
class LoopReport:
    """The whole run.

    Args:
        signature: ``signed by FINGERPRINT``, ``signed, not checked`` or ``unsigned``.
        build_note: What is still to be built on the device before the bundle's first runtime can run it,
            where another one ran here; else ``None``.
        mode: ``live`` and ``real-time`` let the newest frame win; ``every-frame`` drops none.
        ended: Why it ended.
        error: What went wrong, where something did. The sinks were finished all the same.
        epochs: How often the source was opened.
        restarts: How often a process had to be started anew, by its name.
        states: Seconds spent in each state.
        changes: Changes of state: seconds since the start, the state, and the reason for it. The last 1,000.
        seconds: From the first frame to the last mask.
        fps: Masks a second.
        ledger: What became of every frame.
        collections: Automatic garbage collections in the processes of the loop once they were warm.
        stages: Milliseconds of each of ``STAGES``: ``wait`` is from the frame's hand-over to its inference,
            ``publish`` from the finished mask to its hand-over to the sinks.
        age: Milliseconds from capture to the finished mask, of every mask. With ``every-frame`` it says how
            long frames queued, not how old a picture of the road is.
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
    source_format: str
    mode: Mode
    ended: Ended
    error: EdgesegError | None
    epochs: int
    restarts: dict[str, int]
    states: dict[str, float]
    changes: tuple[tuple[float, State, str], ...]
    seconds: float
    fps: float
    ledger: Ledger
    collections: int
    stages: dict[str, Summary]
    age: Summary
    sinks: tuple[SinkReport, ...]
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
            "source_format": self.source_format,
            "mode": self.mode,
            "ended": self.ended,
            "error": str(self.error) if self.error else None,
            "epochs": self.epochs,
            "restarts": self.restarts,
            "states_s": {state: round(seconds, 3) for state, seconds in self.states.items()},
            "changes": [[round(at, 3), state, reason] for at, state, reason in self.changes],
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "frames": self.ledger.to_dict(),
            "collections": self.collections,
            "stages_ms": {name: summary.to_dict() for name, summary in self.stages.items()},
            "age_ms": self.age.to_dict(),
            "sinks": [sink.to_dict() for sink in self.sinks],
            "max_overdue_ms": None if self.max_overdue_ms is None else round(self.max_overdue_ms, 3),
        }

    def to_json(self) -> str:
        """The same as a JSON document."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"
