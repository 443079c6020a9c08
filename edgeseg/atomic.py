"""Files and folders that appear whole or not at all.

What the operating system refuses, there or while the caller writes, becomes an ``OutputError``.
"""

from __future__ import annotations

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseg.errors import OutputError


@contextmanager
def atomic_folder(destination: Path) -> Iterator[Path]:
    """A staging folder that becomes ``destination`` when the block ends well and vanishes when it does not.

    It stands beside the destination, so that the last step is one rename on one file system. A destination
    that exists is replaced only then. Every file is flushed to the disk before the rename.

    Raises:
        OutputError: It cannot be written.
    """
    staging = _beside(destination)
    with writing(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        try:
            yield staging
            for path in [*staging.rglob("*"), staging]:
                fsync(path)
            _replace_folder(staging, destination)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


@contextmanager
def atomic_file(destination: Path, *, beside: Path | None = None) -> Iterator[Path]:
    """The path of a staging file, with the destination's suffix, that replaces ``destination`` at the end.

    Args:
        destination: The file.
        beside: Stage next to this path instead of the destination, in whose folder nothing else may appear.

    Raises:
        OutputError: It cannot be written.
    """
    staged = StagedFile(destination, beside=beside)
    with writing(destination):
        try:
            yield staged.path
            staged.commit()
        except BaseException:
            staged.discard()
            raise


class StagedFile:
    """The same for a file that is written over a longer time than one block, as a video is.

    Attributes:
        path: The staging file's path; whoever made this object writes to it.

    Raises:
        OutputError: Its folder cannot be made.
    """

    def __init__(self, destination: Path, *, beside: Path | None = None) -> None:
        with writing(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
        self.path = _beside(beside or destination)
        self._destination = destination

    def commit(self) -> None:
        """Flush the staging file to the disk and put it in the destination's place.

        Raises:
            OutputError: It cannot be.
        """
        with writing(self._destination):
            fsync(self.path)
            self.path.replace(self._destination)

    def discard(self) -> None:
        """Remove the staging file; harmless after :meth:`commit`, and twice."""
        self.path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """See that files can be written to ``folder``, before work that may take long; nothing is left of it.

    Raises:
        OutputError: They cannot.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = _beside(folder / "probe")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        for path in made:
            path.rmdir()


def write_text(destination: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with atomic_file(destination) as staging:
        staging.write_text(text, encoding="utf-8")


def clear_leftovers(destination: Path) -> None:
    """Delete what processes that were killed have left beside a file; only where no other writes it now."""
    stem, suffix = glob.escape(destination.stem), glob.escape(destination.suffix)
    for leftover in destination.parent.glob(f".{stem}.{'[0-9a-f]' * 8}.part{suffix}"):
        leftover.unlink(missing_ok=True)


@contextmanager
def writing(destination: Path) -> Iterator[None]:
    """What the operating system refuses in the block becomes an ``OutputError`` about ``destination``."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError.of(destination, error) from error


def fsync(path: Path) -> None:
    """Flush a file, or a folder's list of files, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(destination: Path) -> Path:
    # Not with_name, which refuses "." and "/": those are refused as places.
    return destination.parent / f".{destination.stem}.{uuid.uuid4().hex[:8]}.part{destination.suffix}"


def _replace_folder(staging: Path, destination: Path) -> None:
    if not destination.exists():
        staging.rename(destination)
        return
    # A folder that is not empty cannot be renamed over: step the old one aside, so that it can come back.
    old = _beside(destination)
    destination.rename(old)
    try:
        staging.rename(destination)
    except OSError:
        old.rename(destination)
        raise
    shutil.rmtree(old, ignore_errors=True)
