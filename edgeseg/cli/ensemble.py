"""``edgeseg ensemble``: several checkpoints as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def ensemble(
    checkpoints: Annotated[
        list[Path], typer.Argument(help="Two .keras files or more, of one size and one set of classes.")
    ],
    out: Annotated[Path, typer.Option(help="The .keras file to write.")],
) -> None:
    """Join checkpoints to one model, whose probabilities are the mean of theirs.

    It is evaluated, exported and named as a --teacher as any checkpoint is.
    """
    from shlex import join

    from edgeseg.atomic import check_writable
    from edgeseg.cli.console import done
    from edgeseg.cli.training_half import training_half
    from edgeseg.training.checkpoint_info import check_file

    _check_suffix(out)
    check_writable(out.parent)
    for checkpoint in checkpoints:
        check_file(checkpoint)
    with training_half("edgeseg ensemble"):
        from edgeseg.training.checkpoint import save_checkpoint
        from edgeseg.training.models.ensemble import open_ensemble
    model, info = open_ensemble(checkpoints)
    save_checkpoint(model, out, info)
    done(out, join(["edgeseg", "evaluate", str(out)]))


def _check_suffix(out: Path) -> None:
    from edgeseg.errors import UsageError

    if out.suffix != ".keras":
        raise UsageError(
            "--out",
            expected="a file that ends in .keras",
            found=str(out),
            next_step=f"Use --out {out.with_suffix('.keras')}.",
        )
