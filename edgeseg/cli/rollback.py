"""``edgeseg rollback``: the bundle before, on a vehicle."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeseg.cli.options import DestinationArgument, TrustedKeysOption


def rollback(
    destination: DestinationArgument,
    require_signature: TrustedKeysOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print what is there now as JSON.")] = False,
) -> None:
    """Verify the version that was active before, and make it the active one again."""
    from edgeseg.cli.install import show_installed
    from edgeseg.installation import roll_back

    show_installed(roll_back(destination, trusted_keys=require_signature or None), json)
