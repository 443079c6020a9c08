"""Opening a bundle: nothing is used before it has been checked, and what was checked is what is used.

The order is that of the design: the exact set of files, their sizes and hashes, the schema; the golden
self-test follows when a runtime has loaded the model (:mod:`edgeseg.segmenter`). The manifest comes first of
all, for it holds the hashes; its own digest is checked as it is read.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgeseg.bundle.golden import Golden, read_golden
from edgeseg.bundle.manifest import GOLDEN_NAME, MANIFEST_NAME, Manifest, ModelFile
from edgeseg.errors import (
    BundleMissingError,
    MemberHashError,
    MemberMissingError,
    MemberSizeError,
    MemberUnexpectedError,
)
from edgeseg.labels import LabelSet

MAX_BUNDLE_BYTES = 2 << 30
MAX_MANIFEST_BYTES = 4 << 20
# With fstat on the open file: what was checked cannot be swapped for a link afterwards. A named pipe would
# block the open for ever.
_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_COPY_AGAIN = "Copy the bundle again from where it was exported; it must not be used as it is."


@dataclass(frozen=True)
class Bundle:
    """A checked bundle. Its members are held in memory, as they were hashed."""

    path: Path
    manifest: Manifest
    labels: LabelSet
    members: Mapping[str, bytes]

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read and check every member of ``NAME.edgeseg/``.

        Raises:
            BundleError: One of its kinds, naming the member and the next step.
        """
        folder = Path(path)
        if not folder.is_dir():
            raise BundleMissingError(
                folder,
                expected="a bundle, that is a folder NAME.edgeseg",
                found="a file" if folder.exists() else "nothing there",
                next_step="Make one with: edgeseg export MODEL.keras --data DATA",
            )
        manifest = Manifest.from_bytes(
            _read(folder, MANIFEST_NAME, MAX_MANIFEST_BYTES), str(folder / MANIFEST_NAME)
        )
        _check_file_set(folder, manifest)
        _check_total(folder, manifest)
        members = {m.file: _read_checked(folder, m.file, m.size, m.sha256) for m in manifest.members}
        return cls(folder, manifest, manifest.label_set(), members)

    @property
    def digest(self) -> str:
        """SHA-256 that names this very bundle, hexadecimal."""
        return self.manifest.digest

    def model_bytes(self, model: ModelFile) -> bytes:
        return self.members[model.file]

    def weights_bytes(self, model: ModelFile) -> bytes:
        """The weights of a model whose format keeps them in a member of their own; else empty."""
        return b"" if model.weights is None else self.members[model.weights]

    def model_size(self, model: ModelFile) -> int:
        """Bytes of all members that the model consists of."""
        return sum(len(self.members[name]) for name in model.members)

    def golden(self) -> Golden:
        """The golden frames and masks, read without pickle.

        Raises:
            GoldenMismatchError: The archive does not hold what the manifest's models need.
        """
        return read_golden(self.path / GOLDEN_NAME, self.members[GOLDEN_NAME], self.manifest)


def _check_file_set(folder: Path, manifest: Manifest) -> None:
    """The folder holds what the manifest names, and nothing else."""
    named = [MANIFEST_NAME, *(m.file for m in manifest.members)]
    for name in named:
        if name in {"", ".", ".."} or set(name) & set("/\\\0"):
            raise MemberUnexpectedError(
                folder / MANIFEST_NAME,
                expected="plain file names",
                found=f"the member name {name!r}",
                next_step=_COPY_AGAIN,
            )
    for needed in [GOLDEN_NAME, *(name for m in manifest.models for name in m.members)]:
        if needed not in named:
            raise MemberMissingError(
                folder / needed,
                expected="to be named in the manifest",
                found="it is not",
                next_step="Export the bundle again.",
            )
    there = {entry.name for entry in os.scandir(folder)}
    for name in sorted(there - set(named)):
        raise MemberUnexpectedError(
            folder / name,
            expected=f"only the bundle's members: {', '.join(named)}",
            found="a file that the manifest does not name",
            next_step="Remove it, or copy the bundle again.",
        )
    for name in named:
        if name not in there:
            raise _missing(folder / name)


def _check_total(folder: Path, manifest: Manifest) -> None:
    """Before anything of it is read: all members are held in memory."""
    total = sum(member.size for member in manifest.members)
    if total > MAX_BUNDLE_BYTES:
        raise MemberSizeError(
            folder,
            expected=f"at most {MAX_BUNDLE_BYTES} bytes in all",
            found=f"{total} bytes",
            next_step="Export a smaller model.",
        )


def _read_checked(folder: Path, name: str, size: int, sha256: str) -> bytes:
    data = _read(folder, name, MAX_BUNDLE_BYTES, size)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise MemberHashError(
            folder / name, expected=f"SHA-256 {sha256[:16]}…", found=f"{found[:16]}…", next_step=_COPY_AGAIN
        )
    return data


def _read(folder: Path, name: str, limit: int, size: int | None = None) -> bytes:
    """A regular file's bytes; its size is checked before anything is allocated."""
    path = folder / name
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise MemberUnexpectedError(
            path, expected="a readable regular file", found=str(error.strerror), next_step=_COPY_AGAIN
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MemberUnexpectedError(
                path, expected="a regular file", found="something else", next_step=_COPY_AGAIN
            )
        if status.st_size > limit or (size is not None and status.st_size != size):
            expected = f"{size} bytes" if size is not None else f"at most {limit} bytes"
            raise MemberSizeError(
                path, expected=expected, found=f"{status.st_size} bytes", next_step=_COPY_AGAIN
            )
        # Shorter where the file shrinks meanwhile: the hash tells.
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(status.st_size)
    finally:
        os.close(descriptor)


def _missing(path: Path) -> MemberMissingError:
    return MemberMissingError(path, expected="the file", found="nothing there", next_step=_COPY_AGAIN)
