"""``edgeseg run``: the camera loop."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseg.cli.options import (
    BundleArgument,
    PrecisionOption,
    RuntimeOption,
    ThreadsOption,
    TrustedKeysOption,
)
from edgeseg.cli.run_options import (
    CameraFormatOption,
    CameraFpsOption,
    CameraSizeOption,
    DeadlineOption,
    EveryFrameOption,
    FrozenOption,
    HangOption,
    HealthOption,
    HealthPortOption,
    RealtimeOption,
    RecordOption,
    ReportOption,
    SinkOption,
    SmoothOption,
    SourceOption,
    StallOption,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgeseg.camera import Wanted
    from edgeseg.loop import LoopReport, LoopStatus


def run(
    bundle: BundleArgument,
    source: SourceOption,
    sink: SinkOption = None,
    every_frame: EveryFrameOption = False,
    smooth: SmoothOption = 0,
    record: RecordOption = None,
    deadline: DeadlineOption = None,
    stall: StallOption = None,
    hang: HangOption = None,
    frozen: FrozenOption = None,
    camera_size: CameraSizeOption = None,
    camera_fps: CameraFpsOption = None,
    camera_format: CameraFormatOption = None,
    health: HealthOption = None,
    health_port: HealthPortOption = None,
    realtime: RealtimeOption = False,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    require_signature: TrustedKeysOption = None,
    report: ReportOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")] = False,
) -> None:
    """Segment a camera, stream, video or folder; the newest frame wins, and a report says how it went.

    A camera that is lost is opened again, a process that hangs or crashes is started anew, and the state says
    so meanwhile. Ctrl-C and SIGTERM end it cleanly: videos are finished and the report printed.
    """
    from edgeseg.cli.console import console
    from edgeseg.loop import Budgets, Health, LoopPlan, Notifier, run_loop, stop_on_signals

    asked = [*(sink or ()), *([f"record:{record}"] if record else [])]
    budgets = {"deadline_ms": deadline, "stall_ms": stall, "hang_ms": hang, "frozen_ms": frozen}
    plan = LoopPlan(
        bundle=str(bundle),
        source=source,
        sinks=tuple(text for text in asked if text != "none"),
        every_frame=every_frame,
        wanted=_wanted(camera_size, camera_fps, camera_format),
        budgets=Budgets(**{name: value for name, value in budgets.items() if value is not None}),
        smooth=smooth,
        runtime=runtime,
        precision=precision,
        threads=threads,
        trusted_keys=tuple(str(key) for key in require_signature or ()),
        realtime=realtime,
    )
    with stop_on_signals() as stop, console.status("starting") as line, Health(health, health_port) as told:
        result = run_loop(
            plan,
            on_status=lambda status: line.update(_describe(status)),
            on_event=_tell,
            health=told,
            notify=Notifier.from_environment(),
            stop=stop,
        )
    _finish(bundle, result, report, json)


def _wanted(size: str | None, fps: float | None, letters: str | None) -> Wanted:
    from edgeseg.camera import Wanted
    from edgeseg.cli.console import parse_size

    if size is None:
        return Wanted(None, fps, letters)
    width, height = parse_size(size, "--camera-size", "WIDTHxHEIGHT, for instance 1280x720")
    return Wanted((height, width), fps, letters)


def _tell(event: Mapping[str, Any]) -> None:
    """A line for what a person should know; the state machine and the log's limit keep it from being many."""
    from edgeseg.cli.console import note

    if event["event"] == "state":
        because = f": {event['reason']}" if event["reason"] else ""
        text = f"{event['before']} → {event['state']}{because}"
    elif event["event"] == "reason":
        text = f"{event['state']}: {event['reason']}"
    elif event["event"] == "epoch":
        text = f"camera opened again, epoch {event['epoch']} ({event['format']})"
    elif event["event"] == "log":
        text = event["text"]
    else:
        return
    # A terminal that was closed or a log whose disk is full ends what is said, and not the loop.
    with suppress(OSError, SystemExit):
        note(text)


def _finish(bundle: Path, result: LoopReport, report: Path | None, json: bool) -> None:
    """The report, whatever happened; then what went wrong, if anything did."""
    from edgeseg.atomic import write_text
    from edgeseg.cli.console import done, note, print_json
    from edgeseg.cli.run_report import print_report

    if json:
        print_json(result.to_dict())
    else:
        print_report(result)
    note(result.build_note)
    if report:
        write_text(report, result.to_json())
        done(report)
    for sink in result.sinks:
        if sink.output:
            done(sink.output, f"edgeseg benchmark {bundle}")
    if result.error:
        raise result.error


def _describe(status: LoopStatus) -> str:
    of = f"/{status.frame_count}" if status.frame_count else ""
    reason = f" ({status.reason})" if status.reason else ""
    return (
        f"{status.state}{reason}   frame {status.position + 1}{of}   {status.fps:.1f} fps   "
        f"age {status.age_ms:.0f} ms   {status.dropped} dropped   (Ctrl-C ends)"
    )
