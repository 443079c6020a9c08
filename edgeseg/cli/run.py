"""``edgeseg run``: the camera loop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import (
    BundleArgument,
    PrecisionOption,
    RuntimeOption,
    ThreadsOption,
    TrustedKeysOption,
)

if TYPE_CHECKING:
    from edgeseg.loop import LoopReport, LoopStatus


def run(
    bundle: BundleArgument,
    source: Annotated[
        str,
        typer.Option(help="Video file, folder of images, camera (0, /dev/video0) or stream (rtsp://…)."),
    ],
    sink: Annotated[str, typer.Option(help="FILE.mp4, a folder, window or none.")] = "none",
    every_frame: Annotated[
        bool,
        typer.Option("--every-frame", help="Of a file: segment every frame in order, as fast as it goes."),
    ] = False,
    max_age_ms: Annotated[
        float | None, typer.Option(min=0, help="Mark masks that are older than this as not valid.")
    ] = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    require_signature: TrustedKeysOption = None,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON to this file too.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Segment a camera, stream, video or folder; the newest frame wins, and a report says how it went.

    Ctrl-C and SIGTERM end it cleanly: the video is finished and the report printed.
    """
    from contextlib import ExitStack

    from edgeseg.camera import open_source
    from edgeseg.cli.console import console
    from edgeseg.loop import choose_mode, open_sink, run_loop, stop_on_signals
    from edgeseg.segmenter import load

    with load(
        bundle,
        runtime=runtime,
        threads=threads,
        precision=precision,
        trusted_keys=require_signature or None,
        isolate=True,
    ) as segmenter:
        with ExitStack() as opened:
            frames = open_source(source)
            opened.callback(frames.close)
            choose_mode(frames, every_frame)  # refused before the sink makes anything
            masks = open_sink(sink, frames.fps)
            opened.pop_all()  # the loop closes both, and knows whether a camera still hangs
        with stop_on_signals() as stop, console.status("starting") as line:
            result = run_loop(
                segmenter,
                frames,
                masks,
                every_frame=every_frame,
                max_age_ms=max_age_ms,
                on_status=lambda status: line.update(_describe(status)),
                stop=stop,
            )
    _finish(bundle, result, report, json)


def _finish(bundle: Path, result: LoopReport, report: Path | None, json: bool) -> None:
    """The report, whatever happened; then what went wrong, if anything did."""
    from edgeseg.atomic import write_text
    from edgeseg.cli.console import done, note, print_json

    if json:
        print_json(result.to_dict())
    else:
        _print_report(result)
    note(result.build_note)
    if report:
        write_text(report, result.to_json())
        done(report)
    if result.output:
        done(result.output, f"edgeseg benchmark {bundle}")
    if result.error:
        raise result.error


def _describe(status: LoopStatus) -> str:
    of = f"/{status.frame_count}" if status.frame_count else ""
    return (
        f"frame {status.position + 1}{of}   {status.fps:.1f} fps   "
        f"age {status.age_ms:.0f} ms   {status.dropped} dropped   (Ctrl-C ends)"
    )


def _print_report(result: LoopReport) -> None:
    from edgeseg.cli.console import print_table

    times = {**result.stages, "age of the finished mask": result.age, "age at the sink": result.age_at_sink}
    print_table(
        f"{result.bundle} ({result.signature}) on {result.source}: {result.mode}, {result.runtime}, "
        f"{result.threads} thread(s)",
        ("milliseconds", "p50", "p90", "p99", "p99.9", "max"),
        [
            (name, *(f"{value:.2f}" for value in (t.p50, t.p90, t.p99, t.p999, t.max)))
            for name, t in times.items()
        ],
    )
    counts = result.counts
    print_table(
        f"{result.ended} after {result.seconds:.1f} s, {result.fps:.1f} masks a second",
        ("frames", "count"),
        [
            ("captured", counts.captured),
            ("segmented", counts.segmented),
            ("overwritten by a newer one", counts.overwritten),
            ("too old before inference", counts.stale),
            ("passed over, source too slow", counts.skipped),
            ("masks older than --max-age-ms", counts.late),
            ("masks that the sink took", counts.written),
        ],
    )
