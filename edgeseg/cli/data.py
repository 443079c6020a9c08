"""``edgeseg data``: what is in a dataset, what is wrong with it, and making one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgeseg.training.data import CheckReport

app = typer.Typer(
    name="data",
    help="Check, measure, prepare and make datasets.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_DATA_HELP = (
    "camvid:PATH, camvid_road:PATH, cityscapes8|7|19:PATH, coco:PATH, folder:PATH, synthetic, "
    "or the path of a data.yaml."
)
Data = Annotated[str, typer.Option("--data", help=_DATA_HELP, metavar="DATA", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document to stdout.")]


@app.command()
def check(data: Data, as_json: Json = False) -> None:
    """Find what would make training fail or mislead it; exit code 3 where there is such a thing.

    Files missing, unreadable or unpaired; sizes that differ; ids that the labels do not map; RGB or JPEG
    masks; masks of one class; classes absent from a split; the same image in two splits.
    """
    from edgeseg.cli import console
    from edgeseg.errors import DataError

    report = _report(data)
    if as_json:
        console.print_json(report.to_dict())
    else:
        _print_shares(report)
        _print_findings(report)
    errors = [finding for finding in report.findings if finding.severity == "error"]
    if errors:
        raise DataError(
            f"--data {data}",
            expected="a dataset without errors",
            found=f"{len(errors)} kind{'s' if len(errors) > 1 else ''} of error: "
            + ", ".join(sorted({finding.code for finding in errors})),
            next_step="Correct what is listed, then check again.",
        )
    console.console.print(f"Next:    edgeseg train --data {quote(data)}", soft_wrap=True, markup=False)


@app.command()
def stats(data: Data, as_json: Json = False) -> None:
    """Print how many images and which sizes each split has, and how often each class occurs."""
    from edgeseg.cli import console

    report = _report(data)
    if as_json:
        console.print_json({key: report.to_dict()[key] for key in ("dataset", "classes", "splits")})
        return
    rows = [
        (name, split.items, ", ".join(f"{size} ({n})" for size, n in split.sizes.items()), split.ignored)
        for name, split in report.splits.items()
    ]
    console.print_table("Splits", ("split", "images", "height x width", "ignored pixels"), rows)
    _print_shares(report)
    images_with = _class_rows(report, [split.images_with.tolist() for split in report.splits.values()])
    console.print_table("Images with it", ("class", *report.splits), images_with)
    if not report.ok:
        console.console.print(
            f"Next:    edgeseg data check --data {quote(data)}", soft_wrap=True, markup=False
        )


@app.command()
def prepare(
    data: Data,
    size: Annotated[str, typer.Option(help="Height x width that images are resized to.")] = "256x256",
    split: Annotated[
        list[str] | None, typer.Option(help="A split; may be repeated. By default train and val.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Cache folder; by default $EDGESEG_CACHE or ~/.cache/edgeseg.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default what pays off.")] = None,
    as_json: Json = False,
) -> None:
    """Decode and resize a dataset into the cache now, so that training starts at once."""
    from edgeseg.cli import console
    from edgeseg.training.data import open_dataset
    from edgeseg.training.data import prepare as prepare_split

    height, width = console.parse_size(size)
    dataset = open_dataset(data)
    prepared = {}
    for name in split or ("train", "val"):
        with console.progress_bar(f"Decoding {name}") as advance:
            prepared[name] = prepare_split(
                dataset, name, height, width, cache_dir=cache, workers=workers, on_progress=advance
            )
    if as_json:
        folders = {name: {"path": str(c.path), "images": len(c)} for name, c in prepared.items()}
        console.print_json({"dataset": dataset.spec, "height": height, "width": width, "splits": folders})
    root = next(iter(prepared.values())).path.parent
    console.done(root, f"edgeseg train --data {quote(data)} --size {height}x{width}")


@app.command()
def synthesize(
    out: Annotated[Path, typer.Option(help="New folder, written in the Cityscapes layout.")],
    train: Annotated[int, typer.Option(min=1, help="Scenes to train on.")] = 160,
    val: Annotated[int, typer.Option(min=1, help="Scenes to validate on.")] = 40,
    size: Annotated[str, typer.Option(help="Height x width of the scenes.")] = "256x512",
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other streets.")] = 7,
    as_json: Json = False,
) -> None:
    """Draw street scenes with their masks, as PNG files that cityscapes8, 7 and 19 read."""
    from edgeseg.cli import console
    from edgeseg.errors import UsageError
    from edgeseg.training.data.synthetic import open_synthetic, write_cityscapes

    height, width = console.parse_size(size)
    try:
        dataset = open_synthetic(f"train={train},val={val},size={height}x{width},seed={seed}")
    except UsageError as error:  # the other options have their limits above
        raise UsageError(
            "--size", expected="a size that scenes are drawn in", found=error.found, next_step="Correct it."
        ) from error
    with console.progress_bar("Drawing") as advance:
        scenes = write_cityscapes(dataset, out, on_progress=advance)
    if as_json:
        console.print_json({"path": str(out), "scenes": scenes, "dataset": dataset.spec})
    console.done(out, f"edgeseg data check --data cityscapes8:{out}")


def _report(data: str) -> CheckReport:
    from edgeseg.cli import console
    from edgeseg.training.data import check_dataset, open_dataset

    dataset = open_dataset(data)
    with console.progress_bar("Reading") as advance:
        return check_dataset(dataset, advance)


def _print_shares(report: CheckReport) -> None:
    from edgeseg.cli import console
    from edgeseg.tables import points

    columns = [[points(share) for share in split.shares()] for split in report.splits.values()]
    rows = _class_rows(report, columns)
    console.print_table("Share of pixels, %", ("class", *report.splits), rows)


def _class_rows(report: CheckReport, columns: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    """A row for each class, from a column for each split."""
    return list(zip(report.labels.names, *columns, strict=True))


def _print_findings(report: CheckReport) -> None:
    for finding in report.findings:
        where = f" [{finding.split}]" if finding.split else ""
        typer.echo(f"{finding.severity}: {finding.code}{where}: {finding.message}")
    if not report.findings:
        typer.echo("Nothing wrong was found.")
