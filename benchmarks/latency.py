"""Latency of several bundles, each in a process of its own, in rounds that take turns.

Whatever else the machine does, warm up, clock down or be shared, it does to all bundles alike when they take
turns; measured one after the other, the last would carry the heat of the first.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import edgeseg
from edgeseg.benchmarks.frames import FrameSet
from edgeseg.benchmarks.protocol import STAGES, ColdStart, Finish, Job, Loaded, Memory, Round
from edgeseg.benchmarks.summary import Summary, Times, summarise
from edgeseg.errors import EdgesegError, InferenceError, UsageError

Progress = Callable[[int, int], None]

_SETTLE_FRAMES = 5


@dataclass(frozen=True)
class Options:
    """How latency is measured.

    Args:
        frames: Timed frames per bundle, over all rounds.
        rounds: Turns that each bundle takes.
        warmup: Untimed frames per bundle before its first round. Each later round starts with a few more,
            as the thread pool has slept while others had their turn.
        threads: Threads of the runtime and of OpenCV.
        cold_starts: Processes started per bundle; the median of their totals is reported.
        runtime: The runtime for all bundles, or ``None`` for each bundle's own choice.
        precision: The precision for all bundles, or ``None`` for each bundle's own choice.
        require_signature: Public keys, PEM files, one of which must have signed each bundle;
            ``None``: none need.
    """

    frames: int = 1000
    rounds: int = 10
    warmup: int = 50
    threads: int = 2
    cold_starts: int = 3
    runtime: str | None = None
    precision: str | None = None
    require_signature: tuple[str, ...] | None = None

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

    def schedule(self) -> list[Round]:
        """The rounds of one bundle; their timed frames add up to ``frames``."""
        bounds = np.linspace(0, self.frames, min(self.rounds, self.frames) + 1).round().astype(int)
        return [
            Round(_SETTLE_FRAMES if index else self.warmup, int(count))
            for index, count in enumerate(np.diff(bounds))
        ]


@dataclass(frozen=True)
class Latency:
    """One bundle's times in milliseconds and memory in MiB.

    ``stages`` has a summary per name in ``STAGES``; ``round_p50`` are the medians of the total in each round,
    in order: where they drift, the machine did not hold still.
    """

    loaded: Loaded
    stages: dict[str, Summary]
    round_p50: tuple[float, ...]
    cold_start: ColdStart
    cold_start_totals: tuple[float, ...]
    memory: Memory

    @property
    def total(self) -> Summary:
        return self.stages["total"]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "stages_ms": {name: summary.to_dict() for name, summary in self.stages.items()},
            "round_p50_ms": [round(value, 3) for value in self.round_p50],
            "cold_start_ms": self.cold_start.to_dict(),
            "cold_start_totals_ms": [round(value, 1) for value in self.cold_start_totals],
            "memory_mib": {key: round(value, 1) for key, value in asdict(self.memory).items()},
        }


def measure_latency(
    bundles: Sequence[Path], frames: FrameSet, options: Options, on_progress: Progress | None = None
) -> list[Latency]:
    """Measure bundles beside one another, in the order given.

    Args:
        on_progress: Called with (frames done, frames in all) after each round.

    Raises:
        BundleError: A bundle cannot be used.
        InferenceError: A runtime failed on a frame, or a worker process died.
    """
    report = on_progress or (lambda _done, _total: None)
    with ExitStack() as stack:
        workers, starts = [], []
        for path in bundles:
            worker, totals = _start(path, frames, options, stack)
            workers.append(worker)
            starts.append(totals)
        times = _take_turns(workers, options, report)
        return [
            _result(worker, worker_times, totals)
            for worker, worker_times, totals in zip(workers, times, starts, strict=True)
        ]


def _start(
    path: Path, frames: FrameSet, options: Options, stack: ExitStack
) -> tuple[_Worker, list[ColdStart]]:
    """A bundle's worker, left running, and the cold starts of all that were tried."""
    job = Job(
        str(path),
        options.runtime,
        options.precision,
        options.threads,
        frames.encoded,
        options.require_signature,
    )
    starts = []
    for _ in range(options.cold_starts - 1):
        with _Worker(job) as worker:
            starts.append(worker.cold_start)
    worker = stack.enter_context(_Worker(job))
    return worker, [*starts, worker.cold_start]


def _take_turns(workers: Sequence[_Worker], options: Options, report: Progress) -> list[list[Times]]:
    times: list[list[Times]] = [[] for _ in workers]
    done, total = 0, options.frames * len(workers)
    report(done, total)
    for number, turn in enumerate(options.schedule()):
        # The first of one round is the last of the next, so that no bundle always follows the same one.
        order = range(len(workers)) if number % 2 == 0 else reversed(range(len(workers)))
        for index in order:
            times[index].append(workers[index].ask(turn))
            done += turn.frames
            report(done, total)
    return times


def _result(worker: _Worker, rounds: list[Times], starts: list[ColdStart]) -> Latency:
    total = STAGES.index("total")
    return Latency(
        loaded=worker.loaded,
        stages={name: summarise([r[:, column] for r in rounds]) for column, name in enumerate(STAGES)},
        round_p50=tuple(float(np.median(r[:, total])) for r in rounds),
        cold_start=sorted(starts, key=lambda start: start.total)[len(starts) // 2],
        cold_start_totals=tuple(start.total for start in starts),
        memory=worker.ask(Finish()),
    )


class _Worker:
    """The parent's side of a worker process: starts it and talks to it."""

    def __init__(self, job: Job) -> None:
        self._bundle = job.bundle
        # Runtimes print to stderr as they load; it is shown only if the process dies.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close()
        self._connection, theirs = Pipe()
        # -m looks for edgeseg as this process found it, installed or not.
        paths = [str(Path(edgeseg.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", str(theirs.fileno()), str(time.monotonic_ns())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        )
        # Only the child holds this end now: when it dies, receiving ends instead of waiting for ever.
        theirs.close()
        try:
            self.loaded, self.cold_start = self.ask(job)
        except BaseException:
            self.close()
            raise

    def ask(self, message: Job | Round | Finish) -> Any:
        """The answer to a message; an error of the worker is raised here."""
        try:
            self._connection.send(message)
            answer = self._connection.recv()
        except (EOFError, ConnectionError) as error:
            raise self._died() from error
        if isinstance(answer, EdgesegError):
            raise answer
        return answer

    def close(self) -> None:
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def __enter__(self) -> _Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _died(self) -> InferenceError:
        code = self._process.wait()
        self._log.seek(0)
        said = self._log.read().decode(errors="replace").strip().splitlines()
        return InferenceError(
            self._bundle,
            expected="its benchmark process to finish",
            found=f"it ended with code {code}" + (f": {said[-1]}" if said else ""),
            next_step="Code -9 is most often too little memory. Otherwise try: edgeseg verify on the bundle.",
        )
