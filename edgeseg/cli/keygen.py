"""``edgeseg keygen``: a key pair that signs bundles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keygen(
    name: Annotated[
        Path, typer.Argument(help="Writes NAME.pem, to be kept secret, and NAME.pub.pem for the vehicles.")
    ],
) -> None:
    """Make an Ed25519 key pair. Keep the private half off vehicles, and a copy of it in a safe place."""
    from edgeseg.bundle.keys import write_key_pair
    from edgeseg.cli.console import console, done

    private, public, fingerprint = write_key_pair(name)
    console.print(f"Key:     {fingerprint}", soft_wrap=True, markup=False)
    done(f"{private}, {public}", f"edgeseg sign BUNDLE.edgeseg --key {private}")
