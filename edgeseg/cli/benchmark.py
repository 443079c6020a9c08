"""``edgeseg benchmark``: latency, memory, cold start and accuracy of models beside one another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import PixelScaleOption, PrecisionOption, RuntimeOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.benchmarks.compare import Change
    from edgeseg.benchmarks.contenders import Contender
    from edgeseg.benchmarks.frames import FrameSet
    from edgeseg.benchmarks.latency import Options
    from edgeseg.benchmarks.measure import LabelledSplit
    from edgeseg.benchmarks.peers import Peers
    from edgeseg.benchmarks.protocol import Scaling
    from edgeseg.benchmarks.results import BenchmarkResult
    from edgeseg.benchmarks.schema import BenchmarkDocument
    from edgeseg.benchmarks.stream import StreamOptions
    from edgeseg.training.data import Dataset

# For a terminal, which is narrow.
_STREAM_COLUMNS = ("model", "age p50", "p99", "max", "dropped", "late", "missed")


def benchmark(
    models: Annotated[
        list[Path],
        typer.Argument(
            help="Bundles, NAME.edgeseg; or .tflite, .onnx, OpenVINO .xml and .keras files.",
            metavar="MODEL...",
        ),
    ],
    data: Annotated[
        str | None, typer.Option(help="Labelled data: scores each model on it, and times its images.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the data to use.")] = "val",
    samples: Annotated[
        int | None, typer.Option(min=1, help="Score on the first so many samples only.")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Time the frames of this video, image or folder instead.")
    ] = None,
    frames: Annotated[int, typer.Option(help="Timed frames per model.")] = 1000,
    rounds: Annotated[int, typer.Option(help="Turns that each model takes.")] = 10,
    warmup: Annotated[
        int, typer.Option(help="Untimed frames per model before, at least; more until its times hold still.")
    ] = 50,
    threads: Annotated[
        str, typer.Option(help="Threads of the runtime and of OpenCV; 1,2,4 measures each.", metavar="N,…")
    ] = "2",
    fps: Annotated[
        float | None,
        typer.Option(
            help="Also let frames arrive at this rate, as from a camera, and count deadlines missed."
        ),
    ] = None,
    deadline: Annotated[
        float | None,
        typer.Option(help="With --fps: how old a mask may be.  [default: one period]", metavar="MS"),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Also load the machine with each model for so long: curves of what heat does to it."
        ),
    ] = None,
    cold_starts: Annotated[int, typer.Option(help="Processes started per model; the median counts.")] = 3,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    pixel_scale: PixelScaleOption = None,
    require_signature: TrustedKeysOption = None,
    max_latency_ms: Annotated[
        float | None,
        typer.Option(help="Exit 6, after writing everything, when a model's p99 of the whole path is more."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(
            help="Exit 6, after writing everything, when a model is slower than in this benchmark.json.",
            metavar="OLD.json",
        ),
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0, help="With --compare: per cent by which p50 and p99 may have grown.")
    ] = 5.0,
    out: Annotated[Path | None, typer.Option(help="Folder; default: runs/benchmark/NAME.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure models: latency per stage with its tail, memory, cold start and, with --data, accuracy.

    Each model runs in a process of its own, in rounds that take turns. The whole path counts: decoding a
    JPEG frame, resizing, inference, and the class map back at the frame's size.
    """
    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.compare import changes, check_changes
    from edgeseg.benchmarks.contenders import Choice, contenders_of
    from edgeseg.benchmarks.latency import Options
    from edgeseg.benchmarks.measure import benchmark_models, check_complete, check_latency
    from edgeseg.benchmarks.output import write_numbers
    from edgeseg.benchmarks.sustained import SustainedOptions
    from edgeseg.cli.console import command_line, done, print_json, progress_bar

    counts = parse_threads(threads)
    keys = tuple(map(str, require_signature)) if require_signature else None
    choice = Choice(runtime, precision, keys, scaling_named(pixel_scale))
    options = Options(frames, rounds, warmup, counts[0], cold_starts, _stream(fps, deadline))
    sustained = SustainedOptions(minutes=minutes, warmup=warmup) if minutes is not None else None
    contenders = contenders_of(models, counts, choice)
    dataset = _open_data(data)
    encoded = timed_frames(contenders, dataset, split, source)
    old = _comparable(compare, contenders, options, encoded) if compare else None
    folder = out or _new_folder(models)
    check_writable(folder)
    result = benchmark_models(
        contenders,
        encoded,
        options,
        command=command_line(),
        labelled=labelled_split(dataset, split, samples) if dataset else None,
        sustained=sustained,
        progress=progress_bar,
        on_partial=lambda partial: write_numbers(partial, folder),
    )
    write_numbers(result, folder)
    draw(result, folder)
    found = changes(old, result, tolerance / 100) if old else []
    if json:
        print_json(result.to_dict())
    else:
        _show(result, found)
    done(folder, _next_command(contenders))
    check_complete(result)
    if max_latency_ms is not None:
        check_latency(result, max_latency_ms)
    check_changes(found, tolerance / 100)


def parse_threads(text: str) -> list[int]:
    """``2`` or ``1,2,4``.

    Raises:
        UsageError: It is neither, or one of them is not positive.
    """
    from edgeseg.errors import UsageError

    parts = text.split(",")
    if not all(part.strip().isascii() and part.strip().isdigit() and int(part) for part in parts):
        raise UsageError(
            "--threads",
            expected="a number of at least 1, or several with commas, such as 1,2,4",
            found=text,
            next_step="Correct it.",
        )
    return list(dict.fromkeys(map(int, parts)))


def scaling_named(name: str | None) -> Scaling | None:
    """How a foreign model's pixels are scaled, by its name.

    Raises:
        UnknownNameError: There is no such scale.
    """
    if name is None:
        return None
    from edgeseg.benchmarks.protocol import Scaling
    from edgeseg.errors import UnknownNameError
    from edgeseg.training.pixel_scales import PIXEL_SCALES

    if name not in PIXEL_SCALES:
        raise UnknownNameError.of("pixel scale", name, PIXEL_SCALES)
    return Scaling(name, *PIXEL_SCALES[name])


def timed_frames(
    contenders: Sequence[Contender], dataset: Dataset | None, split: str, source: str | None
) -> FrameSet:
    """What is timed: the source named, else the data's images, else the first bundle's golden frames.

    Raises:
        UsageError: There is no source, no data and no bundle to take frames of.
    """
    from edgeseg.benchmarks.frames import (
        MAX_FRAMES,
        frames_from_golden,
        frames_from_images,
        frames_from_source,
    )
    from edgeseg.errors import UsageError

    if source is not None:
        return frames_from_source(source)
    if dataset is None:
        bundle = next((contender.bundle for contender in contenders if contender.bundle), None)
        if bundle is None:
            raise UsageError(
                "--source",
                expected="frames to time, for no model here is a bundle that brings its own",
                found="none",
                next_step="Name a video, an image or a folder, or labelled data with --data.",
            )
        return frames_from_golden(bundle)
    items = dataset.items(split)
    spread = items[:: max(1, len(items) // MAX_FRAMES)]
    images = (dataset.read_image(item) for item in spread)
    return frames_from_images(images, f"{split} images of {dataset.name}, encoded again at their own size")


def labelled_split(dataset: Dataset, split: str, limit: int | None) -> LabelledSplit:
    """What models are scored on: a split, or its first ``limit`` samples."""
    from edgeseg.benchmarks.measure import LabelledSplit

    count = len(dataset.items(split)[:limit])
    return LabelledSplit(dataset.name, split, dataset.labels, count, lambda: dataset.samples(split, limit))


def _stream(fps: float | None, deadline: float | None) -> StreamOptions | None:
    from edgeseg.benchmarks.stream import StreamOptions
    from edgeseg.errors import UsageError

    if fps is not None:
        return StreamOptions(fps, deadline)
    if deadline is not None:
        raise UsageError(
            "--deadline",
            expected="--fps with it",
            found="none",
            next_step="Give the camera's rate with --fps.",
        )
    return None


def _open_data(data: str | None) -> Dataset | None:
    if data is None:
        return None
    from edgeseg.training.data import open_dataset

    return open_dataset(data)


def _comparable(
    path: Path, contenders: Sequence[Contender], options: Options, frames: FrameSet
) -> BenchmarkDocument:
    from edgeseg.benchmarks.compare import read_old, require_comparable
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.cli.console import note

    old = read_old(path)
    names = [contender.name for contender in contenders]
    require_comparable(old, names, describe_host(), options.to_dict(), frames.to_dict())
    gone = [model.name for model in old.models if model.name not in names]
    if gone:
        note(f"Of {path} not in this run, and not compared: {', '.join(gone)}")
    return old


def draw(result: BenchmarkResult, folder: Path, peers: Peers | None = None) -> None:
    """Plots and page, where their packages are; the numbers are written without them."""
    from edgeseg.benchmarks.output import write_pictures
    from edgeseg.cli.console import console
    from edgeseg.errors import MissingExtraError

    try:
        write_pictures(result, folder, peers)
    except MissingExtraError as error:
        console.print(f"No plots and no page: {error}", markup=False)


def _show(result: BenchmarkResult, found: Sequence[Change]) -> None:
    """The tables for a terminal: fewer columns than in the files, so that they fit one."""
    from edgeseg.benchmarks.compare import HEADER
    from edgeseg.benchmarks.markdown import STREAM_HEADER, stream_rows
    from edgeseg.cli.console import note, print_table
    from edgeseg.tables import points

    header = ["model", "runtime", "p50", "p99", "p99.9", "max", "MiB", "start"]
    rows = []
    for model in result.models:
        total, loaded = model.latency.total, model.latency.loaded
        times = (f"{value:.1f}" for value in (total.p50, total.p99, total.p999, total.max))
        memory, start = model.latency.memory.peak_mib, model.latency.cold_start.total
        cells = [str(loaded), *times, f"{memory:.0f}", f"{start:.0f}"]
        rows.append([model.subject.name, *cells, *([points(model.accuracy.miou)] if model.accuracy else [])])
    scored = ["mIoU"] if any(model.accuracy for model in result.models) else []
    print_table("Whole path, ms per frame; peak memory; cold start, ms", [*header, *scored], rows)
    if streams := stream_rows(result):
        narrow = [STREAM_HEADER.index(name) for name in _STREAM_COLUMNS]
        cut = [[row[column] for column in narrow] for row in streams]
        print_table("At a camera's rate, ms from arrival to mask", _STREAM_COLUMNS, cut)
    if found:
        print_table("Beside the older run", HEADER, [change.row() for change in found])
    for mark in result.marks:
        note(mark)


def _next_command(contenders: Sequence[Contender]) -> str:
    """A bundle runs; a file that is none becomes one first, where that can be."""
    from shlex import quote

    first = next((contender for contender in contenders if contender.bundle), contenders[0])
    path = quote(str(first.path))
    if first.bundle:
        return f"edgeseg run {path} --source VIDEO.mp4 --sink overlay.mp4"
    wraps = {
        ".keras": f"edgeseg export {path} --data DATA",
        ".onnx": f"edgeseg bundle {path} --labels labels.yaml",
        ".tflite": f"edgeseg bundle {path} --labels labels.yaml",
    }
    return wraps.get(first.path.suffix.lower(), "edgeseg info")


def _new_folder(models: Sequence[Path]) -> Path:
    """``runs/benchmark/NAME``, with a number where that is taken."""
    more = f"-and-{len(models) - 1}-more" if len(models) > 1 else ""
    base = Path("runs/benchmark") / (models[0].resolve().stem + more)
    number = 2
    folder = base
    while folder.exists():
        folder = base.with_name(f"{base.name}-{number}")
        number += 1
    return folder
