"""What every sink does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from edgeseg.camera import Clock
from edgeseg.loop.states import State
from edgeseg.overlay import draw_caption
from edgeseg.resize import Image
from edgeseg.segmenter import Segmentation


@dataclass(frozen=True)
class Stamp:
    """Where a mask comes from and how the loop was when it was published.

    Args:
        sequence: The loop's own number of the frame, from 1; it strictly rises over all that is published.
        epoch: How often the source was opened, from 1. Frames of two epochs have no common time line.
        clock: Whose time the mask's ``captured_ns`` is.
        state: The loop's state.
        reason: Why the state is not ``OK``; else empty.
        late: The mask was older than the deadline.
        digest: SHA-256 of the bundle's manifest.
    """

    sequence: int
    epoch: int = 1
    clock: Clock = "arrival"
    state: State = "OK"
    reason: str = ""
    late: bool = False
    digest: str = ""


@dataclass(frozen=True)
class Figures:
    """How the loop is doing, for people; ``None`` is what nobody measured.

    Args:
        fps: Masks a second.
        decode_ms, wait_ms, sink_ms: Milliseconds of the stages that the segmentation itself does not know.
        dropped: Frames that got no mask, since the start.
    """

    fps: float | None = None
    decode_ms: float | None = None
    wait_ms: float | None = None
    sink_ms: float | None = None
    dropped: int = 0


@dataclass(frozen=True)
class Published:
    """A mask on its way out.

    Args:
        segmentation: The mask, with its frame. ``valid`` is decided at the moment the sink is given it.
        position: The frame's place on the source's time line, in frame periods from 0. It only grows.
        age_ms: How old the picture is at that moment: from capture to the sink, in milliseconds. The
            segmentation's own age ends with the finished mask.
        caption: A line of figures for pictures that people look at.
        stamp: Where it comes from.
        figures: How the loop is doing.
    """

    segmentation: Segmentation
    position: int
    age_ms: float
    caption: str
    stamp: Stamp
    figures: Figures = Figures()

    @property
    def published_ns(self) -> int:
        """When the sink was given it, on the clock of :func:`time.monotonic_ns`."""
        return self.segmentation.captured_ns + round(self.age_ms * 1e6)

    def describe(self) -> dict[str, Any]:
        """Everything but the pixels, as plain JSON values."""
        stamp, segmentation = self.stamp, self.segmentation
        return {
            "sequence": stamp.sequence,
            "epoch": stamp.epoch,
            "position": self.position,
            "captured_ns": segmentation.captured_ns,
            "published_ns": self.published_ns,
            "clock": stamp.clock,
            "age_ms": round(self.age_ms, 3),
            "state": stamp.state,
            "reason": stamp.reason,
            "valid": segmentation.valid,
            "late": stamp.late,
            "digest": stamp.digest,
        }

    def shares(self) -> dict[str, float]:
        """Every class's share of the picture, 0 to 1, as counted at the model's resolution."""
        mask, labels = self.segmentation.model_mask, self.segmentation.labels
        counts = np.bincount(mask.ravel(), minlength=len(labels))
        return {c.name: round(float(counts[c.id] / mask.size), 5) for c in labels.classes}

    def picture(self) -> Image:
        """The overlay with its caption, ``uint8 [H, W, 3]`` RGB. A mask that is not valid says so in red."""
        valid = self.segmentation.valid
        why = "TOO OLD" if self.stamp.late else "NOT VALID"
        text = self.caption if valid else f"{why}   {self.caption}"
        return draw_caption(self.segmentation.overlay(), text, warn=not valid)


class Sink(Protocol):
    """Takes masks from one thread: any number of :meth:`write`, then :meth:`finish`, then :meth:`close`.

    What a mask is made of may be memory that the loop uses again: a sink that needs it after :meth:`write`
    keeps a copy.

    Attributes:
        name: For messages and reports.
        output: The file or folder that is there after :meth:`finish`; ``None`` where there is none.
    """

    name: str
    output: Path | None

    def write(self, published: Published) -> None:
        """Take a mask.

        Raises:
            SinkError: It cannot be written.
        """

    def finish(self, positions: int) -> None:
        """Complete the output for a source that lasted ``positions`` frame periods.

        Raises:
            SinkError: The output is not whole; nothing is left of it.
        """

    def close(self) -> None:
        """Release everything; without :meth:`finish` an unfinished file is removed. Twice is harmless."""


@runtime_checkable
class TakesEvents(Protocol):
    """A sink that also wants to know what happens to the loop, between its masks."""

    def event(self, event: Mapping[str, Any]) -> None:
        """Take an event: plain JSON values, of which ``event`` names the kind.

        The kind ``state`` has ``state`` and ``reason``: the loop's state as it changes, with a mask or
        without one.

        Raises:
            SinkError: It cannot be written.
        """


def send_event(sink: Sink, event: Mapping[str, Any]) -> None:
    """Give an event to a sink that takes events; others never hear of it."""
    if isinstance(sink, TakesEvents):
        sink.event(event)
