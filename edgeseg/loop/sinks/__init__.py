"""Sinks: where the loop's masks go."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import SinkError
from edgeseg.loop.sinks.base import Published, Sink
from edgeseg.loop.sinks.folder import FolderSink
from edgeseg.loop.sinks.none import NoSink
from edgeseg.loop.sinks.video import VideoSink
from edgeseg.loop.sinks.window import WindowSink

__all__ = ["FolderSink", "NoSink", "Published", "Sink", "VideoSink", "WindowSink", "open_sink"]


def open_sink(text: str, fps: float) -> Sink:
    """Open what ``text`` names.

    Args:
        text: ``none``, ``window``, a ``FILE.mp4``, or a folder (new or empty).
        fps: The source's frame rate, which a video keeps.

    Raises:
        SinkError: It cannot be opened.
    """
    if text == "none":
        return NoSink()
    if text == "window":
        return WindowSink()
    path = Path(text)
    if path.suffix.lower() == ".mp4":
        return VideoSink(path, fps)
    if path.suffix and not path.is_dir():
        raise SinkError(
            path,
            expected="FILE.mp4, a folder, window or none",
            found=f"a file name that ends in {path.suffix}",
            next_step="Name an .mp4 file.",
        )
    return FolderSink(path)
