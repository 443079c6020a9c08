"""A folder of class-id PNGs with their overlays."""

from __future__ import annotations

from pathlib import Path

from edgeseg.errors import SinkError
from edgeseg.loop.sinks.base import Published


class FolderSink:
    """Writes ``POSITION.png`` (class ids) and ``POSITION_overlay.jpg``, each whole or not at all.

    Raises:
        SinkError: The path is a file, cannot be made, or holds something already.
    """

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.output: Path | None = path
        self._path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            taken = next(path.iterdir(), None)
        except OSError as error:
            raise _unwritable(path, str(error.strerror)) from error
        if taken is not None:
            raise SinkError(
                path,
                expected="a new or empty folder, so that two runs do not mix",
                found=f"{taken.name} in it",
                next_step="Name another folder, or empty this one.",
            )

    def write(self, published: Published) -> None:
        path = self._path / f"{published.position:06d}.png"
        try:
            published.segmentation.save(path)
        except OSError as error:
            raise _unwritable(path, str(error.strerror)) from error

    def finish(self, positions: int) -> None:
        """Every file is whole already."""

    def close(self) -> None:
        """Nothing is held open."""


def _unwritable(path: Path, found: str) -> SinkError:
    return SinkError(
        path,
        expected="a folder that can be written",
        found=found,
        next_step="Check its permissions and the free space.",
    )
