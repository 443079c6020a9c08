"""One model in one process of its own: ``python -m edgeseg.benchmarks.worker FD START_NS``.

The benchmark starts it (:mod:`edgeseg.benchmarks.worker_process`). A process of its own gives each model its
own memory peak and its own cold start, and keeps one runtime's thread pool out of another's way.
"""

from __future__ import annotations

import importlib
import sys
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from edgeseg.benchmarks.loaders import Runner
    from edgeseg.benchmarks.protocol import Job, Message, Round, Stream, Streamed, WarmedUp, WarmUp
    from edgeseg.benchmarks.summary import Times

_WINDOW = 10
_STILL = 0.02


def main() -> None:
    """Answer the parent's messages over the inherited socket until it closes its end."""
    # First of all, before any import that the cold start should count.
    up_ns = time.monotonic_ns()
    from multiprocessing.connection import Connection

    from edgeseg.errors import EdgesegError

    with Connection(int(sys.argv[1])) as connection:
        try:
            _serve(connection, started_ns=int(sys.argv[2]), up_ns=up_ns)
        except EdgesegError as error:
            connection.send(error)
        except (EOFError, ConnectionError):
            return


def _serve(connection: Connection, started_ns: int, up_ns: int) -> None:
    from edgeseg.benchmarks.protocol import ColdStart, Opened

    job: Job = connection.recv()
    marks = [time.monotonic_ns()]
    import cv2

    module, _, function = job.loader.partition(":")
    open_runner = getattr(importlib.import_module(module), function)
    from edgeseg.benchmarks.frames import decode

    cv2.setNumThreads(job.threads)
    marks.append(time.monotonic_ns())
    runner: Runner = open_runner(job)
    marks.append(time.monotonic_ns())
    runner.run(decode(job.frames[0]))
    marks.append(time.monotonic_ns())
    imports, load, first_mask = (_ms(b - a) for a, b in pairwise(marks))
    served = _Served(runner, job)
    cold_start = ColdStart(_ms(up_ns - started_ns), imports, load, first_mask)
    connection.send(Opened(runner.loaded, cold_start, runner.height, runner.width, runner.classes))
    try:
        while True:
            connection.send(served.answer(connection.recv()))
    finally:
        runner.close()


class _Served:
    """The model, and the endless sequence of its frames."""

    def __init__(self, runner: Runner, job: Job) -> None:
        from edgeseg.benchmarks.process_sample import status_mib

        self._runner, self._job = runner, job
        self._number = 0
        self._loaded_mib = status_mib("VmRSS")

    def answer(self, message: Message) -> Any:
        from edgeseg.benchmarks import protocol
        from edgeseg.benchmarks.process_sample import status_mib

        match message:
            case protocol.WarmUp():
                return self._warm_up(message)
            case protocol.Round():
                return self._round(message)
            case protocol.Stream():
                return self._stream(message)
            case protocol.Predict():
                return self._runner.predict(message.image)
            case protocol.AskMemory():
                return protocol.Memory(self._loaded_mib, status_mib("VmHWM"))
        raise TypeError(f"a message of the protocol, not {type(message).__name__}")

    def _warm_up(self, message: WarmUp) -> WarmedUp:
        """Until two windows in a row have the median of the one before them, to within ``_STILL``."""
        import numpy as np

        from edgeseg.benchmarks.protocol import STAGES, WarmedUp

        total = STAGES.index("total")
        taken, still, last = 0, 0, 0.0
        until = time.monotonic() + message.seconds
        while taken < message.at_least or (still < 2 and time.monotonic() < until):
            median = float(np.median([self._timed()[total] for _ in range(_WINDOW)]))
            still = still + 1 if abs(median - last) <= _STILL * median else 0
            taken, last = taken + _WINDOW, median
        return WarmedUp(taken, still >= 2)

    def _round(self, message: Round) -> Times:
        import numpy as np

        for _ in range(message.warmup):
            self._timed()
        return np.array([self._timed() for _ in range(message.frames)])

    def _timed(self) -> tuple[float, ...]:
        """The next frame's times, in the order of ``STAGES``."""
        encoded = self._next()
        start = time.perf_counter_ns()
        frame = _decode(encoded)
        decoded = time.perf_counter_ns()
        stages = self._runner.run(frame)
        end = time.perf_counter_ns()
        return (_ms(decoded - start), stages.resize_ms, stages.infer_ms, stages.post_ms, _ms(end - start))

    def _stream(self, message: Stream) -> Streamed:
        """A frame that arrives while another is at work waits for it; of those that wait the newest wins."""
        import numpy as np

        from edgeseg.benchmarks.protocol import Streamed

        period_ns = max(1, round(1e9 / message.fps))
        start = time.perf_counter_ns() + period_ns
        ages: list[float] = []
        number = dropped = 0
        while number < message.frames:
            time.sleep(max(0, start + number * period_ns - time.perf_counter_ns()) / 1e9)
            newest = min((time.perf_counter_ns() - start) // period_ns, message.frames - 1)
            dropped += max(0, newest - number)
            number = max(number, newest)
            self._runner.run(_decode(self._next()))
            ages.append(_ms(time.perf_counter_ns() - (start + number * period_ns)))
            number += 1
        return Streamed(np.array(ages), dropped)

    def _next(self) -> bytes:
        encoded = self._job.frames[self._number % len(self._job.frames)]
        self._number += 1
        return encoded


def _decode(encoded: bytes) -> Any:
    from edgeseg.benchmarks.frames import decode

    return decode(encoded)


def _ms(nanoseconds: int) -> float:
    return nanoseconds / 1e6


if __name__ == "__main__":
    main()
