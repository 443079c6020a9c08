"""One line of JSON for each mask, and for each event of the loop."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from edgeseg.errors import SinkError
from edgeseg.loop.sinks.address import Address, positive
from edgeseg.loop.sinks.base import Published

_MAX_MB = 100.0


class JsonLinesSink:
    """Appends to ``FILE.jsonl``; a file that grows over ``max_mb`` becomes ``FILE.jsonl.1``, the one old one.

    Each line is one write of whole bytes, so that who follows the file sees whole lines, and so that a
    process that is killed leaves at most its last line unfinished. The next run starts behind it.

    Args:
        path: The file; ``None`` is standard output, which has no bound.
        max_mb: Megabytes that the file may have, and the old one beside it.

    Raises:
        SinkError: The file cannot be opened.
    """

    def __init__(self, path: Path | None, max_mb: float = _MAX_MB) -> None:
        self.name = str(path or "-")
        self.output = path
        self._path = path
        self._max_bytes = round(max_mb * 1e6)
        self._file: BinaryIO | None = self._open()

    @classmethod
    def open(cls, address: Address) -> JsonLinesSink:
        """Of ``FILE.jsonl?max_mb=100``, or ``-``."""
        address.check_options(("max_mb",))
        path = None if address.scheme == "-" else Path(address.place)
        return cls(path, address.option("max_mb", positive, _MAX_MB))

    def write(self, published: Published) -> None:
        self._append({"event": "mask", **published.describe(), "classes": published.shares()})

    def event(self, event: Mapping[str, Any]) -> None:
        self._append(event)

    def finish(self, positions: int) -> None:
        """Every line is whole already."""

    def close(self) -> None:
        if self._file is not None and self._path is not None:
            self._file.close()
        self._file = None

    def _append(self, values: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, **values}, ensure_ascii=False, default=str).encode() + b"\n"
        try:
            if self._path is not None and self._size and self._size + len(line) > self._max_bytes:
                self._rotate(self._path)
            self._write_whole(self._file, line)
        except OSError as error:
            raise self._error(error) from error
        self._size += len(line)

    def _write_whole(self, file: BinaryIO, line: bytes) -> None:
        """All of the line or, in a file whose disk is full, nothing of it."""
        written = 0
        try:
            while written < len(line):
                written += file.write(line[written:])
        except OSError:
            if written and self._path is not None:
                os.ftruncate(file.fileno(), self._size)
            raise

    def _rotate(self, path: Path) -> None:
        if self._file is not None:
            self._file.close()
        path.replace(path.with_name(f"{path.name}.1"))
        self._file = self._open()

    def _open(self) -> BinaryIO:
        self._size = 0
        if self._path is None:
            # Not closed: it is the process's own.
            return open(sys.stdout.fileno(), "wb", buffering=0, closefd=False)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab", buffering=0)
            self._size = file.tell()
            if self._size and stat.S_ISREG(os.fstat(file.fileno()).st_mode) and not _ends_whole(self._path):
                self._size += file.write(b"\n")
        except OSError as error:
            raise self._error(error) from error
        return file

    def _error(self, error: OSError) -> SinkError:
        return SinkError(
            self.name,
            expected="a file that lines can be appended to",
            found=error.strerror or type(error).__name__,
            next_step="Check its permissions and the free space, or who reads the pipe.",
        )


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
