"""``edgeseg label-cost``: machine-hours, days, price and storage of labelling a fleet's footage."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer


def label_cost(
    measured: Annotated[
        Path, typer.Argument(help="What edgeseg benchmark-label wrote.", metavar="MEASURED.json")
    ],
    hours: Annotated[float, typer.Option(min=0.0, help="Hours of video.")] = 1_000_000,
    video_fps: Annotated[float, typer.Option(min=0.001, help="Frames in a second of video.")] = 25,
    machines: Annotated[int, typer.Option(min=1, help="Machines like the measured one.")] = 100,
    price: Annotated[
        float, typer.Option(min=0.0, help="Of one machine for an hour, in your currency.")
    ] = 0.0,
    json: Annotated[bool, typer.Option("--json", help="Print the numbers as one JSON document.")] = False,
) -> None:
    """Work out what labelling costs at the measured rates, without network, failures and idle machines.

    The stride is that of the measurement, for the rate holds for no other.
    """
    from edgeseg.benchmarks.label_speed import read_rates
    from edgeseg.cli.console import print_json, print_table
    from edgeseg.labelling.cost import Footage, work_out

    rates = read_rates(measured)
    cost = work_out(Footage(hours, video_fps), rates, machines=machines, price_per_hour=price)
    if json:
        print_json({"rates": asdict(rates), "cost": asdict(cost)})
        return
    rows = [
        ["frames to label", f"{cost.frames:,.0f}"],
        ["frames/s of a machine", f"{rates.frames_per_second:,.1f}"],
        ["machine-hours", f"{cost.machine_hours:,.0f}"],
        [f"days on {machines} machines", f"{cost.days:,.1f}"],
        ["price", f"{cost.price:,.0f}" if price else "n/a"],
        ["TB of shards", f"{cost.storage_bytes / 1e12:,.2f}"],
    ]
    print_table("", [f"{hours:,.0f} hours at {video_fps:g} frames/s", f"stride {rates.stride}"], rows)
