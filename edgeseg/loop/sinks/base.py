"""What every sink does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgeseg.overlay import draw_caption
from edgeseg.resize import Image
from edgeseg.segmenter import Segmentation


@dataclass(frozen=True)
class Published:
    """A mask on its way out.

    Args:
        segmentation: The mask, with its frame. ``valid`` is decided at the moment the sink is given it.
        position: The frame's place on the source's time line, in frame periods from 0. It only grows.
        age_ms: How old the picture is at that moment: from capture to the sink, in milliseconds. The
            segmentation's own age ends with the finished mask.
        caption: A line of figures for pictures that people look at.
    """

    segmentation: Segmentation
    position: int
    age_ms: float
    caption: str

    def picture(self) -> Image:
        """The overlay with its caption, ``uint8 [H, W, 3]`` RGB. A mask that is not valid says so in red."""
        valid = self.segmentation.valid
        text = self.caption if valid else f"TOO OLD   {self.caption}"
        return draw_caption(self.segmentation.overlay(), text, warn=not valid)


class Sink(Protocol):
    """Takes masks from one thread: any number of :meth:`write`, then :meth:`finish`, then :meth:`close`.

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
