"""Frames labelled in a second by one process and by actors on Ray, in turns, and the bytes they write."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeseg.benchmarks.conditions import Conditions, Watch
from edgeseg.benchmarks.documents import write_documents
from edgeseg.benchmarks.host import Host, describe_host
from edgeseg.errors import DataError
from edgeseg.labelling.cost import Rates
from edgeseg.labelling.job import Job
from edgeseg.labelling.run import Outcome, Plan, Workers, label
from edgeseg.tables import markdown_table


@dataclass(frozen=True)
class Way:
    """One way to label, over all rounds.

    Args:
        name: ``one process``, ``2 actors``.
        workers: How many processes labelled in the last round.
        working_fps: Frames in a second of each round, from the first unit's begin to the last one's end.
        seconds: Of each round in all, with the start of Ray and of its actors.
    """

    name: str
    workers: int
    working_fps: tuple[float, ...]
    seconds: tuple[float, ...]

    @property
    def fps(self) -> float:
        """The median round's."""
        return statistics.median(self.working_fps)


@dataclass(frozen=True)
class LabelSpeed:
    """A finished measurement; ``mask_bytes`` and ``shard_bytes`` are those of one frame on average."""

    command: str
    host: Host
    conditions: Conditions
    job: Job
    threads: int
    frames: int
    mask_bytes: float
    shard_bytes: float
    ways: tuple[Way, ...]

    def to_dict(self) -> dict[str, Any]:
        """For a file; :func:`read_rates` reads it."""
        return {
            "command": self.command,
            "host": self.host.to_dict(),
            "conditions": self.conditions.to_dict(),
            "job": self.job.model_dump(),
            "threads": self.threads,
            "frames": self.frames,
            "mask_bytes_per_frame": round(self.mask_bytes, 1),
            "shard_bytes_per_frame": round(self.shard_bytes, 1),
            "ways": [{**asdict(way), "fps": round(way.fps, 3)} for way in self.ways],
        }


def measure_labelling(
    plan: Callable[[Path], Plan],
    ways: Mapping[str, Workers],
    *,
    rounds: int,
    threads: int,
    command: str,
    progress: Callable[[int, int], None] | None = None,
) -> LabelSpeed:
    """Label the same sources in every way, ``rounds`` times in turns, each time into a new folder.

    Args:
        plan: Gives the job for a folder.
        ways: Name to who labels.
        rounds: How often each.
        threads: Of each model, for the record.
        command: That measures, for the record.
        progress: Called with finished and all labellings.

    Raises:
        EdgesegError: As of :func:`edgeseg.labelling.run.label`.
    """
    host, watch = describe_host(), Watch([])
    outcomes: dict[str, list[Outcome]] = {name: [] for name in ways}
    for number in range(rounds):
        # To and fro, so that none always follows the same one.
        order = list(ways.items())[:: 1 if number % 2 == 0 else -1]
        for place, (name, workers) in enumerate(order, start=1):
            with tempfile.TemporaryDirectory(prefix="edgeseg-label-") as folder:
                made = plan(Path(folder) / "labels")
                outcomes[name].append(label(made, workers))
            if progress:
                progress(number * len(ways) + place, rounds * len(ways))
    manifest = next(iter(outcomes.values()))[0].manifest
    return LabelSpeed(
        command=command,
        host=host,
        conditions=watch.conditions(),
        job=manifest.job,
        threads=threads,
        frames=manifest.frames,
        mask_bytes=manifest.mask_bytes / manifest.frames,
        shard_bytes=sum(shard.size for shard in manifest.shards) / manifest.frames,
        ways=tuple(_way(name, done) for name, done in outcomes.items()),
    )


def rows(result: LabelSpeed) -> list[list[str]]:
    """Way, processes, frames in a second, against the first way, seconds in all; with a header."""
    first = result.ways[0].fps
    return [
        ["", "processes", "frames/s", "lowest–highest", "× one process", "s with the start"],
        *(
            [
                way.name,
                str(way.workers),
                f"{way.fps:.1f}",
                f"{min(way.working_fps):.1f}–{max(way.working_fps):.1f}",
                f"{way.fps / first:.2f}",
                f"{statistics.median(way.seconds):.1f}",
            ]
            for way in result.ways
        ),
    ]


def write_label_speed(result: LabelSpeed, path: Path) -> None:
    """``PATH.json`` and ``PATH.md``; ``path`` is given without a suffix."""
    write_documents(result.to_dict(), _markdown(result), path)


def read_rates(path: Path) -> Rates:
    """The rates of the fastest way in a file of :func:`write_label_speed`.

    Raises:
        DataError: The file is missing or no such file.
    """
    import json

    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        fastest = max(float(way["fps"]) for way in values["ways"])
        return Rates(fastest, float(values["shard_bytes_per_frame"]), int(values["job"]["stride"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            path,
            expected="a file that edgeseg benchmark-label wrote",
            found="nothing there" if isinstance(error, FileNotFoundError) else f"another one ({error})",
            next_step="Measure with: edgeseg benchmark-label SOURCE --bundle BUNDLE --out PATH",
        ) from error


def _way(name: str, outcomes: list[Outcome]) -> Way:
    return Way(
        name,
        len({result.worker for result in outcomes[-1].results}),
        tuple(round(o.labelled / o.working_seconds, 3) for o in outcomes),
        tuple(round(o.seconds, 2) for o in outcomes),
    )


def _markdown(result: LabelSpeed) -> str:
    header, *body = rows(result)
    job = result.job
    others = result.conditions.others
    busy = "" if others is None else f" Other processes, Ray's among them, took {100 * others:.0f} % of it."
    return (
        f"# Labelling with {job.bundle}\n\n"
        f"{result.host.describe()}{busy}\n\n"
        f"`{result.command}`\n\n"
        f"{result.frames} frames of {job.sources} files, {job.runtime} {job.precision}, threads per model: "
        f"{result.threads}, shards of {job.shard_size}. Decoded, labelled, encoded, hashed and written; "
        f"median of {len(result.ways[0].working_fps)} rounds in turns.\n\n"
        f"{markdown_table(header, body)}\n\n"
        f"kB of a frame: mask {result.mask_bytes / 1e3:.1f}, all {result.shard_bytes / 1e3:.1f}.\n"
    )
