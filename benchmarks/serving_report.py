"""Services side by side, written down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.serving import ServingSpeed, Turn
from edgeseg.benchmarks.summary import Summary, summarise
from edgeseg.tables import markdown_table

HEADER = ("service", "clients", "masks/s", "p50 ms", "p99 ms", "max ms", "failures")
GOAL = 5.0
"""How many times the throughput of the plain service is aimed at."""


@dataclass(frozen=True)
class ServingBenchmark:
    """A whole measurement, with what it was made on.

    Attributes:
        settings: Bundle, runtime, picture and the like, as plain values.
        services: Ours first; beside it the plain one, where it was asked for.
    """

    created: str
    command: str
    host: Host
    settings: dict[str, Any]
    services: tuple[ServingSpeed, ...]

    def ratios(self) -> dict[int, float]:
        """Number of clients to how many times the plain service's throughput ours has; empty without it."""
        if len(self.services) < 2:
            return {}
        ours, plain = self.services
        return {
            count: throughput(turns) / throughput(plain.turns[count])
            for count, turns in ours.turns.items()
            if throughput(plain.turns[count])
        }

    def agreement(self) -> float | None:
        """Share of the picture's pixels on which both masks agree."""
        if len(self.services) < 2:
            return None
        ours, plain = (service.mask for service in self.services)
        return float(np.mean(ours == plain)) if ours.shape == plain.shape else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        agreement = self.agreement()
        return {
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "settings": self.settings,
            "services": [
                {
                    "name": service.name,
                    "peak_mib": round(service.peak_mib, 1),
                    "clients": {str(count): _values(turns) for count, turns in service.turns.items()},
                }
                for service in self.services
            ],
            "throughput_ratio": {str(count): round(ratio, 2) for count, ratio in self.ratios().items()},
            "mask_agreement": None if agreement is None else round(agreement, 4),
        }


def throughput(turns: tuple[Turn, ...]) -> float:
    """Masks a second: the median over the rounds."""
    return float(np.median([len(turn.times) / turn.seconds for turn in turns]))


def rows(result: ServingBenchmark) -> list[list[str]]:
    """One row per service and number of clients, for ``HEADER``."""
    found = []
    for service in result.services:
        for count, turns in service.turns.items():
            summary = _summary(turns)
            times = (
                [f"{value:.1f}" for value in (summary.p50, summary.p99, summary.max)]
                if summary
                else ["none"] * 3
            )
            failures = str(sum(turn.failures for turn in turns))
            found.append([service.name, str(count), f"{throughput(turns):.1f}", *times, failures])
    return found


def conclusion(result: ServingBenchmark) -> str | None:
    """The throughput beside the plain service's, in words; nothing where there is none."""
    ratios = result.ratios()
    if not ratios:
        return None
    each = ", ".join(f"{ratio:.1f} with {count}" for count, ratio in ratios.items())
    verdict = "reached" if min(ratios.values()) >= GOAL else "not reached"
    return (
        f"Times the plain service's throughput, by number of clients: {each}. The goal of {GOAL:.0f} is "
        f"{verdict}{'' if verdict == 'reached' else ' with every one of them'}."
    )


def write_serving_benchmark(result: ServingBenchmark, path: Path) -> None:
    """``PATH.json`` and ``PATH.md``; ``path`` is given without a suffix."""
    write_documents(result.to_dict(), _markdown(result), path)


def _values(turns: tuple[Turn, ...]) -> dict[str, Any]:
    summary = _summary(turns)
    return {
        "masks_per_second": round(throughput(turns), 2),
        "rounds_masks_per_second": [round(len(turn.times) / turn.seconds, 2) for turn in turns],
        "ms": summary.to_dict() if summary else None,
        "requests": sum(len(turn.times) for turn in turns),
        "failures": sum(turn.failures for turn in turns),
    }


def _summary(turns: tuple[Turn, ...]) -> Summary | None:
    counted = [turn.times for turn in turns if len(turn.times)]
    return summarise(counted) if counted else None


def _markdown(result: ServingBenchmark) -> str:
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result.settings.items())
    host, agreement = result.host, result.agreement()
    memory = ", ".join(f"{service.name} {service.peak_mib:.0f} MiB" for service in result.services)
    paragraphs = [
        "# Services side by side" if len(result.services) > 1 else "# A service",
        f"`{result.command}`",
        f"{result.created}. {host.describe()}",
        f"{settings}.",
        conclusion(result),
        markdown_table(HEADER, rows(result)),
        _HOW,
        None if agreement is None else _PLAIN.format(agreement=100 * agreement),
        f"Peak memory of the process: {memory}.",
    ]
    return "\n\n".join(text for text in paragraphs if text) + "\n"


_HOW = (
    "Clients are threads of one process on the same machine, each with one connection; they take their "
    "share of the cores. Each sends the same picture again as soon as it has its mask. Masks a second are "
    "the median over the rounds; times are of all rounds, from the first byte sent to the last received. The "
    "services take turns, in an order that changes each round, and both stay in memory all the time."
)
_PLAIN = (
    "The plain service is what a tutorial writes: FastAPI on uvicorn, one async function that decodes the "
    "upload with OpenCV, resizes it, calls Keras's Model.predict, takes the argmax and encodes a PNG. It is "
    "bounded in nothing. It runs the same weights, in Keras. On {agreement:.1f} % of the pixels both masks "
    "agree."
)
