"""How many images per second ways of feeding a training run deliver, measured beside one another.

It knows no loader: it is handed them. ``edgeseg data benchmark`` hands it the project's own beside the plain
one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.host import Host
from edgeseg.tables import markdown_table

Epoch = Callable[[int], Iterable[tuple[npt.NDArray[Any], npt.NDArray[Any]]]]
"""An epoch's number to its batches of images ``[B, …]`` and masks ``[B, …]``."""


@dataclass(frozen=True)
class Contender:
    """A way of feeding a training run; ``does`` says in words what it does for every image."""

    name: str
    does: str
    epoch: Epoch


@dataclass(frozen=True)
class Throughput:
    """Images per second of a contender, one value per round."""

    name: str
    does: str
    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.rounds))


@dataclass(frozen=True)
class DataPathResult:
    """A whole run. The first of ``throughputs`` is the one that the others are compared with.

    Args:
        images: What was fed, for instance how many files of which size.
        prepare_seconds: What the decoded cache cost, once.
        settings: Batch size, workers and the like, as plain values.
    """

    created: str
    command: str
    host: Host
    images: dict[str, Any]
    settings: dict[str, Any]
    prepare_seconds: float
    throughputs: tuple[Throughput, ...]

    def factor(self, throughput: Throughput) -> float:
        """How many times the first contender's median this one's is."""
        return throughput.median / self.throughputs[0].median

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "images": self.images,
            "settings": self.settings,
            "prepare_seconds": round(self.prepare_seconds, 2),
            "contenders": [
                {
                    "name": t.name,
                    "does": t.does,
                    "images_per_second": round(t.median, 1),
                    "rounds": [round(value, 1) for value in t.rounds],
                    "factor": round(self.factor(t), 1),
                }
                for t in self.throughputs
            ],
        }


def measure_throughput(
    contenders: Sequence[Contender],
    rounds: int = 5,
    min_seconds: float = 1.0,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Throughput]:
    """Measure from the second epoch on, taking turns.

    The first epoch of each is run and not counted: it pays for files not yet in memory and for workers that
    start. Then, in every round, each contender runs whole epochs for at least ``min_seconds``.
    """
    report = on_progress or (lambda _done, _total: None)
    measured: list[list[float]] = [[] for _ in contenders]
    epochs = [0] * len(contenders)
    for turn in range(rounds + 1):
        for index, contender in enumerate(contenders):
            count, rate = _run(contender.epoch, epochs[index], min_seconds if turn else 0.0)
            epochs[index] += count
            if turn:
                measured[index].append(rate)
            report(turn * len(contenders) + index + 1, (rounds + 1) * len(contenders))
    return [Throughput(c.name, c.does, tuple(m)) for c, m in zip(contenders, measured, strict=True)]


def write_data_path(result: DataPathResult, path: Path) -> None:
    """``PATH.json`` and ``PATH.md``; ``path`` is given without a suffix."""
    write_documents(result.to_dict(), _markdown(result), path)


def rows(result: DataPathResult) -> list[list[str]]:
    """One row per contender: name, median, slowest and fastest round, and the factor."""
    return [
        [
            t.name,
            f"{t.median:.0f}",
            f"{min(t.rounds):.0f}",
            f"{max(t.rounds):.0f}",
            f"{result.factor(t):.1f}" if result.factor(t) < 100 else f"{result.factor(t):.0f}",
        ]
        for t in result.throughputs
    ]


HEADER = ("data path", "images/s", "slowest round", "fastest round", "times the plain one")


def _run(epoch: Epoch, first: int, min_seconds: float) -> tuple[int, float]:
    """Whole epochs from number ``first`` on; how many, and images per second."""
    start, images, count = time.monotonic(), 0, 0
    while count == 0 or time.monotonic() - start < min_seconds:
        images += sum(len(batch_images) for batch_images, _ in epoch(first + count))
        count += 1
    return count, images / (time.monotonic() - start)


def _markdown(result: DataPathResult) -> str:
    described = "\n".join(f"- **{t.name}**: {t.does}" for t in result.throughputs)
    facts = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result.images.items())
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result.settings.items())
    host = result.host
    return (
        "# Throughput of the data path\n\n"
        f"`{result.command}`\n\n"
        f"{result.created}. {host.describe()}\n\n"
        f"Images: {facts}. Settings: {settings}. Second epoch on, rounds that take turns, medians.\n\n"
        f"{markdown_table(HEADER, rows(result))}\n\n{described}\n\n"
        f"The decoded cache was made once in {result.prepare_seconds:.1f} s, which the rates leave out.\n"
    )
