"""``signature.json``: who vouches for a bundle.

It is the Ed25519 signature (RFC 8032) of the exact bytes of ``manifest.json``, which hold the hash of every
other member, with the fingerprint of the key that made it. Keys lie outside of the bundle; nothing is asked
of a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgeseg.bundle.canonical import from_canonical_json, to_canonical_json
from edgeseg.bundle.keys import PrivateKey, PublicKey
from edgeseg.bundle.members import COPY_AGAIN, read_file, shown
from edgeseg.errors import (
    MemberMissingError,
    SignatureMalformedError,
    SignatureMismatchError,
    SignatureMissingError,
    UntrustedKeyError,
)

SIGNATURE_NAME = "signature.json"
MAX_SIGNATURE_BYTES = 4096
_LONGEST_FOUND = 300


@dataclass(frozen=True)
class Signature:
    """What is known of a bundle's signature.

    Args:
        key: Fingerprint of the key that the file says made it; ``None``: the bundle is not signed.
        checked: Whether that key was a trusted one, and did make it.
        data: The file's bytes; empty where there is none.
    """

    key: str | None = None
    checked: bool = False
    data: bytes = b""

    def __str__(self) -> str:
        if self.key is None:
            return "unsigned"
        return f"signed by {self.key}" if self.checked else "signed, not checked"


UNSIGNED = Signature()


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    algorithm: Literal["ed25519"] = "ed25519"
    key: str = Field(pattern=r"^[0-9a-f]{64}$")
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")


def read_signature(path: Path, manifest: bytes, trusted: Sequence[PublicKey] | None) -> Signature:
    """Read a signature file and, where keys are given, hold the manifest's bytes against it.

    Raises:
        SignatureError: One of its kinds. Without keys only the file's own form can be wrong.
        MemberUnexpectedError, MemberSizeError: It is a link or no file, or too long.
    """
    try:
        data = read_file(path, MAX_SIGNATURE_BYTES)
    except MemberMissingError:
        if trusted is None:
            return UNSIGNED
        raise SignatureMissingError(
            path,
            expected=f"a signature by one of {_names(trusted)}",
            found="none",
            next_step="Sign the bundle where it was exported: edgeseg sign BUNDLE --key KEY.pem",
        ) from None
    file = _parsed(path, data)
    if trusted is None:
        return Signature(file.key, checked=False, data=data)
    _check(path, file, manifest, trusted)
    return Signature(file.key, checked=True, data=data)


def make_signature(manifest: bytes, key: PrivateKey) -> bytes:
    """The bytes of the signature file of these bytes."""
    file = _File(key=key.public.fingerprint, signature=key.sign(manifest).hex())
    return to_canonical_json(file.model_dump())


def _parsed(path: Path, data: bytes) -> _File:
    try:
        return _File.model_validate(from_canonical_json(data))
    except ValidationError as error:
        found = f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
    except ValueError as error:
        found = str(error)
    raise SignatureMalformedError(
        path,
        expected="the signature as edgeseg sign wrote it",
        found=shown(found, _LONGEST_FOUND),
        next_step="Copy the bundle again, or remove the file and sign again.",
    )


def _check(path: Path, file: _File, manifest: bytes, trusted: Sequence[PublicKey]) -> None:
    named = [key for key in trusted if key.fingerprint == file.key]
    if not named:
        raise UntrustedKeyError(
            path,
            expected=f"a signature by one of {_names(trusted)}",
            found=f"one by {file.key}",
            next_step="Use a bundle from a source that you trust; add its key only if you know whose it is.",
        )
    if not named[0].verifies(bytes.fromhex(file.signature), manifest):
        raise SignatureMismatchError(
            path,
            expected=f"the signature of this manifest by {file.key}",
            found="another manifest, or a forged signature",
            next_step=COPY_AGAIN,
        )


def _names(keys: Sequence[PublicKey]) -> str:
    return ", ".join(key.fingerprint for key in keys)
