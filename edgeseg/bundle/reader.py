"""Opening a bundle: nothing is used before it has been checked, and what was checked is what is used.

The order is that of the design: the signature where one is required, the exact set of files, their sizes and
hashes, the schema; the golden self-test follows when a runtime has loaded the model
(:mod:`edgeseg.segmenter`). The manifest's bytes come first of all, for they are what is signed, and hold the
hashes; its own digest is checked as it is parsed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseg.bundle.golden import Golden, read_golden
from edgeseg.bundle.keys import load_trusted_keys
from edgeseg.bundle.manifest import GOLDEN_NAME, MANIFEST_NAME, Manifest, ModelFile
from edgeseg.bundle.members import COPY_AGAIN, check_file_set, check_names, read_file
from edgeseg.bundle.signature import SIGNATURE_NAME, UNSIGNED, Signature, read_signature
from edgeseg.errors import BundleMissingError, MemberHashError, MemberMissingError, MemberSizeError
from edgeseg.labels import LabelSet

MAX_BUNDLE_BYTES = 2 << 30
MAX_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Bundle:
    """A checked bundle. Its members are held in memory, as they were hashed.

    ``manifest_bytes`` are those of the file, which a signature is of; empty where the bundle is not on disk.
    """

    path: Path
    manifest: Manifest
    labels: LabelSet
    members: Mapping[str, bytes]
    manifest_bytes: bytes = b""
    signature: Signature = UNSIGNED

    @classmethod
    def open(cls, path: str | Path, trusted_keys: Sequence[str | Path] | None = None) -> Bundle:
        """Read and check every member of ``NAME.edgeseg/``.

        Args:
            path: The folder. It may be reached through links; its members may not be links.
            trusted_keys: Public keys, PEM files. Where given, one of them must have signed the bundle.

        Raises:
            BundleError: One of its kinds, naming the member and the next step.
            KeyFileError: A trusted key cannot be read.
            UsageError: The list of trusted keys is empty.
            MissingExtraError: Keys were given, and the extra ``sign`` is not installed.
        """
        keys = None if trusted_keys is None else load_trusted_keys(trusted_keys)
        folder = Path(path)
        home = _home(folder)
        data = read_file(home / MANIFEST_NAME, MAX_MANIFEST_BYTES)
        signature = read_signature(home / SIGNATURE_NAME, data, keys)
        manifest = Manifest.from_bytes(data, str(home / MANIFEST_NAME))
        _check_members(home, manifest)
        members = {m.file: _read_checked(home, m.file, m.size, m.sha256) for m in manifest.members}
        return cls(folder, manifest, manifest.label_set(), members, data, signature)

    @property
    def digest(self) -> str:
        """SHA-256 that names this very bundle, hexadecimal."""
        return self.manifest.digest

    @property
    def files(self) -> Mapping[str, bytes]:
        """Every file of the folder as it was read, the manifest and the signature too."""
        signature = {SIGNATURE_NAME: self.signature.data} if self.signature.data else {}
        return {**self.members, MANIFEST_NAME: self.manifest_bytes, **signature}

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


def _home(folder: Path) -> Path:
    """Where the bundle is. A link to it may be turned to another one while the members are read."""
    if not folder.is_dir():
        raise BundleMissingError(
            folder,
            expected="a bundle, that is a folder NAME.edgeseg",
            found="a file" if folder.exists() else "nothing there",
            next_step="Make one with: edgeseg export MODEL.keras --data DATA",
        )
    return Path(os.path.realpath(folder)) if folder.is_symlink() else folder


def _check_members(folder: Path, manifest: Manifest) -> None:
    """What is named and what is there, and that it is not too much: before any of it is read."""
    members = [member.file for member in manifest.members]
    check_names(folder / MANIFEST_NAME, members, (MANIFEST_NAME, SIGNATURE_NAME))
    for needed in [GOLDEN_NAME, *(name for m in manifest.models for name in m.members)]:
        if needed not in members:
            raise MemberMissingError(
                folder / needed,
                expected="to be named in the manifest",
                found="it is not",
                next_step="Export the bundle again.",
            )
    check_file_set(folder, [MANIFEST_NAME, *members], SIGNATURE_NAME)
    total = sum(member.size for member in manifest.members)
    if total > MAX_BUNDLE_BYTES:
        raise MemberSizeError(
            folder,
            expected=f"at most {MAX_BUNDLE_BYTES} bytes in all",
            found=f"{total} bytes",
            next_step="Export a smaller model.",
        )


def _read_checked(folder: Path, name: str, size: int, sha256: str) -> bytes:
    data = read_file(folder / name, MAX_BUNDLE_BYTES, size)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise MemberHashError(
            folder / name, expected=f"SHA-256 {sha256[:16]}…", found=f"{found[:16]}…", next_step=COPY_AGAIN
        )
    return data
