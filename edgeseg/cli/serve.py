"""``edgeseg serve``: bundles behind HTTP."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import PrecisionOption, RuntimeOption, TrustedKeysOption

if TYPE_CHECKING:
    from edgeseg.serve.limits import Limits
    from edgeseg.serve.service import Service


def serve(
    bundles: Annotated[
        list[str],
        typer.Argument(
            help="Bundles, NAME.edgeseg, by the names in their manifests; NAME=PATH gives one another name.",
            metavar="BUNDLE...",
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on. Beyond loopback a token is required.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes any free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the bearer token that clients must send.  [default: EDGESEG_SERVE_TOKEN, or none]"
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Pictures worked on at once, each by its own instance.  [default: cores, at most 4]",
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of one inference.  [default: cores over workers]")
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, help="Pictures that may wait; beyond them the answer is 503 at once.")
    ] = 32,
    max_body: Annotated[int, typer.Option(min=1, help="Longest request body, in MiB.")] = 16,
    max_pixels: Annotated[int, typer.Option(min=1, help="Most pixels of a picture.")] = 9_000_000,
    max_connections: Annotated[int, typer.Option(min=1, help="Clients connected at once.")] = 512,
    client_timeout: Annotated[
        float,
        typer.Option(min=0.1, help="Seconds in which a client has to send its request, and take its answer."),
    ] = 30.0,
    stop_timeout: Annotated[
        float, typer.Option(min=1, help="Seconds that what runs may take after SIGTERM or Ctrl-C.")
    ] = 10.0,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    require_signature: TrustedKeysOption = None,
) -> None:
    """Answer HTTP: POST an image to /v1/models/NAME/predict, get its mask, its overlay or numbers.

    Besides /v1/models, /live, /ready, /metrics and /openapi.json. Ctrl-C and SIGTERM finish what runs.
    """
    # Before OpenCV is there, which reads it once: its decoders then refuse what the check of headers does.
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(max_pixels))
    # Every damaged picture would be a line of the log.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    from edgeseg.runtimes.choice import available_cores
    from edgeseg.serve.limits import Limits, default_slots
    from edgeseg.serve.models import Loading
    from edgeseg.serve.server import Endpoint, read_token, serve

    slots = workers or default_slots()
    limits = Limits(slots, queue, max_body << 20, max_pixels, max_connections, client_timeout, stop_timeout)
    loading = Loading(
        runtime, precision, threads or max(available_cores() // slots, 1), tuple(require_signature or ())
    )
    endpoint = Endpoint(host, port, read_token(token_file))
    serve(bundles, endpoint, limits, loading, lambda url, service: _tell(url, service, limits))


def _tell(url: str, service: Service, limits: Limits) -> None:
    from edgeseg.cli.console import console, note

    for model in service.models.values():
        segmenter = model.any
        console.print(
            f"Serving: {model.name}, {segmenter.runtime_name} {segmenter.model.precision}, "
            f"{limits.slots} x {segmenter.threads} threads",
            soft_wrap=True,
            markup=False,
        )
        note(segmenter.build_note)
    address = f"{url}/v1/models/{next(iter(service.models))}/predict?output=overlay"
    header = " -H 'Authorization: Bearer TOKEN'" if service.token else ""
    console.print(f"Answers: {url}   (Ctrl-C ends)", soft_wrap=True, markup=False)
    console.print(
        f"Next:    curl{header} --data-binary @IMAGE.jpg '{address}' -o overlay.jpg",
        soft_wrap=True,
        markup=False,
    )
