"""``edgeseg benchmark-roofline``: how near models come to what this machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import PrecisionOption, RuntimeOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.benchmarks.roofline import Placed


def benchmark_roofline(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles, NAME.edgeseg.", metavar="BUNDLE...")],
    frames: Annotated[int, typer.Option(min=1, help="Timed inferences of each.")] = 300,
    rounds: Annotated[
        int, typer.Option(min=1, help="Turns that each takes, with the machine's peaks between.")
    ] = 10,
    warmup: Annotated[int, typer.Option(min=0, help="Untimed inferences of each before.")] = 50,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference, and of the peaks.")] = 2,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    require_signature: TrustedKeysOption = None,
    out: Annotated[Path, typer.Option(help="Folder of roofline.json, roofline.md and roofline.png.")] = Path(
        "runs/benchmark/roofline"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Count each model's operations and bytes in its own file, and hold its speed against measured peaks.

    The peaks, of arithmetic in each precision that the CPU has and of memory, are measured with OpenVINO and
    NumPy between the models' rounds.
    """
    from datetime import datetime, timezone

    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.contenders import Choice
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.benchmarks.latency import Options
    from edgeseg.benchmarks.roofline import measure_roofline
    from edgeseg.benchmarks.roofline_report import (
        PEAKS_HEADER,
        SHORT_HEADER,
        Roofline,
        peak_rows,
        short_rows,
        write_roofline,
    )
    from edgeseg.bundle import Bundle
    from edgeseg.cli.console import command_line, done, print_json, print_table, progress_bar

    keys = tuple(map(str, require_signature)) if require_signature else None
    opened = [Bundle.open(path, keys) for path in bundles]
    options = Options(frames=frames, rounds=rounds, warmup=warmup, threads=threads, cold_starts=1)
    check_writable(out)
    # Before anything is computed: its own work must not count as the machine's load.
    host = describe_host()
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with progress_bar("Measuring") as advance:
        models = measure_roofline(opened, options, Choice(runtime, precision, keys), advance)
    settings = {"frames": frames, "rounds": rounds, "warmup": warmup, "threads": threads}
    result = Roofline(created, command_line(), host, settings, tuple(models))
    write_roofline(result, out)
    _draw(models, out)
    if as_json:
        print_json(result.to_dict())
    else:
        print_table("Peaks of this machine", PEAKS_HEADER[:2], [row[:2] for row in peak_rows(result.peaks)])
        print_table("Models", SHORT_HEADER, short_rows(models))
    done(out, f"edgeseg benchmark {bundles[0]}")


def _draw(models: Sequence[Placed], folder: Path) -> None:
    """The picture, where Matplotlib is; the numbers are written without it."""
    from edgeseg.benchmarks.roofline_plot import plot_roofline
    from edgeseg.benchmarks.roofline_report import PICTURE
    from edgeseg.cli.console import note
    from edgeseg.errors import MissingExtraError

    try:
        plot_roofline(models, folder / PICTURE)
    except MissingExtraError as error:
        note(f"No picture: {error}")
