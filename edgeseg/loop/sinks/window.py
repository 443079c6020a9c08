"""A window on the screen."""

from __future__ import annotations

from pathlib import Path

import cv2

from edgeseg.errors import SinkError
from edgeseg.loop.sinks.base import Published

_TITLE = "edgeseg"


class WindowSink:
    """Shows each overlay in a window.

    Raises:
        SinkError: The installed OpenCV has no window system, as pip's headless one, or there is no screen.
    """

    name = "window"
    output: Path | None = None

    def __init__(self) -> None:
        if not cv2.currentUIFramework():
            raise SinkError(
                "--sink window",
                expected="an OpenCV that can show windows",
                found="the headless one, which edgeseg installs",
                next_step="Write to FILE.mp4 instead, or replace opencv-python-headless with opencv-python.",
            )
        self._shown = False

    def write(self, published: Published) -> None:
        try:
            cv2.imshow(_TITLE, cv2.cvtColor(published.picture(), cv2.COLOR_RGB2BGR))
            cv2.waitKey(1)
        except cv2.error as error:
            raise SinkError(
                "--sink window",
                expected="a screen to show it on",
                found=str(error).strip(),
                next_step="Run on a desktop, or write to FILE.mp4.",
            ) from error
        self._shown = True

    def finish(self, positions: int) -> None:
        """There is nothing to complete."""

    def close(self) -> None:
        if self._shown:
            cv2.destroyWindow(_TITLE)
            self._shown = False
