"""``edgeseg models``: what every model costs, in parameters, operations and milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseg.benchmarks.host import Host
    from edgeseg.benchmarks.latency import Options
    from edgeseg.export.model_costs import Cost


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
    from edgeseg.export.model_costs import drawn_scenes, model_cost

    with training_half("edgeseg models"):
        import edgeseg.export.to_litert
        import edgeseg.training.models.cost  # noqa: F401 - so that what is missing is said before the work
    scenes = drawn_scenes(size) if work else None
    return [
        model_cost(name, size, classes, work, scenes) for name in track(chosen, "Building and converting")
    ]


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
