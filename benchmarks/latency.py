"""Latency of several models, each in a process of its own, in rounds that take turns.

Whatever else the machine does, warm up, clock down or be shared, it does to all of them alike when they take
turns; measured one after the other, the last would carry the heat of the first.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgeseg.benchmarks.contenders import Contender
from edgeseg.benchmarks.frames import FrameSet
from edgeseg.benchmarks.intervals import Interval, intervals
from edgeseg.benchmarks.protocol import (
    STAGES,
    AskMemory,
    ColdStart,
    Loaded,
    Memory,
    Opened,
    Round,
    Stream,
    Streamed,
    WarmedUp,
    WarmUp,
)
from edgeseg.benchmarks.stream import StreamOptions, StreamResult, stream_result
from edgeseg.benchmarks.summary import Summary, Times, summarise
from edgeseg.benchmarks.worker_process import Worker
from edgeseg.errors import EdgesegError, UsageError

Progress = Callable[[int, int], None]

COLD = WarmedUp(0, stable=True)
"""Of what was not warmed up."""
_SETTLE_FRAMES = 5
_WARMUP_SECONDS = 10.0


@dataclass(frozen=True)
class Options:
    """How latency is measured.

    Args:
        frames: Timed frames per model, over all rounds.
        rounds: Turns that each model takes.
        warmup: Untimed frames per model before its first round, at least; it goes on until the times hold
            still, or ten seconds are over. Each round starts with a few more, as the thread pool has
            slept while others had their turn.
        threads: Threads of the runtime and of OpenCV.
        cold_starts: Processes started per model; the median of their totals is reported.
        stream: Also measure frames that arrive at a camera's rate, as many again.
    """

    frames: int = 1000
    rounds: int = 10
    warmup: int = 50
    threads: int = 2
    cold_starts: int = 3
    stream: StreamOptions | None = None

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("rounds", 1), ("warmup", 0), ("threads", 1), ("cold_starts", 1)):
            if getattr(self, name) < least:
                raise UsageError(
                    f"--{name.replace('_', '-')}",
                    expected=f"at least {least}",
                    found=str(getattr(self, name)),
                    next_step="Correct it.",
                )

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def counts(self) -> list[int]:
        """Timed frames of each round of one model; they add up to ``frames``."""
        bounds = np.linspace(0, self.frames, min(self.rounds, self.frames) + 1).round().astype(int)
        return [int(count) for count in np.diff(bounds)]

    def schedule(self) -> list[Round]:
        """The rounds of one model, for those who warm up within the first."""
        return [
            Round(_SETTLE_FRAMES if index else self.warmup, count)
            for index, count in enumerate(self.counts())
        ]


@dataclass(frozen=True)
class Latency:
    """One model's times in milliseconds and memory in MiB.

    ``stages`` has a summary per name in ``STAGES``; ``round_p50`` are the medians of the total in each round,
    in order: where they drift, the machine did not hold still. ``intervals`` are 95 % confidence intervals of
    the total's percentiles. ``failure`` says what ended it before its last round.
    """

    loaded: Loaded
    stages: dict[str, Summary]
    round_p50: tuple[float, ...]
    cold_start: ColdStart
    cold_start_totals: tuple[float, ...]
    memory: Memory
    warmed_up: WarmedUp = COLD
    intervals: dict[str, Interval] = field(default_factory=dict)
    stream: StreamResult | None = None
    failure: str | None = None

    @property
    def total(self) -> Summary:
        return self.stages["total"]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "stages_ms": {name: summary.to_dict() for name, summary in self.stages.items()},
            "confidence_95_ms": {
                name.replace("p999", "p99.9"): [round(low, 3), round(high, 3)]
                for name, (low, high) in self.intervals.items()
            },
            "round_p50_ms": [round(value, 3) for value in self.round_p50],
            "warmup": asdict(self.warmed_up),
            "stream": self.stream.to_dict() if self.stream else None,
            "cold_start_ms": self.cold_start.to_dict(),
            "cold_start_totals_ms": [round(value, 1) for value in self.cold_start_totals],
            "memory_mib": {key: round(value, 1) for key, value in asdict(self.memory).items()},
            "failure": self.failure,
        }


@dataclass
class Entrant:
    """A contender whose process runs, and what it has measured so far.

    ``windows`` are when it ran its rounds, on the clock of :func:`time.monotonic_ns`.
    """

    contender: Contender
    worker: Worker
    cold_starts: list[ColdStart]
    memory: Memory
    warmed_up: WarmedUp = COLD
    rounds: list[Times] = field(default_factory=list)
    streams: list[Streamed] = field(default_factory=list)
    windows: list[tuple[int, int]] = field(default_factory=list)
    failure: EdgesegError | None = None

    @property
    def opened(self) -> Opened:
        return self.worker.opened

    @property
    def frames(self) -> int:
        """That were run in the windows, timed or not."""
        return sum(_SETTLE_FRAMES + len(times) for times in self.rounds)

    def latency(self, stream: StreamOptions | None) -> Latency:
        """What its rounds come to; at least one was measured."""
        total = STAGES.index("total")
        starts = sorted(self.cold_starts, key=lambda start: start.total)
        return Latency(
            loaded=self.opened.loaded,
            stages={
                name: summarise([r[:, column] for r in self.rounds]) for column, name in enumerate(STAGES)
            },
            round_p50=tuple(float(np.median(r[:, total])) for r in self.rounds),
            cold_start=starts[len(starts) // 2],
            cold_start_totals=tuple(start.total for start in self.cold_starts),
            memory=self.memory,
            warmed_up=self.warmed_up,
            intervals=intervals([r[:, total] for r in self.rounds]),
            stream=stream_result(self.streams, stream) if stream and self.streams else None,
            failure=self.failure.found if self.failure else None,
        )


@contextmanager
def entered(contenders: Sequence[Contender], frames: FrameSet, options: Options) -> Iterator[list[Entrant]]:
    """All contenders with their processes running, in the order given; the processes end with the block.

    Raises:
        BundleError: A bundle cannot be used.
        UsageError: A file cannot be run as it is.
        InferenceError: A worker process died.
    """
    with ExitStack() as stack:
        entrants = []
        for contender in contenders:
            job = contender.job(frames.encoded)
            starts = []
            for _ in range(options.cold_starts - 1):
                with Worker(job) as worker:
                    starts.append(worker.opened.cold_start)
            worker = stack.enter_context(Worker(job))
            starts.append(worker.opened.cold_start)
            entrants.append(Entrant(contender, worker, starts, worker.ask(AskMemory())))
        yield entrants


def take_turns(
    entrants: Sequence[Entrant],
    options: Options,
    on_progress: Progress,
    on_round: Callable[[], None] = lambda: None,
) -> None:
    """Warm all up, then measure them in rounds that take turns; what was measured is in the entrants.

    One whose process dies after its first round keeps what it has, and the others go on.

    Args:
        on_progress: Called with (frames done, frames in all) after each turn.
        on_round: Called when all have had their turn of a round.

    Raises:
        InferenceError: A runtime failed on a frame, or a process died, before its first round was over.
    """
    for entrant in entrants if options.warmup else ():
        entrant.warmed_up = entrant.worker.ask(WarmUp(options.warmup, _WARMUP_SECONDS))
    done, total = 0, options.frames * len(entrants) * (2 if options.stream else 1)
    on_progress(done, total)
    for number, count in enumerate(options.counts()):
        # The first of one round is the last of the next, so that none always follows the same one.
        for entrant in entrants if number % 2 == 0 else reversed(entrants):
            _measure(entrant, count, options.stream)
            done += count * (2 if options.stream else 1)
            on_progress(done, total)
        on_round()


def _measure(entrant: Entrant, frames: int, stream: StreamOptions | None) -> None:
    if entrant.failure:
        return
    try:
        start_ns = time.monotonic_ns()
        entrant.rounds.append(entrant.worker.ask(Round(_SETTLE_FRAMES, frames)))
        entrant.windows.append((start_ns, time.monotonic_ns()))
        entrant.memory = entrant.worker.ask(AskMemory())
        if stream:
            entrant.streams.append(entrant.worker.ask(Stream(frames, stream.fps)))
    except EdgesegError as error:
        if not entrant.rounds:
            raise
        entrant.failure = error
