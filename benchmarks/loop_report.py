"""The loop beside a plain one, written down."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeseg.benchmarks import loop_sink, plain_loop
from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.host import Host
from edgeseg.benchmarks.loop_speed import ROLES, LoopSpeed, Rows, Usage
from edgeseg.benchmarks.summary import summarise
from edgeseg.tables import markdown_table

HEADER = ("milliseconds", "p50", "p90", "p99", "max")
COSTS_HEADER = ("for each mask", "CPU ms", "page faults", "bytes grown")
_USAGE_FIELDS = ("cpu_ms", "faults", "grown_bytes")
BUDGET_MS = 3.0
"""What a frame may cost beyond inference."""


@dataclass(frozen=True)
class LoopBenchmark:
    """A whole measurement, with what it was made on.

    Attributes:
        settings: Bundle, source, size, rate and the like, as plain values.
    """

    created: str
    command: str
    host: Host
    settings: dict[str, Any]
    speed: LoopSpeed

    @property
    def loop_overhead(self) -> list[Rows]:
        """Milliseconds from a frame's pixels to its published mask without inference; a series a round."""
        return [
            _overhead(r.rows, loop_sink.COLUMNS, ("infer", "deliver", "overlay")) for r in self.speed.loop
        ]

    @property
    def delivered(self) -> list[Rows]:
        """The same to the mask in the hands of a consumer, in another process."""
        return [_overhead(r.rows, loop_sink.COLUMNS, ("infer",)) for r in self.speed.loop]

    @property
    def plain_overhead(self) -> list[Rows]:
        return [_overhead(r.rows, plain_loop.COLUMNS, ("infer", "overlay")) for r in self.speed.plain]

    @property
    def usage(self) -> dict[str, Usage]:
        """By role, the median over the rounds."""
        rounds = [r.usage for r in self.speed.loop if r.usage]
        return {
            role: Usage(
                *(float(np.median([getattr(u[role], name) for u in rounds])) for name in _USAGE_FIELDS)
            )
            for role in ROLES
            if rounds
        }

    def times(self) -> dict[str, list[Rows]]:
        """Every line of the table of times: its name, and a series of milliseconds a round."""
        loop, plain = self.speed.loop, self.speed.plain
        return {
            "loop: overhead": self.loop_overhead,
            "loop: overhead, delivered": self.delivered,
            **{f"loop: {n}": [r.rows[:, i] for r in loop] for i, n in enumerate(loop_sink.COLUMNS)},
            "plain: overhead": self.plain_overhead,
            **{f"plain: {n}": [r.rows[:, i] for r in plain] for i, n in enumerate(plain_loop.COLUMNS)},
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        loop = self.speed.loop
        return {
            "created": self.created,
            "command": self.command,
            "host": self.host.to_dict(),
            "settings": self.settings,
            "ms": {name: summarise(rows).to_dict() for name, rows in self.times().items()},
            "rounds_overhead_p50_ms": {
                "loop": [round(float(np.median(rows)), 3) for rows in self.loop_overhead],
                "plain": [round(float(np.median(rows)), 3) for rows in self.plain_overhead],
            },
            "cpu_ms_per_frame": {"plain": [round(r.cpu_ms, 2) for r in self.speed.plain]}
            | {"loop": [round(sum(u.cpu_ms for u in r.usage.values()), 2) for r in loop]},
            "per_mask": {
                role: {key: round(value, 2) for key, value in asdict(usage).items()}
                for role, usage in self.usage.items()
            },
            "masks": [len(r.rows) for r in loop],
            "dropped": [r.dropped for r in loop],
            "collections": [r.collections for r in loop],
            "start_seconds": [round(r.start_seconds, 2) for r in loop],
        }


def rows(result: LoopBenchmark) -> list[list[str]]:
    """One row per line of times, for ``HEADER``."""
    found = {name: summarise(series) for name, series in result.times().items()}
    return [[n, *(f"{value:.2f}" for value in (s.p50, s.p90, s.p99, s.max))] for n, s in found.items()]


def costs(result: LoopBenchmark) -> list[list[str]]:
    """One row per process, for ``COSTS_HEADER``; of the plain loop only CPU time is known."""
    usage = result.usage
    processes = [
        [f"loop: {r}", f"{u.cpu_ms:.1f}", f"{u.faults:.1f}", f"{u.grown_bytes:.0f}"] for r, u in usage.items()
    ]
    total = ["loop: all", f"{sum(u.cpu_ms for u in usage.values()):.1f}", "", ""]
    plain = float(np.median([r.cpu_ms for r in result.speed.plain]))
    return [*processes, total, ["plain: all", f"{plain:.1f}", "", ""]]


def conclusion(result: LoopBenchmark) -> str:
    """The overhead against its budget, in words."""
    ours, plain = (float(np.median(np.concatenate(o))) for o in (result.loop_overhead, result.plain_overhead))
    verdict = "within" if ours <= BUDGET_MS else "over"
    return (
        f"From a frame's pixels to its published mask the loop takes inference and {ours:.2f} ms (p50), "
        f"{verdict} its budget of {BUDGET_MS:.0f} ms; the plain loop takes inference and {plain:.2f} ms."
    )


def write_loop_benchmark(result: LoopBenchmark, path: Path) -> None:
    """``PATH.json`` and ``PATH.md``; ``path`` is given without a suffix."""
    write_documents(result.to_dict(), _markdown(result), path)


def _overhead(series: Rows, columns: tuple[str, ...], without: tuple[str, ...]) -> Rows:
    kept = [index for index, name in enumerate(columns) if name not in without]
    return np.asarray(series[:, kept].sum(axis=1))


def _markdown(result: LoopBenchmark) -> str:
    settings = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result.settings.items())
    host, values = result.host, result.to_dict()
    paragraphs = [
        "# The loop beside a plain one",
        f"`{result.command}`",
        f"{result.created}. {host.describe()}",
        f"{settings}. Both play the same video at its rate, through the same runtime, in turns.",
        conclusion(result),
        markdown_table(HEADER, rows(result)),
        _TIMES,
        markdown_table(COSTS_HEADER, costs(result)),
        _COSTS,
        f"Of each round: masks {values['masks']}, frames without one {values['dropped']}, automatic garbage "
        f"collections {values['collections']}, seconds from the call to a loop that runs "
        f"{values['start_seconds']}.",
    ]
    return "\n\n".join(paragraphs) + "\n"


_TIMES = (
    "Overhead is the sum of capture, wait, resize and post. Of the loop: capture is from a frame's pixels to "
    "their place in shared memory (the picture is judged after that); wait from there to inference, with the "
    "copy of the picture for the sinks; post the mask at the frame's size; deliver from the published mask "
    "to a sink in another process, in its own copy. The plain loop has one thread: it saves processes, "
    "checks and copies, and with them all that the loop survives. The argmax is in the bundle's graph for "
    "both. A plain loop in Keras is not here: a bundle holds no Keras model, and benchmarks know no Keras."
)
_COSTS = (
    "CPU time is of all threads, decoding the video and drawing the overlay included. Page faults are those "
    "without a disk: memory that is allocated and released for each frame shows there. Bytes grown is the "
    "slope of the process's own memory, without what is shared."
)
