"""Ed25519 keys in PEM files, through the package ``cryptography`` of the extra ``sign``.

A key is named by its fingerprint: the SHA-256 of its public half in DER, as
``openssl pkey -pubin -in KEY.pub.pem -outform DER | sha256sum`` gives it too.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseg.errors import KeyFileError, MissingExtraError, OutputError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_MAX_KEY_BYTES = 1 << 16
_MAKE_ONE = "Make a pair with: edgeseg keygen NAME"


@dataclass(frozen=True)
class PublicKey:
    """What checks signatures. ``fingerprint`` is 64 hexadecimal digits."""

    fingerprint: str
    _key: Ed25519PublicKey

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's private half made this signature of this message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """What makes signatures; keep its file away from bundles and vehicles."""

    public: PublicKey
    _key: Ed25519PrivateKey

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def load_trusted_keys(paths: Sequence[str | Path]) -> list[PublicKey]:
    """Public keys from PEM files.

    Raises:
        UsageError: There is none, so that nothing could ever be trusted.
        KeyFileError: A file cannot be read, or holds something else.
        MissingExtraError: The extra ``sign`` is not installed.
    """
    if not paths:
        raise UsageError(
            "trusted keys",
            expected="at least one, or None where no signature is required",
            found="an empty list",
            next_step="Name the public key of whoever signs your bundles.",
        )
    return [load_public_key(Path(path)) for path in paths]


def load_public_key(path: Path) -> PublicKey:
    """What checks signatures, from a PEM file.

    Raises:
        KeyFileError: It cannot be read, or is no Ed25519 public key.
        MissingExtraError: The extra ``sign`` is not installed.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    data = _read(path, "public")
    if b"PRIVATE KEY" in data:
        raise _bad(path, "public", "a private key", "Name its public half, and keep this file off vehicles.")
    key = _parsed(path, "public", lambda: serialization.load_pem_public_key(data))
    if not isinstance(key, Ed25519PublicKey):
        raise _bad(path, "public", f"another kind of key ({_kind(key)})")
    return _public(key)


def load_private_key(path: Path) -> PrivateKey:
    """What makes signatures, from a PEM file.

    Raises:
        KeyFileError: It cannot be read, is encrypted, or is no Ed25519 private key.
        MissingExtraError: The extra ``sign`` is not installed.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    data = _read(path, "private")
    if b"PUBLIC KEY" in data:
        raise _bad(path, "private", "a public key", "Name its private half.")
    if b"ENCRYPTED" in data:
        decrypt = f"Decrypt it first, for instance with: openssl pkey -in {path} -out PLAIN.pem"
        raise _bad(path, "private", "an encrypted key", decrypt)
    key = _parsed(path, "private", lambda: serialization.load_pem_private_key(data, None))
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad(path, "private", f"another kind of key ({_kind(key)})")
    return PrivateKey(_public(key.public_key()), key)


def write_key_pair(name: Path) -> tuple[Path, Path, str]:
    """Make a key pair: ``NAME.pem``, which its owner alone may read, and ``NAME.pub.pem``.

    Returns:
        Both paths, private first, and the fingerprint.

    Raises:
        KeyFileError: A file of either name is there already: a key that is lost cannot be made again.
        OutputError: The files cannot be written.
        MissingExtraError: The extra ``sign`` is not installed.
    """
    serialization = _serialization()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    private, public = name.with_name(f"{name.name}.pem"), name.with_name(f"{name.name}.pub.pem")
    private_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for path in (private, public):
        if os.path.lexists(path):
            raise KeyFileError(
                path,
                expected="a new file",
                found="one that is there already",
                next_step="Name another one, or move it away: a key that is overwritten is lost.",
            )
    _write_new(private, private_pem, 0o600)
    _write_new(public, public_pem, 0o644)
    return private, public, _public(key.public_key()).fingerprint


def _write_new(path: Path, data: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Its mode from the first moment on: nobody else can have opened it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        raise OutputError.of(path, error) from error


def _serialization() -> Any:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise MissingExtraError.of("signatures", "cryptography", "sign") from error
    return serialization


def _read(path: Path, half: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise _bad(path, half, "something that is no file")
        with path.open("rb") as file:
            return file.read(_MAX_KEY_BYTES)
    except OSError as error:
        raise _bad(path, half, error.strerror or type(error).__name__) from error


def _parsed(path: Path, half: str, parse: Any) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return parse()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _bad(path, half, "something that is no such key") from error


def _public(key: Ed25519PublicKey) -> PublicKey:
    serialization = _serialization()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(hashlib.sha256(der).hexdigest(), key)


def _kind(key: object) -> str:
    return type(key).__name__.removesuffix("PrivateKey").removesuffix("PublicKey")


def _bad(path: Path, half: str, found: str, next_step: str = _MAKE_ONE) -> KeyFileError:
    return KeyFileError(
        path, expected=f"an Ed25519 {half} key, as a PEM file", found=found, next_step=next_step
    )
