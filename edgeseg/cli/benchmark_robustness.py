"""``edgeseg benchmark-robustness``: how much of their mIoU bundles keep on corrupted images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import PrecisionOption, RuntimeOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.benchmarks.robustness.plan import LabelledImages
    from edgeseg.benchmarks.robustness.results import RobustnessResult
    from edgeseg.bundle import Bundle
    from edgeseg.evaluation import Sample


def benchmark_robustness(
    bundles: Annotated[
        list[Path],
        typer.Argument(
            help="Bundles, NAME.edgeseg; the others are compared with the first.", metavar="BUNDLE..."
        ),
    ],
    data: Annotated[str, typer.Option(help="Labelled data to corrupt, for instance camvid:PATH.")],
    split: Annotated[str, typer.Option(help="Split of the data to use.")] = "val",
    samples: Annotated[
        int | None, typer.Option(min=1, help="So many samples, spread evenly over the split.  [default: all]")
    ] = None,
    corruptions: Annotated[
        str | None, typer.Option(help="Names with commas between them.  [default: all]", metavar="A,B,…")
    ] = None,
    severities: Annotated[
        str, typer.Option(help="Of 1 to 5, with commas between them.", metavar="1,2,…")
    ] = "1,2,3,4,5",
    source: Annotated[
        str | None, typer.Option(help="Video or folder of images: measures the flicker of masks on it too.")
    ] = None,
    source_frames: Annotated[int, typer.Option(min=2, help="So many frames of it.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn at random.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Threads of each runtime.")] = 2,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    require_signature: TrustedKeysOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder; default: runs/robustness/NAME.  A run in it that was cut off goes on."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure mIoU, calibration and flicker under 15 corruptions and 4 camera faults in 5 severities.

    Every bundle gets the same corrupted images. Calibration is measured of bundles that were exported with
    --output mask+confidence. The same command goes on with a run that was cut off.
    """
    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.robustness.partial import remove_partial
    from edgeseg.benchmarks.robustness.plan import Loading, Suite
    from edgeseg.benchmarks.robustness.report import write_numbers
    from edgeseg.benchmarks.robustness.run import run_suite
    from edgeseg.bundle import Bundle
    from edgeseg.cli.console import command_line, done, print_json, progress_bar

    suite = Suite(
        **({} if corruptions is None else {"corruptions": _listed(corruptions)}),
        severities=_whole_numbers(severities),
        seed=seed,
        source=source,
        source_frames=source_frames,
    )
    keys = tuple(map(str, require_signature)) if require_signature else None
    opened = [Bundle.open(path, keys) for path in bundles]
    images = _images(data, split, samples)
    folder = out or _folder(opened)
    check_writable(folder)
    with progress_bar("Images") as advance:
        result = run_suite(
            opened,
            images,
            suite,
            folder,
            command=command_line(),
            loading=Loading(threads, runtime, precision),
            progress=advance,
        )
    write_numbers(result, folder)
    _draw(result, folder)
    remove_partial(folder)
    if as_json:
        print_json(result.to_dict())
    else:
        _show(result)
    done(folder, f"edgeseg benchmark {' '.join(map(str, bundles))} --data {data}")


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _whole_numbers(text: str) -> tuple[int, ...]:
    from edgeseg.errors import UsageError

    try:
        return tuple(sorted(int(part) for part in _listed(text)))
    except ValueError as error:
        raise UsageError(
            "--severities",
            expected="whole numbers from 1 to 5 with commas between them",
            found=repr(text),
            next_step="Correct it.",
        ) from error


def _images(data: str, split: str, limit: int | None) -> LabelledImages:
    """A split of a dataset, or ``limit`` samples at even distances in it."""
    import hashlib

    from edgeseg.benchmarks.robustness.plan import LabelledImages
    from edgeseg.training.data import open_dataset

    dataset = open_dataset(data)
    items = dataset.items(split)
    count = min(limit or len(items), len(items))
    chosen = [items[index * len(items) // count] for index in range(count)]
    identity = f"{dataset.fingerprint(split)} {[item.name for item in chosen]}"

    def samples() -> Iterable[Sample]:
        return map(dataset.read, chosen)

    fingerprint = hashlib.sha256(identity.encode()).hexdigest()
    return LabelledImages(dataset.name, split, dataset.labels, count, fingerprint, samples)


def _draw(result: RobustnessResult, folder: Path) -> None:
    """Plots and page, where their packages are; the numbers are written without them."""
    from edgeseg.benchmarks.robustness.report import write_pictures
    from edgeseg.cli.console import note
    from edgeseg.errors import MissingExtraError

    try:
        write_pictures(result, folder)
    except MissingExtraError as error:
        note(f"No plots and no page: {error}")


def _show(result: RobustnessResult) -> None:
    """The tables for a terminal: without a column that the files have, so that they fit one."""
    from edgeseg.benchmarks.robustness.markdown import by_corruption, summary
    from edgeseg.cli.console import print_table

    header, rows = summary(result)
    without = header.index("runtime")
    kept = [[*row[:without], *row[without + 1 :]] for row in (header, *rows)]
    print_table("mIoU on clean and corrupted images", kept[0], kept[1:])
    print_table("mIoU retained, %, by corruption", *by_corruption(result))


def _folder(bundles: Sequence[Bundle]) -> Path:
    """``runs/robustness/NAME``, with a number where a finished run is there; one that was cut off goes on."""
    from edgeseg.benchmarks.robustness.partial import PARTIAL_FILE

    more = f"-and-{len(bundles) - 1}-more" if len(bundles) > 1 else ""
    base = Path("runs/robustness") / (bundles[0].path.resolve().stem + more)
    folder, number = base, 2
    while folder.exists() and not (folder / PARTIAL_FILE).exists():
        folder = base.with_name(f"{base.name}-{number}")
        number += 1
    return folder
