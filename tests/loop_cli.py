"""``edgeseg run`` with the tests' own camera, models and sinks: its arguments are those of the command."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgeseg import loop
from edgeseg.cli import main
from edgeseg.loop.sinks import Published, Sink, VideoSink, open_sink

SINKS = "loop_cli:open_sinks"


def open_sinks(texts: Sequence[str], fps: float) -> list[Sink]:
    """The sinks that they name; ``stuck://``, whose first write never returns; ``slow….mp4``."""
    return [_open(text, fps) for text in texts]


def _open(text: str, fps: float) -> Sink:
    if text == "stuck://":
        return StuckSink()
    return SlowVideo(Path(text), fps) if text.startswith("slow") else open_sink(text, fps)


class SlowVideo(VideoSink):
    """On a disk that takes for ever."""

    def finish(self, positions: int) -> None:
        time.sleep(1000)


class StuckSink:
    """Who takes its masks has gone, and the network says nothing of it."""

    name = "stuck"
    output: Path | None = None

    def write(self, published: Published) -> None:
        time.sleep(1000)

    def finish(self, positions: int) -> None:
        pass

    def close(self) -> None:
        pass


if __name__ == "__main__":
    plan: Any = partial(
        loop.LoopPlan, parts=("loop_cameras:open_source", "loop_faults:load", "loop_cli:open_sinks")
    )
    loop.LoopPlan = plan  # type: ignore[misc]
    sys.argv[0] = "edgeseg"
    main()
