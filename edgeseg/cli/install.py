"""``edgeseg install``: a bundle onto a vehicle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import BundleArgument, DestinationArgument, TrustedKeysOption

if TYPE_CHECKING:
    from datetime import datetime

    from edgeseg.installation import Installed


def install(
    bundle: BundleArgument,
    destination: DestinationArgument,
    require_signature: TrustedKeysOption = None,
    minimum_version: Annotated[
        str | None,
        typer.Option(help="Refuse a bundle that was exported before this date or time.", metavar="TIME"),
    ] = None,
    raise_minimum: Annotated[
        bool,
        typer.Option(
            "--raise-minimum", help="From now on refuse, there, bundles that were exported before this one."
        ),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what is there now as JSON.")] = False,
) -> None:
    """Copy a bundle beside the ones that are there, verify the copy, and then make DEST/current lead to it.

    The one before is kept for 'edgeseg rollback'. Whatever interrupts it, a whole bundle stays active.
    """
    from edgeseg.installation import install_bundle

    installed = install_bundle(
        bundle,
        destination,
        trusted_keys=require_signature or None,
        minimum=_moment(minimum_version),
        raise_minimum=raise_minimum,
    )
    show_installed(installed, json)


def show_installed(installed: Installed, json: bool) -> None:
    """What is active now, and how it is run."""
    from edgeseg.cli.console import console, done, print_json

    minimum = installed.minimum.isoformat() if installed.minimum else None
    if json:
        print_json(
            {
                "current": str(installed.current),
                "version": installed.version,
                "previous": installed.previous,
                "digest": installed.digest,
                "signature": installed.signature,
                "minimum": minimum,
                "removed": list(installed.removed),
            }
        )
    for name, value in (
        ("Active", f"{installed.version}, {installed.signature}"),
        ("Before", installed.previous),
        ("Minimum", minimum),
        ("Removed", ", ".join(installed.removed)),
    ):
        if value:
            console.print(f"{name + ':':<9}{value}", soft_wrap=True, markup=False)
    done(installed.current, f"edgeseg run {installed.current} --source /dev/video0")


def _moment(text: str | None) -> datetime | None:
    from edgeseg.errors import UsageError
    from edgeseg.installation import parse_moment

    try:
        return parse_moment(text) if text else None
    except ValueError as error:
        raise UsageError(
            "--minimum-version",
            expected="a date or time, for instance 2026-11-21 or 2026-11-21T14:00:00+00:00",
            found=repr(text),
            next_step="Correct it.",
        ) from error
