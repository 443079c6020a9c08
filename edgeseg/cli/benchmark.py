"""``edgeseg benchmark``: latency, memory, cold start and accuracy of bundles beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import PrecisionOption, RuntimeOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.benchmarks.frames import FrameSet
    from edgeseg.benchmarks.measure import LabelledSplit
    from edgeseg.benchmarks.results import BenchmarkResult
    from edgeseg.bundle import Bundle
    from edgeseg.training.data import Dataset


def benchmark(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles, NAME.edgeseg.", metavar="BUNDLE...")],
    data: Annotated[
        str | None, typer.Option(help="Labelled data: scores each bundle on it, and times its images.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data to use.")] = "val",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Score on the first so many samples only.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Time the frames of this video, image or folder instead.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Timed frames per bundle.")] = 1000,
    rounds: Annotated[int, typer.Option(help="Turns that each bundle takes.")] = 10,
    warmup: Annotated[int, typer.Option(help="Untimed frames per bundle before.")] = 50,
    threads: Annotated[int, typer.Option(help="Threads of the runtime and of OpenCV.")] = 2,
    cold_starts: Annotated[int, typer.Option(help="Processes started per bundle; the median counts.")] = 3,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    require_signature: TrustedKeysOption = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(help="Exit 6, after writing everything, when a bundle's p99 of the whole path is more."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/benchmark/NAME.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure bundles: latency per stage with its tail, memory, cold start and, with --data, accuracy.

    Each bundle runs in a process of its own, in rounds that take turns. The whole path counts: decoding a
    JPEG frame, resizing, inference, and the class map back at the frame's size.
    """

    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.latency import Options
    from edgeseg.benchmarks.measure import benchmark_bundles, check_latency
    from edgeseg.benchmarks.output import write_numbers
    from edgeseg.bundle import Bundle
    from edgeseg.cli.console import command_line, done, print_json, progress_bar

    keys = tuple(map(str, require_signature)) if require_signature else None
    options = Options(frames, rounds, warmup, threads, cold_starts, runtime, precision, keys)
    opened = [Bundle.open(path, keys) for path in bundles]
    dataset = _open_data(data)
    encoded = timed_frames(opened, dataset, split, source)
    folder = out or _new_folder(opened)
    check_writable(folder)
    result = benchmark_bundles(
        opened,
        encoded,
        options,
        command=command_line(),
        labelled=labelled_split(dataset, split, samples) if dataset else None,
        progress=progress_bar,
    )
    write_numbers(result, folder)
    _draw(result, folder)
    if json:
        print_json(result.to_dict())
    else:
        _show(result)
    done(folder, f"edgeseg run {bundles[0]} --source VIDEO.mp4 --sink overlay.mp4")
    if max_latency_ms is not None:
        check_latency(result, max_latency_ms)


def _open_data(data: str | None) -> Dataset | None:
    if data is None:
        return None
    from edgeseg.training.data import open_dataset

    return open_dataset(data)


def timed_frames(
    bundles: Sequence[Bundle], dataset: Dataset | None, split: str, source: str | None
) -> FrameSet:
    """What is timed: the source named, else the data's images, else the first bundle's golden frames."""
    from edgeseg.benchmarks.frames import (
        MAX_FRAMES,
        frames_from_golden,
        frames_from_images,
        frames_from_source,
    )

    if source is not None:
        return frames_from_source(source)
    if dataset is None:
        return frames_from_golden(bundles[0])
    items = dataset.items(split)
    spread = items[:: max(1, len(items) // MAX_FRAMES)]
    images = (dataset.read_image(item) for item in spread)
    return frames_from_images(images, f"{split} images of {dataset.name}, encoded again at their own size")


def labelled_split(dataset: Dataset, split: str, limit: int | None) -> LabelledSplit:
    """What bundles are scored on: a split, or its first ``limit`` samples."""
    from edgeseg.benchmarks.measure import LabelledSplit

    count = len(dataset.items(split)[:limit])
    return LabelledSplit(dataset.name, split, dataset.labels, count, lambda: dataset.samples(split, limit))


def _draw(result: BenchmarkResult, folder: Path) -> None:
    """Plots and page, where their packages are; the numbers are written without them."""
    from edgeseg.benchmarks.output import write_pictures
    from edgeseg.cli.console import console
    from edgeseg.errors import MissingExtraError

    try:
        write_pictures(result, folder)
    except MissingExtraError as error:
        console.print(f"No plots and no page: {error}", markup=False)


def _show(result: BenchmarkResult) -> None:
    """The table for a terminal: fewer columns than in the files, so that it fits one."""
    from edgeseg.cli.console import print_table
    from edgeseg.tables import points

    header = ["bundle", "runtime", "p50", "p99", "p99.9", "max", "MiB", "start"]
    rows = []
    for bundle in result.bundles:
        total, loaded = bundle.latency.total, bundle.latency.loaded
        times = (f"{value:.1f}" for value in (total.p50, total.p99, total.p999, total.max))
        memory, start = bundle.latency.memory.peak_mib, bundle.latency.cold_start.total
        cells = [str(loaded), *times, f"{memory:.0f}", f"{start:.0f}"]
        rows.append(
            [bundle.subject.name, *cells, *([points(bundle.accuracy.miou)] if bundle.accuracy else [])]
        )
    scored = ["mIoU"] if result.bundles[0].accuracy else []
    print_table("Whole path, ms per frame; peak memory; cold start, ms", [*header, *scored], rows)


def _new_folder(bundles: Sequence[Bundle]) -> Path:
    """``runs/benchmark/NAME``, with a number where that is taken."""
    more = f"-and-{len(bundles) - 1}-more" if len(bundles) > 1 else ""
    base = Path("runs/benchmark") / (bundles[0].path.resolve().stem + more)
    number = 2
    folder = base
    while folder.exists():
        folder = base.with_name(f"{base.name}-{number}")
        number += 1
    return folder
