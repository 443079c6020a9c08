"""``edgeseg dashboard``: a page for looking at images, models, runs and results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeseg.dashboard.parts import Settings

_PARTS = "edgeseg.cli.dashboard_parts:parts"
_USUAL = "runs"


def dashboard(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundles, .keras files, or addresses of 'edgeseg serve': all its models, or one.",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    data: Annotated[str | None, typer.Option(help="Labelled images, for instance camvid:PATH.")] = None,
    images: Annotated[
        Path | None, typer.Option(help="Also an image, or a folder of images, without labels.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder with runs of 'edgeseg train', at any depth.  [default: runs]")
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder with results of 'edgeseg benchmark', at any depth.  [default: runs]"),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = 8501,
) -> None:
    """Show a page on this machine: models side by side on one image, runs, accuracy and latency.

    It can open what the command line names, and nothing else. Nothing leaves the machine but what goes to the
    services named. Ctrl-C ends it.
    """
    import os

    from edgeseg.cli.console import console
    from edgeseg.dashboard.launch import HOST, command, require_free, require_packages
    from edgeseg.dashboard.parts import Settings

    require_packages()
    settings = Settings(
        _PARTS,
        tuple(models or ()),
        data,
        str(images) if images else None,
        _folder(runs, "--runs"),
        _folder(results, "--results"),
    )
    _check(settings)
    require_free(port)
    console.print(f"Page:    http://{HOST}:{port}  (Ctrl-C ends it)", markup=False)
    started = command(settings, port)
    # In place of this process: signals reach the server with nothing between.
    os.execv(started[0], started)


def _folder(path: Path | None, option: str) -> str | None:
    """What was named has to be there; the usual place need not be."""
    from edgeseg.errors import UsageError

    if path is None:
        return _USUAL if Path(_USUAL).is_dir() else None
    if not path.is_dir():
        raise UsageError(
            f"{option} {path}",
            expected="a folder",
            found="a file" if path.exists() else "nothing there",
            next_step="Correct the path.",
        )
    return str(path)


def _check(settings: Settings) -> None:
    """Say before the page starts what it would only say on it. Services may start later."""
    from edgeseg.bundle import Bundle
    from edgeseg.dashboard.images import FolderImages
    from edgeseg.dashboard.service import is_url, split_url

    for model in settings.models:
        if is_url(model):
            split_url(model)
        elif Path(model).suffix == ".keras":
            _check_keras(Path(model))
        else:
            Bundle.open(model)
    if settings.images:
        FolderImages(Path(settings.images))
    if settings.data:
        from edgeseg.training.data import open_dataset

        open_dataset(settings.data)


def _check_keras(path: Path) -> None:
    from edgeseg.errors import UsageError

    if not path.is_file():
        raise UsageError(
            path,
            expected="a .keras file",
            found="a folder" if path.is_dir() else "nothing there",
            next_step="Name a checkpoint, for instance RUN/weights/best.keras.",
        )
