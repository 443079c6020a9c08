"""``edgeseg benchmark-independent``: inference times beside those of the runtime's own benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.options import PrecisionOption, RuntimeOption, TrustedKeysOption


def benchmark_independent(
    bundles: Annotated[list[Path], typer.Argument(help="Bundles, NAME.edgeseg.", metavar="BUNDLE...")],
    frames: Annotated[int, typer.Option(min=1, help="Timed inferences by each of the two.")] = 1000,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each of the two takes.")] = 5,
    warmup: Annotated[int, typer.Option(min=0, help="Untimed inferences before.")] = 50,
    threads: Annotated[int, typer.Option(min=1, help="Threads of one inference.")] = 2,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    require_signature: TrustedKeysOption = None,
    out: Annotated[Path, typer.Option(help="Where to write, without a suffix: OUT.json and OUT.md.")] = Path(
        "runs/benchmark/independent"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure inference by edgeseg's benchmark and by the runtime's own, in turns, and compare the two.

    LiteRT's litert-benchmark, OpenVINO's benchmark_app, ONNX Runtime's profiler: what each gives is written
    with the result.
    """
    from datetime import datetime, timezone

    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.contenders import Choice
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.benchmarks.independent import compare
    from edgeseg.benchmarks.independent_report import (
        HEADER,
        IndependentBenchmark,
        conclusions,
        rows,
        write_independent,
    )
    from edgeseg.benchmarks.latency import Options
    from edgeseg.bundle import Bundle
    from edgeseg.cli.console import command_line, done, note, print_json, print_table, progress_bar

    keys = tuple(map(str, require_signature)) if require_signature else None
    opened = [Bundle.open(path, keys) for path in bundles]
    options = Options(frames=frames, rounds=rounds, warmup=warmup, threads=threads, cold_starts=1)
    check_writable(out.parent)
    # Before anything is computed: its own work must not count as the machine's load.
    host = describe_host()
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    with progress_bar("Measuring") as advance:
        comparisons = compare(opened, options, Choice(runtime, precision, keys), advance)
    settings = {"frames": frames, "rounds": rounds, "warmup": warmup, "threads": threads}
    result = IndependentBenchmark(created, command_line(), host, settings, tuple(comparisons))
    write_independent(result, out)
    if as_json:
        print_json(result.to_dict())
    else:
        print_table("Inference, median of the rounds", HEADER, rows(comparisons))
        for text in conclusions(comparisons):
            note(text)
    done(f"{out}.json, {out}.md", f"edgeseg benchmark {bundles[0]}")
