"""``edgeseg verify``: every check of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import ChannelOrderOption, PixelScaleOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.export.verify import Check


def verify(
    bundle: Annotated[Path, typer.Argument(help="A bundle, NAME.edgeseg.")],
    against: Annotated[
        Path | None,
        typer.Option(
            help="The .keras file to compare with, pixel by pixel; of a wrapped bundle, the bare file."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Dataset to measure on.  [default with --against: the one trained on]"),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Split to measure on.  [default: as the export, or as the run of --against]"),
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of it at most, spread evenly.  [default: as many as the export]"),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Points of mIoU that may be lost.  [default: what the export allowed]"),
    ] = None,
    pixel_scale: PixelScaleOption = None,
    channel_order: ChannelOrderOption = None,
    require_signature: TrustedKeysOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the checks as JSON.")] = False,
) -> None:
    """Check files and hashes, the graph, the golden frames, and on request parity and accuracy."""
    import shlex

    from edgeseg.cli.console import console, progress_bar
    from edgeseg.export.verify import VerifyOptions, verify_bundle

    checks: list[Check] = []
    keys = require_signature or None
    options = VerifyOptions(against, data, max_drop, split, samples, pixel_scale, channel_order, keys)
    try:
        verify_bundle(bundle, options, checks.append, progress_bar)
    finally:
        _show(bundle, checks, json_)
    console.print(f"Passed:  {bundle}", soft_wrap=True, markup=False)
    next_command = shlex.join(["edgeseg", "benchmark", str(bundle)])
    console.print(f"Next:    {next_command}", soft_wrap=True, markup=False)


def _show(bundle: Path, checks: list[Check], as_json: bool) -> None:
    from dataclasses import asdict

    from edgeseg.cli.console import print_json, print_table

    if as_json:
        print_json({"bundle": str(bundle), "checks": [asdict(check) for check in checks]})
        return
    rows = [(check.state, check.name, check.subject, check.seen) for check in checks]
    print_table(f"Verifying {bundle}", ("", "check", "of", "seen"), rows)
