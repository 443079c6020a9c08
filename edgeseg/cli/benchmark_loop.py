"""``edgeseg benchmark-loop``: what the loop costs beyond inference, beside a plain loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.options import BundleArgument, PrecisionOption, RuntimeOption, ThreadsOption


def benchmark_loop(
    bundle: BundleArgument,
    source: Annotated[
        str, typer.Option(help="Video file, or synthetic://[WIDTHxHEIGHT][@FPS] to have one drawn.")
    ] = "synthetic://1280x720@30",
    frames: Annotated[int, typer.Option(min=10, help="Frames of a round that count.")] = 300,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that each loop takes.")] = 3,
    warmup: Annotated[int, typer.Option(min=1, help="Frames before them that do not.")] = 60,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    realtime: Annotated[
        bool, typer.Option("--realtime", help="Both with real-time scheduling: other work shows less.")
    ] = False,
    out: Annotated[Path, typer.Option(help="Where to write, without a suffix: OUT.json and OUT.md.")] = Path(
        "runs/benchmark/loop"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure the loop's processes beside one thread that reads, resizes, infers and draws.

    Both play the same video at its own rate through the same runtime; what counts is the time from a frame's
    pixels to its published mask, without inference.
    """
    import tempfile
    from datetime import datetime, timezone

    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.benchmarks.loop_camera import PacedVideo, video_of
    from edgeseg.benchmarks.loop_report import (
        COSTS_HEADER,
        HEADER,
        LoopBenchmark,
        conclusion,
        costs,
        rows,
        write_loop_benchmark,
    )
    from edgeseg.benchmarks.loop_speed import Options, measure_loop
    from edgeseg.cli.console import command_line, done, note, print_json, print_table, progress_bar

    check_writable(out.parent)
    # Before anything is computed: its own work must not count as the machine's load.
    host = describe_host()
    options = Options(frames, rounds, warmup, threads, runtime, precision, realtime)
    with tempfile.TemporaryDirectory() as folder, progress_bar("Measuring") as advance:
        video = video_of(source, warmup + frames, Path(folder))
        opened = PacedVideo(video)
        size, fps = f"{opened.width}x{opened.height}", opened.fps
        opened.close()
        speed = measure_loop(bundle, video, options, advance)
    height, width = speed.model_size
    settings = {
        "bundle": bundle.name,
        "runtime": speed.runtime,
        "threads": speed.threads,
        "model_size": f"{width}x{height}",
        "source": source,
        "frame_size": size,
        "frames_a_second": round(fps, 2),
        "frames_a_round": frames,
        "rounds": rounds,
        "real_time_scheduling": "yes" if realtime else "no",
    }
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    result = LoopBenchmark(created, command_line(), host, settings, speed)
    write_loop_benchmark(result, out)
    if as_json:
        print_json(result.to_dict())
    else:
        print_table("Times of a frame", HEADER, rows(result))
        print_table("Costs", COSTS_HEADER, costs(result))
        note(conclusion(result))
    done(f"{out}.json, {out}.md", f"edgeseg run {bundle} --source /dev/video0")
