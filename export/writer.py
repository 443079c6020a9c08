"""Writing a bundle: staged beside its destination, opened and run from there, and only then put in place."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from edgeseg.atomic import atomic_folder
from edgeseg.bundle import Bundle, Manifest
from edgeseg.bundle.manifest import MANIFEST_NAME, Member
from edgeseg.errors import UsageError
from edgeseg.export.measure import loaded


def write_bundle(
    destination: Path,
    manifest: Manifest,
    members: Mapping[str, bytes],
) -> Manifest:
    """Write ``NAME.edgeseg/``; a bundle that stood there is replaced at the last moment.

    Args:
        destination: The bundle's folder.
        manifest: The manifest; its ``members`` are filled in here.
        members: File name to bytes, of everything but the manifest.

    Returns:
        The manifest as written, with its digest.

    Raises:
        UsageError: The folder cannot be written.
        BundleError: The staged bundle does not open as on the vehicle, or fails its golden frames.
    """
    listed = tuple(
        Member(file=name, size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in members.items()
    )
    whole = manifest.model_copy(update={"members": listed})
    try:
        with atomic_folder(destination) as staging:
            for name, data in members.items():
                (staging / name).write_bytes(data)
            (staging / MANIFEST_NAME).write_bytes(whole.to_bytes())
            bundle = Bundle.open(staging)
            with loaded(bundle, self_test=True):
                return bundle.manifest
    except OSError as error:
        raise UsageError(
            destination,
            expected="a place where the bundle can be written",
            found=error.strerror or str(error),
            next_step="Free some space, or name another --out.",
        ) from error


def replacing(destination: Path) -> list[str]:
    """A note for people of the bundle that writing will replace, if any; asked before it is written."""
    return [f"The older bundle {destination} was replaced."] if destination.exists() else []
