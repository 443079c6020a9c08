"""Faults that a drawn camera can be told to have, to test what follows it without breaking a real one."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

DEFAULT_SECONDS = 1.0

FAULTS = {
    "stall": "no frames; reading waits, and gives up as with any camera",
    "block": "reading does not return for that long, whatever happens",
    "freeze": "the same pixels under new stamps",
    "same": "the very same buffer again, stamp and all",
    "black": "a picture without light",
    "white": "a blinded picture",
    "covered": "a covered lens",
    "corrupt": "frames that do not decode",
    "unplug": "reading fails, and so does opening until the end",
    "burst": "no frames, and at the end all of them at once",
    "resize": "frames of half the size",
    "duplicate": "every frame twice",
    "reorder": "frames swapped in pairs",
    "wrap": "the driver's 32-bit sequence number wraps at that second",
    "none": "no frame from SECONDS on, 0 for the start; without +DURATION for ever",
}
"""What ``?fault=KIND@SECONDS[+DURATION]`` can ask for."""


@dataclass(frozen=True)
class Fault:
    """One fault from ``start`` to before ``end``, in seconds since the camera was first opened."""

    kind: str
    start: float
    end: float

    def holds_at(self, seconds: float) -> bool:
        return self.start <= seconds < self.end


def parse_fault(text: str) -> Fault:
    """A fault from ``KIND@SECONDS[+DURATION]``, for instance ``stall@5+2``.

    Raises:
        ValueError: It is not written so, or no fault has that name; the message says what was expected.
    """
    parts = re.fullmatch(r"([a-z]+)@(\d+(?:\.\d+)?)(?:\+(\d+(?:\.\d+)?))?", text)
    if parts is None or parts[1] not in FAULTS:
        raise ValueError(f"KIND@SECONDS[+DURATION], with a KIND of {', '.join(FAULTS)}")
    kind, start = parts[1], float(parts[2])
    lasts = float(parts[3]) if parts[3] else math.inf if kind == "none" else DEFAULT_SECONDS
    # 0.2 + 0.4 is more than 0.6, and a frame at 0.6 is not meant.
    return Fault(kind, start, round(start + lasts, 9))
