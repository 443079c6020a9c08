"""``edgeseg benchmark-label``: how fast this machine labels, with and without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseg.cli.label import LabellerOption, ShardSizeOption, SourceArgument, StrideOption
from edgeseg.cli.options import PrecisionOption, RuntimeOption


def benchmark_label(
    source: SourceArgument,
    bundle: LabellerOption,
    ray: Annotated[
        str, typer.Option(help="Ray cluster: HOST:PORT, auto, or local.", metavar="ADDRESS")
    ] = "local",
    actors: Annotated[
        str, typer.Option(help="Models on the cluster, several ways with commas.", metavar="N,…")
    ] = "1,2",
    threads: Annotated[int, typer.Option(min=1, help="Threads of each model.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way labels everything.")] = 3,
    shard_size: ShardSizeOption = 1000,
    stride: StrideOption = 1,
    runtime: RuntimeOption = None,
    precision: PrecisionOption = None,
    out: Annotated[
        Path | None, typer.Option(help="PATH without suffix for PATH.json and PATH.md.  [default: none]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document.")] = False,
) -> None:
    """Label SOURCE in one process and with actors on Ray, in turns, and throw the masks away."""
    from edgeseg.benchmarks.label_speed import measure_labelling, rows, write_label_speed
    from edgeseg.bundle import Bundle
    from edgeseg.cli.console import command_line, done, print_json, print_table, progress_bar
    from edgeseg.labelling.cluster import on_ray
    from edgeseg.labelling.run import Plan, in_one_process, make_plan

    opened = Bundle.open(bundle)

    def plan(folder: Path) -> Plan:
        return make_plan(
            opened,
            source,
            folder,
            runtime=runtime,
            precision=precision,
            shard_size=shard_size,
            stride=stride,
        )

    ways = {
        "one process": in_one_process(threads),
        **{
            f"Ray, {count} actor{'s' * (count > 1)}": on_ray(ray, count, threads) for count in _counts(actors)
        },
    }
    with progress_bar("Labellings") as advance:
        result = measure_labelling(
            plan, ways, rounds=rounds, threads=threads, command=command_line(), progress=advance
        )
    if json:
        print_json(result.to_dict())
    else:
        header, *body = rows(result)
        print_table(f"Labelling {result.frames} frames", header, body)
    if out:
        write_label_speed(result, out)
        done(out.with_name(out.name + ".md"), f"edgeseg label-cost {out}.json --hours 1000000")


def _counts(text: str) -> list[int]:
    from edgeseg.errors import UsageError

    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UsageError(
            "--actors",
            expected="whole numbers from 1 with commas between them",
            found=repr(text),
            next_step="For instance: --actors 1,2",
        )
    return counts
