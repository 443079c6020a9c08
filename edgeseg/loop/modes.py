"""How the frames of a source are taken."""

from __future__ import annotations

from edgeseg.camera import Source
from edgeseg.errors import UsageError
from edgeseg.loop.report import Mode


def choose_mode(source: Source, every_frame: bool) -> Mode:
    """By what the source is, and whether every frame of it is wanted.

    Raises:
        UsageError: ``every_frame`` with a live source, whose frames do not wait.
    """
    if every_frame and source.live:
        raise UsageError(
            "--every-frame",
            expected="a file or folder, whose frames wait",
            found=f"the live source {source.name}",
            next_step="Leave it out: of a live source the newest frame wins.",
        )
    if every_frame:
        return "every-frame"
    return "live" if source.live else "real-time"
