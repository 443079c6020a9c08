"""Installing a bundle and going back to the one before, so that at every moment a whole one is active."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edgeseg.bundle import Bundle
from edgeseg.errors import BundleError, InstallationError, MinimumVersionError
from edgeseg.installation.moment import parse_moment
from edgeseg.installation.store import CURRENT, PREVIOUS, Store, locked_store
from edgeseg.segmenter import load

_DIGEST_DIGITS = 12
_LONGEST_NAME = 60

Keys = Sequence[str | Path] | None


@dataclass(frozen=True)
class Installed:
    """What an installation folder holds now.

    Args:
        current: The link to run, ``DEST/current``.
        version, previous: The names of the versions that ``current`` and ``previous`` lead to.
        digest: Names the active bundle.
        signature: ``signed by FINGERPRINT``, ``signed, not checked`` or ``unsigned``.
        minimum: When the oldest bundle that may be installed was exported; ``None``: any may be.
        removed: The names of older versions that were removed.
    """

    current: Path
    version: str
    previous: str | None
    digest: str
    signature: str
    minimum: datetime | None
    removed: Sequence[str] = ()


def install_bundle(
    source: Path,
    destination: Path,
    *,
    trusted_keys: Keys = None,
    minimum: datetime | None = None,
    raise_minimum: bool = False,
    isolate: bool = True,
) -> Installed:
    """Copy a bundle to a vehicle's folder, verify the copy, and make it the active one by one rename.

    The one that was active is kept for :func:`roll_back`, older ones are removed. To install what is active
    already verifies it again.

    Args:
        source: ``NAME.edgeseg/``.
        destination: An empty folder, or one that this function made. ``destination/current`` is the bundle.
        trusted_keys: Public keys, PEM files. Where given, one of them must have signed the bundle.
        minimum: Refuse a bundle that was exported before, this time.
        raise_minimum: From now on refuse bundles that were exported before this one.
        isolate: As in :func:`edgeseg.segmenter.load`.

    Raises:
        BundleError: The bundle, or its copy, must not be used.
        MinimumVersionError: It is older than it may be.
        InstallationError: ``destination`` is something else.
        InstallationBusyError: Another process is at work there.
        OutputError: It cannot be written.
    """
    bundle = Bundle.open(source, trusted_keys)
    with locked_store(destination, create=True) as store:
        store.clean()
        for least in (minimum, store.minimum()):
            _refuse_older(bundle, least)
        version = _same(store, bundle, trusted_keys) or store.add(_name(bundle), bundle.files)
        try:
            copied = _verified(version, trusted_keys, isolate)
        except BundleError:
            store.clean()
            raise
        _activate(store, version)
        removed = store.clean()
        if raise_minimum:
            store.set_minimum(_moment(copied))
        return _installed(store, copied, removed)


def roll_back(destination: Path, *, trusted_keys: Keys = None, isolate: bool = True) -> Installed:
    """Verify the previous version and make it the active one again; called twice it goes forward again.

    Raises:
        InstallationError: ``destination`` is no installation, or has no previous version.
        BundleError: The previous version must not be used; what was active stays active.
        MinimumVersionError: It is older than it may be.
        InstallationBusyError: Another process is at work there.
    """
    with locked_store(destination, create=False) as store:
        store.clean()
        current, previous = store.linked(CURRENT), store.linked(PREVIOUS)
        if previous is None or previous == current:
            raise InstallationError(
                destination,
                expected="a previous version",
                found="none",
                next_step="Install the version that you want: edgeseg install BUNDLE DEST",
            )
        bundle = _verified(previous, trusted_keys, isolate)
        _refuse_older(bundle, store.minimum())
        store.link(CURRENT, previous)
        if current is not None:
            store.link(PREVIOUS, current)
        return _installed(store, bundle)


def _same(store: Store, bundle: Bundle, trusted_keys: Keys) -> Path | None:
    """A version that is this very bundle, with this signature, and whole."""
    for version in store.versions():
        there = _opened(version, trusted_keys)
        if there is not None and there.files == bundle.files:
            return version
    return None


def _opened(version: Path, trusted_keys: Keys = None) -> Bundle | None:
    try:
        return Bundle.open(version, trusted_keys)
    except BundleError:
        return None


def _verified(version: Path, trusted_keys: Keys, isolate: bool) -> Bundle:
    with load(version, trusted_keys=trusted_keys, isolate=isolate) as segmenter:
        return segmenter.bundle


def _activate(store: Store, version: Path) -> None:
    current = store.linked(CURRENT)
    if current == version:
        return
    # Before the other link: should it end in between, the same install can simply be made again. A version
    # that is damaged is nothing to go back to.
    if current is not None and _opened(current) is not None:
        store.link(PREVIOUS, current)
    store.link(CURRENT, version)


def _refuse_older(bundle: Bundle, minimum: datetime | None) -> None:
    if minimum is not None and _moment(bundle) < minimum:
        raise MinimumVersionError(
            bundle.path,
            expected=f"a bundle exported on {minimum.isoformat()} or later",
            found=f"one of {bundle.manifest.created}",
            next_step="Use a newer bundle; the minimum is there so that a withdrawn one cannot come back.",
        )


def _moment(bundle: Bundle) -> datetime:
    try:
        return parse_moment(bundle.manifest.created)
    except ValueError as error:
        raise MinimumVersionError(
            bundle.path,
            expected="a bundle that says when it was exported",
            found=f"created: {bundle.manifest.created[:40]!r}",
            next_step="Export it again.",
        ) from error


def _name(bundle: Bundle) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "-", bundle.manifest.name).strip("-")[:_LONGEST_NAME]
    return f"{plain or 'bundle'}-{bundle.digest[:_DIGEST_DIGITS]}"


def _installed(store: Store, bundle: Bundle, removed: Sequence[str] = ()) -> Installed:
    current, previous = store.linked(CURRENT), store.linked(PREVIOUS)
    return Installed(
        current=store.path / CURRENT,
        version=current.name if current else "",
        previous=previous.name if previous else None,
        digest=bundle.digest,
        signature=str(bundle.signature),
        minimum=store.minimum(),
        removed=removed,
    )
