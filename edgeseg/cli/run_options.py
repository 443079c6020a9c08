"""The options of ``edgeseg run``, one type each."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SourceOption = Annotated[
    str,
    typer.Option(
        help="Video file, folder of images, camera (0, /dev/video0, v4l2://, csi://0), gst://PIPELINE, "
        "stream (rtsp://…) or synthetic://."
    ),
]
SinkOption = Annotated[
    list[str] | None,
    typer.Option(
        help="FILE.mp4, masks:FILE.mp4, a folder, FILE.jsonl, http://127.0.0.1:PORT, shm://NAME, "
        "zmq://HOST:PORT, ros2://TOPIC, window or none; repeat it for several.  [default: none]"
    ),
]
EveryFrameOption = Annotated[
    bool, typer.Option("--every-frame", help="Of a file: segment every frame in order, as fast as it goes.")
]
SmoothOption = Annotated[
    int,
    typer.Option(min=0, max=250, help="A pixel changes its class once so many masks agree; 0: at once."),
]
RecordOption = Annotated[
    Path | None, typer.Option(help="Keep the seconds around events in this folder.", metavar="DIR")
]
DeadlineOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Milliseconds; older masks are late, and not valid.  [default: 0, none is]",
    ),
]
StallOption = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Milliseconds without a frame after which the camera has stalled.  [default: 500]",
    ),
]
HangOption = Annotated[
    float | None,
    typer.Option(
        min=1,
        help="Milliseconds after which an inference hangs, and is ended.  [default: 2000]",
    ),
]
FrozenOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        help="Milliseconds of equal pixels after which a camera is frozen; 0: never.  [default: 1000]",
    ),
]
CameraSizeOption = Annotated[str | None, typer.Option(metavar="WxH", help="For instance 1280x720.")]
CameraFpsOption = Annotated[float | None, typer.Option(min=1, help="Frames a second.")]
CameraFormatOption = Annotated[str | None, typer.Option(help="Four letters: MJPG, YUYV, ….")]
HealthOption = Annotated[
    Path | None, typer.Option(help="Keep this file up to date with the loop's state.", metavar="FILE")
]
HealthPortOption = Annotated[
    int | None,
    typer.Option(
        help="Answer /live, /ready, /health and /metrics on this port of loopback.", min=0, max=65535
    ),
]
RealtimeOption = Annotated[
    bool, typer.Option("--realtime", help="Ask for real-time scheduling and locked memory.")
]
ReportOption = Annotated[Path | None, typer.Option(help="Write the report as JSON to this file too.")]
