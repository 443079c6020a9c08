"""Recorded events on the disk, and the bound on what they take."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseg.atomic import atomic_folder, check_writable
from edgeseg.errors import OutputError, SinkError

_NAME = re.compile(r"event-\d{8}T\d{6}\.\d{3}Z-[a-z0-9-]+")
_LEFTOVER = re.compile(r"\.event-.*\.[0-9a-f]{8}\.part.*")


@dataclass(frozen=True)
class Moment:
    """One mask as it is recorded.

    Args:
        taken: When, on the clock of :func:`time.monotonic`.
        stamp: Everything about it but its pixels.
        jpeg, png: The frame, and the class ids.
    """

    taken: float
    stamp: dict[str, Any]
    jpeg: bytes
    png: bytes

    @property
    def size(self) -> int:
        return len(self.jpeg) + len(self.png)


class EventFolder:
    """A folder of event folders; nothing else in it is ever touched.

    Attributes:
        path: The folder.
        written: The event folders that this object wrote.

    Raises:
        SinkError: It cannot be written.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self.written: list[Path] = []
        self._max_bytes = max_bytes
        try:
            check_writable(path)
        except OutputError as error:
            raise SinkError(
                path, expected=error.expected, found=error.found, next_step=error.next_step
            ) from error
        if path.is_dir():
            # What a process that was killed has left unfinished.
            for leftover in path.iterdir():
                if _LEFTOVER.fullmatch(leftover.name):
                    shutil.rmtree(leftover, ignore_errors=True)

    def save(self, name: str, moments: Sequence[Moment], about: Mapping[str, Any]) -> None:
        """Write an event, after deleting as many of the oldest as its size asks for.

        Raises:
            OSError: It cannot be written; nothing is left of it.
        """
        moments = self._fitting(moments)
        self._make_room(sum(m.size for m in moments))
        destination = self.path / name
        with atomic_folder(destination) as staging:
            for moment in moments:
                stem = f"{moment.stamp['sequence']:09d}"
                (staging / f"{stem}.jpg").write_bytes(moment.jpeg)
                (staging / f"{stem}.png").write_bytes(moment.png)
            text = json.dumps(about, indent=1, ensure_ascii=False, default=str)
            (staging / "event.json").write_text(text + "\n", encoding="utf-8")
        self.written.append(destination)

    def _fitting(self, moments: Sequence[Moment]) -> Sequence[Moment]:
        """Of an event that alone is over the bound, what came last."""
        size, first = 0, len(moments)
        while first and size + moments[first - 1].size <= self._max_bytes:
            first -= 1
            size += moments[first].size
        return moments[first:]

    def _make_room(self, size: int) -> None:
        # The names sort by time.
        events = sorted(p for p in self._events() if p.is_dir() and not p.is_symlink())
        sizes = {event: sum(f.stat().st_size for f in event.iterdir()) for event in events}
        total = sum(sizes.values())
        for event in events:
            if total + size <= self._max_bytes:
                return
            shutil.rmtree(event)
            total -= sizes[event]

    def _events(self) -> list[Path]:
        return [p for p in self.path.iterdir() if _NAME.fullmatch(p.name)] if self.path.is_dir() else []
