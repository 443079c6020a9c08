"""Signing a bundle, where its key is: never on the vehicle."""

from __future__ import annotations

import os
from pathlib import Path

from edgeseg.atomic import atomic_file, fsync
from edgeseg.bundle.keys import load_private_key
from edgeseg.bundle.reader import Bundle
from edgeseg.bundle.signature import SIGNATURE_NAME, make_signature


def sign_bundle(path: Path, key_file: Path) -> str:
    """Put ``signature.json`` into a bundle, atomically; an older one is replaced.

    Args:
        path: ``NAME.edgeseg/``. It is opened and checked first: what is damaged is not vouched for.
        key_file: An Ed25519 private key, as ``edgeseg keygen`` makes it.

    Returns:
        The key's fingerprint.

    Raises:
        KeyFileError: The key cannot be used.
        BundleError: The bundle is damaged.
        OutputError: The bundle's folder cannot be written.
        MissingExtraError: The extra ``sign`` is not installed.
    """
    key = load_private_key(key_file)
    bundle = Bundle.open(path)
    home = Path(os.path.realpath(path))
    # Staged outside: whatever else is in the folder, were it for a moment, makes it no bundle.
    with atomic_file(home / SIGNATURE_NAME, beside=home) as staging:
        staging.write_bytes(make_signature(bundle.manifest_bytes, key))
    fsync(home)
    return key.public.fingerprint
