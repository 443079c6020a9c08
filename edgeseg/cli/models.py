"""``edgeseg models``: what every model costs, in parameters, operations and milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from edgeseg.benchmarks.host import Host
    from edgeseg.benchmarks.latency import Options
    from edgeseg.cli.models_table import Cost


def models(
    size: Annotated[str, typer.Option(help="Height x width of the input.")] = "256x256",
    names: Annotated[
        str | None, typer.Option("--models", help="Some of them, as a,b.  [default: all]")
    ] = None,
    classes: Annotated[int, typer.Option(min=2, max=255, help="Classes of the output.")] = 19,
    measure: Annotated[
        bool, typer.Option(help="Convert each to LiteRT fp32 and int8, and time both.")
    ] = True,
    frames: Annotated[int, typer.Option(help="Timed inferences of each file.")] = 50,
    rounds: Annotated[int, typer.Option(help="Turns that each file takes.")] = 5,
    threads: Annotated[int, typer.Option(help="Threads of one inference.")] = 2,
    work: Annotated[
        Path, typer.Option(help="Folder of the converted files: what is there is not converted again.")
    ] = Path("runs/models"),
    write: Annotated[Path | None, typer.Option(help="Write the table to this Markdown file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Tabulate parameters, multiply-accumulates and LiteRT latency of every model at its default options.

    Weights are random, which changes none of these. All files take turns at being timed. A model that cannot
    be built or converted so says why in its row.
    """
    from edgeseg.atomic import check_writable, write_text
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.benchmarks.latency import Options
    from edgeseg.cli.console import command_line, done, parse_size, print_json, print_table
    from edgeseg.cli.models_table import HEADER, Table, rows

    height, width = parse_size(size)
    chosen = _chosen(names)
    options = Options(frames=frames, rounds=rounds, warmup=3, threads=threads) if measure else None
    for folder in [*([work] if measure else []), *([write.parent] if write else [])]:
        check_writable(folder)
    # Before anything is converted: its own work must not count as the machine's load.
    host = _with_versions(describe_host())
    costs = _costs(chosen, (height, width), classes, work if measure else None)
    timed = _timed(costs, options) if options else costs
    table = Table(command_line(), host, (height, width), classes, options, tuple(timed))
    if as_json:
        print_json(table.to_dict())
    else:
        print_table(f"Models at {height}x{width}, {classes} classes", HEADER, rows(timed))
    if write:
        write_text(write, table.to_markdown())
        done(write, "edgeseg train --data DATA --model MODEL")


def _with_versions(host: Host) -> Host:
    from dataclasses import replace

    from edgeseg.runtimes import RUNTIMES
    from edgeseg.runtimes.base import installed_version

    found = {
        "tensorflow": installed_version("tensorflow", "tensorflow-cpu"),
        "litert": RUNTIMES["litert"].version(),
    }
    known = {name: version for name, version in found.items() if version}
    return replace(host, versions={**host.versions, **known})


def _chosen(names: str | None) -> list[str]:
    from edgeseg.errors import UnknownNameError
    from edgeseg.training.models import MODELS

    # An ensemble is made of checkpoints, and costs what they do.
    costing = [name for name in MODELS if name != "ensemble"]
    chosen = [name.strip() for name in names.split(",")] if names else costing
    for name in chosen:
        if name not in MODELS:
            raise UnknownNameError.of("model", name, MODELS)
    return chosen


def _costs(chosen: Sequence[str], size: tuple[int, int], classes: int, work: Path | None) -> list[Cost]:
    """Each model built and counted and, where there is a folder to work in, converted into it."""
    from edgeseg.cli.console import track
    from edgeseg.cli.training_half import training_half

    with training_half("edgeseg models"):
        import edgeseg.export.to_litert
        import edgeseg.training.models.cost  # noqa: F401 - so that what is missing is said before the work
    scenes = _scenes(size) if work else None
    return [_cost(name, size, classes, work, scenes) for name in track(chosen, "Building and converting")]


def _cost(
    name: str, size: tuple[int, int], classes: int, work: Path | None, scenes: npt.NDArray[np.uint8] | None
) -> Cost:
    import keras

    from edgeseg.cli.models_table import Cost
    from edgeseg.errors import EdgesegError
    from edgeseg.training.models import build_model, inference_model, model_options
    from edgeseg.training.models.cost import macs

    # One model's memory and layer names must not depend on those before it.
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    try:
        options = model_options(name)
        start: dict[str, Any] = {"encoder_weights": "none"} if "encoder_weights" in options else {}
        model = inference_model(build_model(name, classes, *size, **start))
    except EdgesegError as error:
        return Cost(name, notes=(str(error),))
    cost = Cost(name, options, model.count_params(), macs(model))
    return _converted(cost, model, work, scenes) if work else cost


def _converted(cost: Cost, model: Any, work: Path, scenes: npt.NDArray[np.uint8] | None) -> Cost:
    """With a LiteRT file of each precision, or a note of why there is none."""
    from dataclasses import replace

    from edgeseg.atomic import atomic_file
    from edgeseg.bundle.manifest import Precision
    from edgeseg.errors import ConversionError
    from edgeseg.export.to_litert import convert_litert

    files: dict[str, Path] = {}
    notes = []
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    for precision in precisions:
        path = work / f"{cost.name}-{_fingerprint(model)}.{precision}.tflite"
        try:
            if not path.is_file():
                data = convert_litert(model, "mask", precision, scenes)
                with atomic_file(path) as staging:
                    staging.write_bytes(data)
            files[precision] = path
        except ConversionError as error:
            notes.append(str(error))
    return replace(cost, files=files, notes=tuple(notes))


def _fingerprint(model: Any) -> str:
    """Of what makes a model's file, apart from its weights: its layers and the versions that convert them."""
    import hashlib
    import json
    from importlib.metadata import version

    from edgeseg import __version__

    parts = [json.dumps(model.get_config(), sort_keys=True), __version__, version("keras")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _scenes(size: tuple[int, int], count: int = 8) -> npt.NDArray[np.uint8]:
    """Drawn street scenes to calibrate int8 on, ``uint8 [count, H, W, 3]``."""
    import numpy as np

    from edgeseg.resize import resize_image
    from edgeseg.training.data import open_dataset

    # Scenes are not drawn smaller than this.
    height, width = (max(side, 64) for side in size)
    dataset = open_dataset(f"synthetic:train={count},val=1,size={height}x{width}")
    return np.stack([resize_image(dataset.read_image(item), *size) for item in dataset.items("train")])


def _timed(costs: Sequence[Cost], options: Options) -> list[Cost]:
    from dataclasses import replace

    from edgeseg.benchmarks.litert_files import measure_files
    from edgeseg.cli.console import progress_bar
    from edgeseg.export.converter import quiet

    files = {f"{cost.name} {precision}": path for cost in costs for precision, path in cost.files.items()}
    # LiteRT says on stderr, for each file, what it runs it with.
    with progress_bar(f"Timing {len(files)} files in turns") as advance, quiet() as capture:
        times = measure_files(files, options, capture.showing(advance))
    return [replace(cost, medians={p: times[f"{cost.name} {p}"].p50 for p in cost.files}) for cost in costs]
