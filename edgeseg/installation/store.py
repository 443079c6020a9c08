"""The folder that ``edgeseg install`` keeps on a vehicle, and the single steps that change it.

    DEST/
      versions/NAME-DIGEST12/   bundles, never changed once they have this name
      current                   relative link to the active one
      previous                  relative link to the one before
      minimum.json              the oldest bundle that may be installed, once that was raised
      .edgeseg-install          says that the folder is such a one; locked while it is changed

Each change is one rename, flushed to the disk before the next begins: whenever the process or the power
ends, the links lead to whole bundles, and what they do not lead to is removed the next time.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from edgeseg.atomic import fsync, writing
from edgeseg.bundle.canonical import from_canonical_json, to_canonical_json
from edgeseg.errors import InstallationBusyError, InstallationError
from edgeseg.installation.moment import parse_moment

CURRENT, PREVIOUS = "current", "previous"
_VERSIONS, _MINIMUM, _MARKER = "versions", "minimum.json", ".edgeseg-install"
_STAGED = ".staged"
_TARGET = re.compile(rf"{_VERSIONS}/([A-Za-z0-9_][A-Za-z0-9._-]*)")


class Store:
    """An installation folder, while :func:`locked_store` holds its lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._versions = path / _VERSIONS

    def linked(self, link: str) -> Path | None:
        """The version that ``current`` or ``previous`` leads to; it may be gone.

        Raises:
            InstallationError: It is no link that edgeseg made.
        """
        path = self.path / link
        if not os.path.lexists(path):
            return None
        target = str(path.readlink()) if path.is_symlink() else ""
        match = _TARGET.fullmatch(target)
        if not match:
            found = f"one to {target!r}" if target else "something else"
            raise _foreign(path, f"a link to {_VERSIONS}/NAME", found)
        return self._versions / match[1]

    def add(self, name: str, files: Mapping[str, bytes]) -> Path:
        """Write a version under a name that is free: ``name``, or with a number after it."""
        with writing(self.path):
            self._versions.mkdir(exist_ok=True)
            fsync(self.path)
            staging = self._versions / _STAGED
            staging.mkdir()
            for file, data in files.items():
                (staging / file).write_bytes(data)
                fsync(staging / file)
            fsync(staging)
            version = self._free(name)
            staging.rename(version)
            fsync(self._versions)
        return version

    def versions(self) -> list[Path]:
        return sorted(self._versions.iterdir()) if self._versions.is_dir() else []

    def link(self, link: str, version: Path) -> None:
        """Turn ``current`` or ``previous`` to a version, by one rename."""
        with writing(self.path):
            staged = self.path / f"{_STAGED}.{link}"
            staged.symlink_to(Path(_VERSIONS, version.name))
            staged.rename(self.path / link)
            fsync(self.path)

    def minimum(self) -> datetime | None:
        """The oldest moment of export that may be installed; ``None``: any.

        Raises:
            InstallationError: The file cannot be read. Nothing is installed then: it may have said more.
        """
        path = self.path / _MINIMUM
        try:
            return parse_moment(from_canonical_json(path.read_bytes())["minimum"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise _foreign(path, "the minimum as edgeseg install wrote it", f"{error!r}") from error

    def set_minimum(self, moment: datetime) -> None:
        with writing(self.path):
            staged = self.path / f"{_STAGED}.{_MINIMUM}"
            staged.write_bytes(to_canonical_json({"minimum": moment.isoformat()}))
            fsync(staged)
            staged.rename(self.path / _MINIMUM)
            fsync(self.path)

    def clean(self) -> list[str]:
        """Remove what neither link leads to, and what an install that was killed has left.

        Returns:
            The names of the versions that are no more.
        """
        kept = {self.linked(CURRENT), self.linked(PREVIOUS)}
        removed = [version for version in self.versions() if version not in kept]
        with writing(self.path):
            for path in [*removed, *self.path.glob(f"{_STAGED}.*")]:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        return [version.name for version in removed if version.name != _STAGED]

    def _free(self, name: str) -> Path:
        version, number = self._versions / name, 2
        while os.path.lexists(version):
            version, number = self._versions / f"{name}-{number}", number + 1
        return version


@contextmanager
def locked_store(path: Path, *, create: bool) -> Iterator[Store]:
    """An installation folder for this process alone.

    Args:
        create: Make one where nothing is, or an empty folder.

    Raises:
        InstallationError: The path holds something that edgeseg install did not make.
        InstallationBusyError: Another process has it.
        OutputError: It cannot be written.
    """
    _check_place(path, create)
    marker = path / _MARKER
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
        fsync(path.parent)
        descriptor = os.open(marker, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        _lock(descriptor, path)
        fsync(path)
        yield Store(path)
    finally:
        os.close(descriptor)


def _check_place(path: Path, create: bool) -> None:
    if (path / _MARKER).is_file():
        return
    if not create:
        raise _foreign(path, "a folder that edgeseg install made", "none")
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        found = "a folder of other things" if path.is_dir() else "something else"
        raise _foreign(path, "an empty folder, or one that edgeseg install made", found)


def _lock(descriptor: int, path: Path) -> None:
    import fcntl  # no such thing on Windows

    try:
        # The system lets go of it when the process ends, however it ends.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InstallationBusyError(
            path,
            expected="to be the only one at work there",
            found="another edgeseg install or rollback",
            next_step="Wait until it has ended, and try again.",
        ) from None


def _foreign(path: Path, expected: str, found: str) -> InstallationError:
    return InstallationError(
        path, expected=expected, found=found, next_step="Name another folder, or look what is there."
    )
