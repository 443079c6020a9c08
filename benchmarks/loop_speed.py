"""The loop beside a plain one: same video, same bundle, same runtime, in rounds that take turns.

Both play the video at its own rate. What is asked is what the loop costs beyond inference: milliseconds from
a frame's pixels to its mask in the hands of a consumer, CPU time, and memory.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseg.benchmarks import plain_loop
from edgeseg.benchmarks.loop_sink import DrawingSink
from edgeseg.benchmarks.process_sample import ProcessSample, sample
from edgeseg.errors import InferenceError
from edgeseg.loop import Budgets, Health, LoopPlan, run_loop
from edgeseg.loop.realtime import enter as enter_realtime
from edgeseg.segmenter import load

Rows = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]

ROLES = ("supervisor", "capture", "inference", "sinks")
_PERIOD_NS = 500_000_000


@dataclass(frozen=True)
class Options:
    """How it is measured.

    Args:
        frames: Frame periods of a round that count.
        rounds: Turns that each of the two takes.
        warmup: Frame periods before them that do not.
        threads: Threads of one inference; ``None``: the runtime's usual number.
        realtime: Both as real-time processes, so that other work on the machine is not measured; this process
            is one from then on.
    """

    frames: int = 300
    rounds: int = 3
    warmup: int = 60
    threads: int | None = None
    runtime: str | None = None
    precision: str | None = None
    realtime: bool = False


@dataclass(frozen=True)
class Usage:
    """Of one process, for each mask: CPU milliseconds, page faults, bytes by which its memory grew."""

    cpu_ms: float
    faults: float
    grown_bytes: float


@dataclass(frozen=True)
class PlainRound:
    """Milliseconds in the order of ``plain_loop.COLUMNS``, and CPU milliseconds for each frame."""

    rows: Rows
    cpu_ms: float


@dataclass(frozen=True)
class LoopRound:
    """Milliseconds in the order of ``loop_sink.COLUMNS``, and what else a run of the loop was.

    Args:
        usage: By role.
        start_seconds: From the call to a loop that is told to go.
        dropped: Frames that got no mask.
        collections: Automatic garbage collections once warm.
    """

    rows: Rows
    usage: dict[str, Usage]
    start_seconds: float
    dropped: int
    collections: int


@dataclass(frozen=True)
class LoopSpeed:
    """All rounds, and what ran in them."""

    runtime: str
    threads: int
    model_size: tuple[int, int]
    plain: tuple[PlainRound, ...]
    loop: tuple[LoopRound, ...]


def measure_loop(
    bundle: Path, video: Path, options: Options, on_progress: Progress | None = None
) -> LoopSpeed:
    """Measure both.

    Raises:
        EdgesegError: The bundle or the video cannot be used, real time is refused, or the loop ended before
            its time.
    """
    if options.realtime:
        # Before the runtime is loaded: its threads are to have it too.
        enter_realtime("inference", options.threads)
    report = on_progress or (lambda _done, _total: None)
    plain, loop = [], []
    chosen = {"runtime": options.runtime, "threads": options.threads, "precision": options.precision}
    with load(bundle, **chosen) as segmenter, tempfile.TemporaryDirectory() as folder:
        size, palette = (segmenter.height, segmenter.width), segmenter.labels.palette()
        for turn in range(options.rounds):

            def one_plain() -> None:
                plain.append(_plain(video, segmenter.predict, size, palette, options))

            def one_loop() -> None:
                loop.append(_loop(bundle, video, options, Path(folder) / "rows.npy"))

            # Whoever always came second would find another machine.
            first, second = (one_plain, one_loop) if turn % 2 == 0 else (one_loop, one_plain)
            first()
            report(2 * turn + 1, 2 * options.rounds)
            second()
            report(2 * turn + 2, 2 * options.rounds)
        return LoopSpeed(segmenter.runtime_name, segmenter.threads, size, tuple(plain), tuple(loop))


def _plain(
    video: Path, predict: Any, size: tuple[int, int], palette: npt.NDArray[np.uint8], options: Options
) -> PlainRound:
    before = _own_cpu_seconds()
    rows = plain_loop.run_plain_loop(video, predict, *size, palette, options.warmup + options.frames)
    cpu_ms = 1000 * (_own_cpu_seconds() - before) / len(rows)
    return PlainRound(rows[options.warmup :], cpu_ms)


def _loop(bundle: Path, video: Path, options: Options, file: Path) -> LoopRound:
    plan = LoopPlan(
        bundle=str(bundle),
        source=f"{video}#{options.warmup + options.frames}",
        sinks=(str(file), DrawingSink.name),
        # Nothing is to be ended here because the machine is busy.
        budgets=Budgets(stall_ms=5000, hang_ms=10_000),
        realtime=options.realtime,
        runtime=options.runtime,
        precision=options.precision,
        threads=options.threads,
        parts=(
            "edgeseg.benchmarks.loop_camera:open_camera",
            "edgeseg.segmenter:load",
            "edgeseg.benchmarks.loop_sink:open_sinks",
        ),
    )
    watch, called = _Watch(options.warmup), time.monotonic()
    result = run_loop(plan, health=watch)
    if result.error is not None:
        raise result.error
    rows = np.load(file)[options.warmup :]
    if not len(rows) or watch.started is None:
        raise InferenceError(
            str(bundle),
            expected=f"more than {options.warmup} masks of {options.warmup + options.frames} frames",
            found=str(result.ledger.inferred),
            next_step="Take more frames, or a faster model.",
        )
    return LoopRound(
        rows,
        watch.usage(),
        watch.started - called,
        result.ledger.dropped + result.ledger.lost,
        result.collections,
    )


class _Watch(Health):
    """Hears what a health file would say, and looks at the processes at the same moments."""

    def __init__(self, warmup: int) -> None:
        super().__init__()
        self.started: float | None = None
        self._seen: list[tuple[int, dict[str, ProcessSample]]] = []
        self._warmup = warmup
        self._told_ns = 0

    def due(self, now_ns: int) -> bool:
        return now_ns - self._told_ns >= _PERIOD_NS

    def tell(self, now_ns: int, values: Mapping[str, Any]) -> None:
        self._told_ns = now_ns
        if self.started is None:
            self.started = time.monotonic()
        masks = values["frames"]["inferred"]
        if masks < self._warmup or values["state"] == "STOPPING":
            return
        pids = {"supervisor": values["pid"], **values["processes"]}
        samples = {role: taken for role, pid in pids.items() if (taken := sample(pid)) is not None}
        if set(samples) == set(ROLES):
            self._seen.append((masks, samples))

    def usage(self) -> dict[str, Usage]:
        """From the first moment to the last; the growth by all between them."""
        if len(self._seen) < 2 or self._seen[-1][0] == self._seen[0][0]:
            return {}
        (first_masks, first), (last_masks, last) = self._seen[0], self._seen[-1]
        masks = last_masks - first_masks
        return {
            role: Usage(
                1000 * (last[role].cpu_seconds - first[role].cpu_seconds) / masks,
                (last[role].faults - first[role].faults) / masks,
                _slope([m for m, _ in self._seen], [s[role].anonymous_bytes for _, s in self._seen]),
            )
            for role in ROLES
        }


def _slope(masks: list[int], sizes: list[int]) -> float:
    """Bytes for each mask, by least squares."""
    return float(np.polyfit(masks, sizes, 1)[0])


def _own_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
