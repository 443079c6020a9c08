"""Opening a bundle: nothing is used before it has been checked, and what was checked is what is used.

The order is that of the design: the exact set of files, their sizes and hashes, the schema; the golden
self-test follows when a runtime has loaded the model (:mod:`edgeseg.segmenter`). The manifest comes first of
all, for it holds the hashes; its own digest is checked as it is read.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from edgeseg.bundle.manifest import GOLDEN_NAME, MANIFEST_NAME, Manifest, ModelFile
from edgeseg.errors import (
    BundleMissingError,
    GoldenMismatchError,
    MemberHashError,
    MemberMissingError,
    MemberSizeError,
    MemberUnexpectedError,
)
from edgeseg.labels import LabelSet, Mask

MAX_MEMBER_BYTES = 2 << 30
MAX_MANIFEST_BYTES = 4 << 20
_COPY_AGAIN = "Copy the bundle again from where it was exported; it must not be used as it is."


@dataclass(frozen=True)
class Golden:
    """Real frames ``uint8 [K, H, W, 3]`` and, per model file, the masks ``uint8 [K, H, W]`` of them."""

    frames: Mask
    masks: Mapping[str, Mask]


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
        members = {m.file: _read_checked(folder, m.file, m.size, m.sha256) for m in manifest.members}
        return cls(folder, manifest, manifest.label_set(), members)

    @property
    def digest(self) -> str:
        """SHA-256 that names this very bundle, hexadecimal."""
        return self.manifest.digest

    def model_bytes(self, model: ModelFile) -> bytes:
        return self.members[model.file]

    def golden(self) -> Golden:
        """The golden frames and masks, read without pickle.

        Raises:
            GoldenMismatchError: The archive does not hold what the manifest's models need.
        """
        spec = self.manifest.input
        try:
            with np.load(io.BytesIO(self.members[GOLDEN_NAME]), allow_pickle=False) as archive:
                frames = archive["frames"]
                masks = {m.file: archive[f"masks_{m.precision}"] for m in self.manifest.models}
        except (KeyError, ValueError, OSError, zipfile.BadZipFile) as error:
            raise self._bad_golden(f"an archive that cannot be read ({error})") from error
        for array, shape in [(frames, (spec.height, spec.width, 3))] + [
            (mask, (spec.height, spec.width)) for mask in masks.values()
        ]:
            if array.dtype != np.uint8 or array.shape != (len(frames), *shape) or not len(frames):
                raise self._bad_golden(f"an array of {array.dtype} {array.shape}")
        return Golden(frames, masks)

    def _bad_golden(self, found: str) -> GoldenMismatchError:
        return GoldenMismatchError(
            self.path / GOLDEN_NAME,
            expected="at least one uint8 frame of the model's input size, and each model's masks of it",
            found=found,
            next_step="Export the bundle again.",
        )


def _check_file_set(folder: Path, manifest: Manifest) -> None:
    named = [MANIFEST_NAME, *(m.file for m in manifest.members)]
    for name in named:
        pure = PurePosixPath(name)
        if pure.is_absolute() or len(pure.parts) != 1 or pure.parts[0] in {"..", "."} or "\\" in name:
            raise MemberUnexpectedError(
                folder / MANIFEST_NAME,
                expected="plain file names",
                found=f"the member name {name!r}",
                next_step=_COPY_AGAIN,
            )
    for needed in [GOLDEN_NAME, *(m.file for m in manifest.models)]:
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


def _read_checked(folder: Path, name: str, size: int, sha256: str) -> bytes:
    data = _read(folder, name, MAX_MEMBER_BYTES, size)
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
        # O_NOFOLLOW and fstat on the open file: what was checked cannot be swapped for a link afterwards.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise MemberUnexpectedError(
            path, expected="a readable regular file", found=str(error.strerror), next_step=_COPY_AGAIN
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise MemberUnexpectedError(
                path, expected="a regular file", found="something else", next_step=_COPY_AGAIN
            )
        if status.st_size > limit or (size is not None and status.st_size != size):
            expected = f"{size} bytes" if size is not None else f"at most {limit} bytes"
            raise MemberSizeError(
                path, expected=expected, found=f"{status.st_size} bytes", next_step=_COPY_AGAIN
            )
        return file.read(status.st_size)


def _missing(path: Path) -> MemberMissingError:
    return MemberMissingError(path, expected="the file", found="nothing there", next_step=_COPY_AGAIN)
