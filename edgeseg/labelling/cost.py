"""What it takes to label a fleet's footage, worked out from rates that were measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Footage:
    """What is to be labelled.

    Args:
        hours: Of video.
        fps: Frames in a second of it.
    """

    hours: float
    fps: float


@dataclass(frozen=True)
class Rates:
    """What was measured on one machine.

    Args:
        frames_per_second: Labelled by the whole machine: decoded, inferred, encoded and written.
        bytes_per_frame: Of the shards, masks and what is told of each.
        stride: Each so-many-th frame was labelled. The rate holds for no other: the frames between are
            decoded too.
    """

    frames_per_second: float
    bytes_per_frame: float
    stride: int


@dataclass(frozen=True)
class Cost:
    """What it comes to.

    Args:
        frames: To label.
        machine_hours: Of machines like the one that was measured.
        days: On ``machines`` of them, if none ever waits or fails.
        price: Of the machine-hours, in the currency of the price of one.
        storage_bytes: Of all shards.
    """

    frames: float
    machine_hours: float
    days: float
    price: float
    storage_bytes: float


def work_out(footage: Footage, rates: Rates, *, machines: int, price_per_hour: float) -> Cost:
    """The cost of labelling each ``rates.stride``-th frame of ``footage``.

    Args:
        footage: What is to be labelled.
        rates: Of one machine.
        machines: How many there are.
        price_per_hour: Of one machine, in any currency.
    """
    frames = footage.hours * 3600 * footage.fps / rates.stride
    machine_hours = frames / rates.frames_per_second / 3600
    return Cost(
        frames=frames,
        machine_hours=machine_hours,
        days=machine_hours / machines / 24,
        price=machine_hours * price_per_hour,
        storage_bytes=frames * rates.bytes_per_frame,
    )
