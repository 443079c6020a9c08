"""No output: for measuring, and where the masks are used in the process itself."""

from __future__ import annotations

from pathlib import Path

from edgeseg.loop.sinks.base import Published


class NoSink:
    """Takes masks and forgets them; nothing is drawn."""

    name = "none"
    output: Path | None = None

    def write(self, published: Published) -> None:
        """Nothing to do."""

    def finish(self, positions: int) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Nothing to do."""
