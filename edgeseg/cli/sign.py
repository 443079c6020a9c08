"""``edgeseg sign``: vouch for a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.options import BundleArgument


def sign(
    bundle: BundleArgument,
    key: Annotated[
        Path, typer.Option(help="The private key, as edgeseg keygen makes it.", metavar="KEY.pem")
    ],
) -> None:
    """Sign a bundle; a signature that it has is replaced. The bundle is checked first."""
    from edgeseg.bundle.signature import SIGNATURE_NAME
    from edgeseg.bundle.signing import sign_bundle
    from edgeseg.cli.console import console, done

    fingerprint = sign_bundle(bundle, key)
    console.print(f"Signed by {fingerprint}", soft_wrap=True, markup=False)
    done(bundle / SIGNATURE_NAME, f"edgeseg verify {bundle} --require-signature PUBLIC.pem")
