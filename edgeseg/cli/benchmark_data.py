"""``edgeseg data benchmark``: the project's data path beside a plain generator, on the same files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from edgeseg.benchmarks.data_path import Contender, DataPathResult
    from edgeseg.benchmarks.host import Host
    from edgeseg.training.data import CachedSplit, Dataset
    from edgeseg.training.data.loader import BatchLoader

_SPLIT = "train"


def benchmark_data(
    data: Annotated[
        str | None,
        typer.Option(help="Data in PNG files, such as cityscapes8:PATH; default: drawn scenes of 2048x1024."),
    ] = None,
    size: Annotated[str, typer.Option(help="Height x width that images are resized to.")] = "256x256",
    batch: Annotated[int, typer.Option(min=1, help="Images in a batch.")] = 16,
    images: Annotated[int, typer.Option(min=1, help="Use the first so many of the train split.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each data path takes.")] = 5,
    workers: Annotated[int, typer.Option(min=1, help="Processes that augment.")] = 2,
    out: Annotated[Path, typer.Option(help="Where to write, without a suffix: OUT.json and OUT.md.")] = Path(
        "runs/benchmark/data-path"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure how many images per second the training's data path delivers, from the second epoch on.

    Beside it runs a plain generator, which decodes, resizes and one-hot encodes every image in every epoch.
    """
    import tempfile

    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.data_path import HEADER, rows, write_data_path
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.cli.console import done, parse_size, print_json, print_table

    height, width = parse_size(size)
    check_writable(out.parent)
    # Before anything is drawn: its own work must not count as the machine's load.
    host = describe_host()
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(data, images, Path(folder))
        settings = {"size": f"{width}x{height}", "batch": batch, "workers": workers, "rounds": rounds}
        result = _measure(dataset, height, width, settings, host, Path(folder) / "cache")
    write_data_path(result, out)
    if as_json:
        print_json(result.to_dict())
    else:
        print_table("Images per second, from the second epoch on", HEADER, rows(result))
    done(f"{out}.json, {out}.md", "edgeseg train --data DATA --model unet_mini")


def _dataset(data: str | None, images: int, folder: Path) -> Dataset:
    """The first ``images`` training items, in files; drawn into ``folder`` where none are named."""
    from dataclasses import replace

    from edgeseg.cli.console import progress_bar
    from edgeseg.errors import UsageError
    from edgeseg.training.data import open_dataset
    from edgeseg.training.data.synthetic import open_synthetic, write_cityscapes

    if data is None:
        drawn = folder / "scenes"
        with progress_bar(f"Drawing {images} scenes of 2048x1024") as advance:
            write_cityscapes(
                open_synthetic(f"train={images},val=1,size=1024x2048"), drawn, on_progress=advance
            )
        data = f"cityscapes8:{drawn}"
    dataset = open_dataset(data)
    items = dataset.items(_SPLIT)[:images]
    if any(item.image is None or item.mask is None for item in items) or dataset.labels.raw_colors:
        raise UsageError(
            f"--data {data}",
            expected="images and id masks in files, which a plain generator can read",
            found="images that are drawn, or colour masks",
            next_step="Write them with 'edgeseg data synthesize', and name that folder.",
        )
    return replace(dataset, splits={_SPLIT: items})


def _measure(
    dataset: Dataset, height: int, width: int, settings: dict[str, Any], host: Host, cache: Path
) -> DataPathResult:
    import time
    from datetime import datetime, timezone

    from edgeseg.benchmarks.data_path import DataPathResult, measure_throughput
    from edgeseg.cli.console import command_line, progress_bar
    from edgeseg.training.data import prepare

    start = time.monotonic()
    with progress_bar("Decoding") as advance:
        cached = prepare(dataset, _SPLIT, height, width, cache_dir=cache, on_progress=advance)
    prepare_seconds = time.monotonic() - start
    with ExitStack() as stack, progress_bar("Measuring") as advance:
        contenders = _contenders(dataset, cached, settings, stack)
        throughputs = measure_throughput(contenders, settings["rounds"], on_progress=advance)
    return DataPathResult(
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        command=command_line(),
        host=host,
        images=_describe(dataset),
        settings=settings,
        prepare_seconds=prepare_seconds,
        throughputs=tuple(throughputs),
    )


def _contenders(
    dataset: Dataset, cached: CachedSplit, settings: dict[str, Any], stack: ExitStack
) -> list[Contender]:
    from edgeseg.benchmarks.data_path import Contender
    from edgeseg.benchmarks.plain_generator import plain_generator
    from edgeseg.training.data.augment import AugmentConfig
    from edgeseg.training.data.loader import BatchLoader

    batch, workers = settings["batch"], settings["workers"]
    pairs = [(item.image, item.mask) for item in dataset.items(_SPLIT) if item.image and item.mask]
    height, width = cached.masks.shape[1:]

    def loader(augment: AugmentConfig | None, processes: int) -> BatchLoader:
        return stack.enter_context(
            BatchLoader(cached, batch, augment=augment, shuffle=True, workers=processes)
        )

    varied = "a batch from the decoded cache, varied by the default augmentation"
    return [
        Contender(
            "plain generator",
            "decodes, resizes, maps ids and one-hot encodes every image anew; one process, no augmentation",
            plain_generator(pairs, dataset.labels, height, width, batch),
        ),
        Contender(
            "edgeseg",
            "a shuffled batch from the decoded cache; one process, no augmentation",
            _epochs(loader(None, 0)),
        ),
        Contender("edgeseg, augmented", f"{varied}; one process", _epochs(loader(AugmentConfig(), 0))),
        Contender(
            f"edgeseg, augmented, {workers} workers",
            f"{varied}; {workers} worker processes",
            _epochs(loader(AugmentConfig(), workers)),
        ),
    ]


def _epochs(loader: BatchLoader) -> Any:
    def epoch(number: int) -> Iterator[Any]:
        return (loader.batch(number, index) for index in range(loader.steps_per_epoch))

    return epoch


def _describe(dataset: Dataset) -> dict[str, Any]:
    items = dataset.items(_SPLIT)
    height, width = dataset.read_image(items[0]).shape[:2]
    sizes = [item.image.stat().st_size for item in items if item.image]
    return {
        "count": len(items),
        "size": f"{width}x{height}",
        "mean_file_size": f"{sum(sizes) / len(sizes) / 1e6:.2f} MB",
    }
