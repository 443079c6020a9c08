"""Work on many items in worker processes, in order, with its progress told."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

import cv2

from edgeseg.errors import DataError

T = TypeVar("T")
R = TypeVar("R")
Advance = Callable[[int, int], None]
"""Called with (finished, total)."""

# Below this many items for each process, starting the process takes longer than it saves.
_WORTH_A_PROCESS = 48
_MOST_WORKERS = 16


def ordered_map(
    function: Callable[[T], R],
    items: Sequence[T],
    workers: int | None = None,
    on_progress: Advance | None = None,
) -> Iterator[R]:
    """``map(function, items)`` in worker processes; both must pickle.

    Args:
        function: A function of a module, or a ``functools.partial`` of one.
        items: What it is called with.
        workers: Processes to use; 1 or less works in this one. By default as many as pay off.
        on_progress: Called after each result.

    Raises:
        DataError: A worker process was killed or could not start. Errors of ``function`` come through as
            they are.
    """
    count = worker_count(len(items)) if workers is None else workers
    results = map(function, items) if count <= 1 else _in_processes(function, items, count)
    for finished, result in enumerate(results, 1):
        yield result
        if on_progress:
            on_progress(finished, len(items))


def worker_count(items: int) -> int:
    """How many processes pay off for so many items on this machine."""
    return max(1, min(len(os.sched_getaffinity(0)), items // _WORTH_A_PROCESS, _MOST_WORKERS))


def start_pool(workers: int, initializer: Callable[..., None], *arguments: object) -> ProcessPoolExecutor:
    """Fresh processes: a forked one would inherit the threads and locks of a training framework."""
    return ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(initializer, arguments),
    )


@contextmanager
def workers_watched() -> Iterator[None]:
    """Say in words that a worker process died, instead of that a pool is broken."""
    try:
        yield
    except BrokenProcessPool as error:
        raise DataError(
            "a worker process",
            expected="it to finish",
            found="it was killed or could not start",
            next_step="Usually memory ran out: use fewer workers, or a smaller size. A script of your own "
            "must be a file, and start its work under 'if __name__ == \"__main__\":': workers import it.",
        ) from error


def require_started() -> None:
    """Refuse to work in a worker process that is still importing the script of its parent.

    Raises:
        DataError: It is: the script does its work when it is imported.
    """
    # The mark by which multiprocessing itself refuses to start a process there; it has no public name.
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise DataError(
            "a worker process",
            expected="to import the script without running it",
            found="the script's work begun again",
            next_step="Start the work under 'if __name__ == \"__main__\":'.",
        )


def _in_processes(function: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    pool = start_pool(workers, _nothing)
    try:
        with workers_watched():
            yield from pool.map(function, items, chunksize=max(1, min(8, len(items) // (4 * workers))))
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker(initializer: Callable[..., None], arguments: tuple[object, ...]) -> None:
    # Ctrl-C reaches every process of the terminal; the parent ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # One process per core is parallel enough.
    cv2.setNumThreads(1)
    initializer(*arguments)


def _nothing() -> None:
    pass
