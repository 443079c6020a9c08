"""One bundle in one process of its own: ``python -m edgeseg.benchmarks.worker FD START_NS``.

The benchmark starts it (:mod:`edgeseg.benchmarks.latency`). A process of its own gives each bundle its own
memory peak and its own cold start, and keeps one runtime's thread pool out of another's way.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from edgeseg.benchmarks.protocol import Job, Loaded, Round
    from edgeseg.benchmarks.summary import Times
    from edgeseg.segmenter import Segmenter


def main() -> None:
    """Answer the parent's messages over the inherited socket until it says finish."""
    # First of all, before any import that the cold start should count.
    up_ns = time.monotonic_ns()
    from multiprocessing.connection import Connection

    from edgeseg.errors import EdgesegError

    with Connection(int(sys.argv[1])) as connection:
        try:
            _serve(connection, started_ns=int(sys.argv[2]), up_ns=up_ns)
        except EdgesegError as error:
            connection.send(error)


def _serve(connection: Connection, started_ns: int, up_ns: int) -> None:
    from edgeseg.benchmarks.protocol import ColdStart, Finish, Memory

    job: Job = connection.recv()
    marks = [time.monotonic_ns()]
    import cv2

    import edgeseg.segmenter
    from edgeseg.benchmarks.frames import decode

    cv2.setNumThreads(job.threads)
    marks.append(time.monotonic_ns())
    segmenter = edgeseg.segmenter.load(
        job.bundle,
        runtime=job.runtime,
        threads=job.threads,
        precision=job.precision,
        trusted_keys=job.trusted_keys,
    )
    marks.append(time.monotonic_ns())
    segmenter(decode(job.frames[0]))
    marks.append(time.monotonic_ns())
    imports, load, first_mask = (_ms(b - a) for a, b in pairwise(marks))
    loaded_mib = _status_mib("VmRSS")
    connection.send((_describe(segmenter), ColdStart(_ms(up_ns - started_ns), imports, load, first_mask)))

    position = 0
    while not isinstance(message := connection.recv(), Finish):
        connection.send(_run(segmenter, job, message, position))
        position += message.warmup + message.frames
    connection.send(Memory(loaded_mib, _status_mib("VmHWM")))
    segmenter.close()


def _run(segmenter: Segmenter, job: Job, message: Round, position: int) -> Times:
    """The times of a round; its first frame is number ``position`` of the endless sequence."""
    import numpy as np

    from edgeseg.benchmarks.frames import decode

    times = np.empty((message.frames, 5))
    for i in range(-message.warmup, message.frames):
        encoded = job.frames[(position + message.warmup + i) % len(job.frames)]
        start = time.perf_counter_ns()
        frame = decode(encoded)
        decoded = time.perf_counter_ns()
        stages = segmenter(frame).timings
        end = time.perf_counter_ns()
        if i >= 0:
            times[i] = (
                _ms(decoded - start),
                stages.resize_ms,
                stages.infer_ms,
                stages.post_ms,
                _ms(end - start),
            )
    return times


def _describe(segmenter: Segmenter) -> Loaded:
    from edgeseg.benchmarks.protocol import Loaded
    from edgeseg.runtimes import RUNTIMES

    version = RUNTIMES[segmenter.runtime_name].version()
    model = segmenter.model
    return Loaded(
        segmenter.runtime_name,
        version or "unknown",
        model.file,
        model.precision,
        segmenter.threads,
        segmenter.computes_in,
    )


def _status_mib(field: str) -> float:
    # Not getrusage: its peak survives exec, so a child would report its parent's memory.
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) / 1024


def _ms(nanoseconds: int) -> float:
    return nanoseconds / 1e6


if __name__ == "__main__":
    main()
