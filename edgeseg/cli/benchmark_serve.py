"""``edgeseg benchmark-serve``: throughput and latency of the service, beside a plain one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseg.cli.options import BundleArgument, PrecisionOption, RuntimeOption

if TYPE_CHECKING:
    from edgeseg.benchmarks.serving import Service
    from edgeseg.segmenter import Segmenter


def benchmark_serve(
    bundle: BundleArgument,
    against: Annotated[
        Path | None,
        typer.Option(
            help="The .keras file of the same network, for a plain service with Model.predict beside ours."
        ),
    ] = None,
    image: Annotated[
        Path | None, typer.Option(help="Picture to send.  [default: a street drawn at the model's size]")
    ] = None,
    clients: Annotated[
        str, typer.Option(help="Numbers of clients at once, with commas between them.", metavar="1,4,…")
    ] = "1,4,16,64",
    seconds: Annotated[float, typer.Option(min=0.1, help="For which clients send in a turn.")] = 3.0,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each service at each number of clients.")] = 3,
    workers: Annotated[
        int | None, typer.Option(min=1, help="As of edgeseg serve.  [default: cores, at most 4]")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="As of edgeseg serve.  [default: cores over workers]")
    ] = None,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    out: Annotated[Path, typer.Option(help="Where to write, without a suffix: OUT.json and OUT.md.")] = Path(
        "runs/benchmark/serve"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Measure masks a second, p50 and p99 of edgeseg serve at several numbers of clients.

    With --against the same network is served as a tutorial does it, FastAPI and Keras predict, in turns with
    ours. The queue is made long enough that nobody is turned away.
    """
    from datetime import datetime, timezone

    from edgeseg.atomic import check_writable
    from edgeseg.benchmarks.host import describe_host
    from edgeseg.benchmarks.serving import Options, measure_services
    from edgeseg.benchmarks.serving_report import (
        HEADER,
        ServingBenchmark,
        conclusion,
        rows,
        write_serving_benchmark,
    )
    from edgeseg.cli.console import command_line, done, note, print_json, print_table, progress_bar
    from edgeseg.runtimes.choice import available_cores
    from edgeseg.segmenter import load
    from edgeseg.serve.limits import default_slots

    check_writable(out.parent)
    # Before anything is computed: its own work must not count as the machine's load.
    host = describe_host()
    options = Options(_numbers(clients), seconds, rounds)
    slots = workers or default_slots()
    threads = threads or max(available_cores() // slots, 1)
    with load(bundle, runtime=runtime, precision=precision, threads=threads) as segmenter:
        picture = image.read_bytes() if image else _street(segmenter)
        settings = {
            "bundle": bundle.name,
            "runtime": f"{segmenter.runtime_name} {segmenter.model.precision}",
            "model_size": f"{segmenter.width}x{segmenter.height}",
            "workers": slots,
            "threads_each": threads,
            "picture": f"{image.name if image else 'a drawn street'} ({len(picture)} bytes)",
            "seconds_a_turn": seconds,
            "rounds": rounds,
        }
        services = [_ours(segmenter, slots, threads, max(options.clients))]
    if against:
        services.append(_plain(against))
    with progress_bar("Measuring") as advance:
        speeds = measure_services(services, picture, options, advance)
    created = datetime.now(timezone.utc).isoformat(timespec="seconds")
    result = ServingBenchmark(created, command_line(), host, settings, tuple(speeds))
    write_serving_benchmark(result, out)
    if as_json:
        print_json(result.to_dict())
    else:
        print_table("Services", HEADER, rows(result))
    note(conclusion(result))
    done(f"{out}.json, {out}.md", f"edgeseg serve {bundle}")


def _ours(segmenter: Segmenter, slots: int, threads: int, most_clients: int) -> Service:
    from edgeseg.benchmarks.serving import Service

    arguments = (
        *("edgeseg", "serve", f"model={segmenter.bundle.path}", "--port", "{port}"),
        *("--workers", str(slots), "--threads", str(threads), "--queue", str(most_clients)),
        *("--runtime", segmenter.runtime_name, "--precision", segmenter.model.precision),
    )
    return Service("edgeseg serve", arguments, "/v1/models/model/predict")


def _plain(checkpoint: Path) -> Service:
    from edgeseg.benchmarks.serving import Service
    from edgeseg.runtimes.choice import available_cores

    here = f"{__package__}.plain_service"
    # All cores for one prediction at a time, as TensorFlow takes them by itself.
    arguments = (here, str(checkpoint), "{port}", str(available_cores()))
    return Service("FastAPI and Keras predict", arguments, "/predict")


def _street(segmenter: Segmenter) -> bytes:
    """A street as a JPEG of the model's size: resizing and decoding are then least of what is measured."""
    import cv2

    from edgeseg.camera.scene import StreetScene

    frame = StreetScene(segmenter.height, segmenter.width, 0, 10.0).draw(0)
    return cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))[1].tobytes()


def _numbers(text: str) -> tuple[int, ...]:
    from edgeseg.errors import UsageError

    try:
        found = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        found = ()
    if not found or found[0] < 1 or found[-1] > 500:
        raise UsageError(
            "--clients",
            expected="whole numbers from 1 to 500 with commas between them",
            found=repr(text),
            next_step="Correct it.",
        )
    return found
