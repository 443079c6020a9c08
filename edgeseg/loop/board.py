"""The loop's board: what each process says of itself, where every other can read it at any moment.

One record in shared memory. Each section is written by one process alone; what a process has written stays
when it is killed, and the next one of its kind goes on from there, so that no count is lost with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeseg.loop.shared import SharedBlock
from edgeseg.loop.states import STATES, State
from edgeseg.loop.statistics import Durations

MOST_SINKS = 8
VIEWS = ("", "frozen", "black", "saturated", "covered")
"""What may be wrong with a picture, by its number on the board."""

SUPERVISOR = (("go", "i8"), ("stopping", "i8"), ("state", "i8"), ("reason", "S200"))
CAPTURE = (
    ("epoch", "i8"),  # how often the source was opened
    ("open", "i8"),
    ("ended", "i8"),
    ("read", "i8"),  # frames that the source gave, whole or not
    ("published", "i8"),
    ("corrupt", "i8"),
    ("duplicate", "i8"),
    ("reordered", "i8"),
    ("lost", "i8"),  # by the driver's own numbers
    ("skipped", "i8"),  # of a file that was read too slowly
    ("position", "i8"),
    ("first_ns", "i8"),  # when the first frame of all was captured
    ("read_ns", "i8"),  # of the last whole frame
    ("tried_ns", "i8"),  # of the last frame, whole or not, or of the opening
    ("view", "i8"),
    ("view_since_ns", "i8"),
    ("collections", "i8"),
)
INFERENCE = (
    ("starts", "i8"),
    ("ready", "i8"),
    ("ended", "i8"),
    ("passed", "i8"),  # overwritten before they were taken
    ("taken", "i8"),
    ("stale", "i8"),
    ("failed", "i8"),
    ("torn", "i8"),
    ("finished", "i8"),
    ("late", "i8"),
    ("late_in_a_row", "i8"),
    ("failed_in_a_row", "i8"),
    ("busy_since_ns", "i8"),  # 0 between frames
    ("finished_ns", "i8"),
    ("sequence", "i8"),
    ("age_ms", "f8"),
    ("infer_ms", "f8"),
    ("slowdown", "f8"),  # recent inference beside its first, both as medians
    ("overdue_ms", "f8"),
    ("collections", "i8"),
)
SINK = (("written", "i8"), ("late", "i8"), ("failed", "i8"))
SINKS = (("ready", "i8"), ("ended", "i8"), ("taken", "i8"), ("collections", "i8"))
DURATIONS = ("decode", "wait", "resize", "infer", "post", "age", "publish")

_RECORD = np.dtype(
    [
        ("supervisor", list(SUPERVISOR)),
        ("capture", list(CAPTURE)),
        ("inference", list(INFERENCE)),
        ("sinks", list(SINKS)),
        ("sink", list(SINK), (MOST_SINKS,)),
        ("durations", Durations.RECORD, (len(DURATIONS),)),
        ("sink_age", Durations.RECORD, (MOST_SINKS,)),
        ("sink_time", Durations.RECORD, (MOST_SINKS,)),
    ]
)


class Board:
    """The board in its block of shared memory.

    Attributes:
        supervisor, capture, inference, sinks: The sections, as records of plain numbers.
    """

    def __init__(self, block: SharedBlock) -> None:
        self.block = block
        record: Any = block.array(_RECORD, ())
        self.supervisor, self.capture = record["supervisor"], record["capture"]
        self.inference, self.sinks = record["inference"], record["sinks"]
        self._record = record

    @classmethod
    def create(cls) -> Board:
        return cls(SharedBlock.create("board", _RECORD.itemsize))

    @classmethod
    def attach(cls, fd: int) -> Board:
        return cls(SharedBlock(fd, _RECORD.itemsize))

    def sink(self, index: int) -> Any:
        """The record of one sink."""
        return _one(self._record["sink"], index)

    def durations(self, name: str) -> Durations:
        """One of ``DURATIONS``, counted on the board."""
        return Durations(_one(self._record["durations"], DURATIONS.index(name)))

    def sink_age(self, index: int) -> Durations:
        return Durations(_one(self._record["sink_age"], index))

    def sink_time(self, index: int) -> Durations:
        return Durations(_one(self._record["sink_time"], index))

    @property
    def stopping(self) -> bool:
        return bool(self.supervisor["stopping"])

    @property
    def state(self) -> State:
        return STATES[int(self.supervisor["state"])]

    @property
    def reason(self) -> str:
        return bytes(self.supervisor["reason"].item()).decode("utf-8", "ignore")

    def tell(self, state: str, reason: str) -> None:
        """The supervisor's word; the state is written last, for it is what the others act on."""
        self.supervisor["reason"] = reason.encode()[:200]
        self.supervisor["state"] = STATES.index(state)


def _one(records: Any, index: int) -> Any:
    """A record of an array as a view of it, which an element taken from it need not be."""
    return records[index : index + 1].reshape(())
