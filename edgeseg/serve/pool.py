"""Threads that run the models, and a bounded queue before them.

Each thread is a slot with its own instance of every model, for a runtime is used from one thread at a time.
The threads are daemons, so that a runtime that hangs cannot hold up the end of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Instances = TypeVar("Instances", bound=Mapping[str, Any])
T = TypeVar("T")


class FullError(Exception):
    """No place is left in the queue."""


class Pool(Generic[Instances]):
    """As many threads as there are sets of instances.

    Args:
        slots: For each slot, name of a model to its instance.
        queue: How much may wait beside what runs.
    """

    def __init__(self, slots: Sequence[Instances], queue: int) -> None:
        self._most = len(slots) + queue
        self._waiting: SimpleQueue[tuple[Future[Any], Callable[[Instances], Any]] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._accepted = 0
        self._since: list[float | None] = [None] * len(slots)
        self._threads = [
            threading.Thread(target=self._work, args=(i, slot), name=f"edgeseg-slot-{i}", daemon=True)
            for i, slot in enumerate(slots)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def full(self) -> bool:
        return self._accepted >= self._most

    @property
    def running(self) -> int:
        """Slots that are at work."""
        return sum(since is not None for since in self._since)

    @property
    def waiting(self) -> int:
        """What was accepted and does not run yet."""
        return max(self._accepted - self.running, 0)

    def longest_seconds(self) -> float:
        """How long the slot that has worked longest has been at its picture; 0 where none works."""
        now = time.monotonic()
        return max((now - since for since in self._since if since is not None), default=0.0)

    def submit(self, work: Callable[[Instances], T]) -> Future[T]:
        """Run ``work`` in the next slot that is free, with that slot's instances.

        A future that is cancelled before its turn is passed over.

        Raises:
            FullError: At once, where the queue is full.
        """
        with self._lock:
            if self._accepted >= self._most:
                raise FullError
            self._accepted += 1
        future: Future[T] = Future()
        self._waiting.put((future, work))
        return future

    def close(self, seconds: float) -> None:
        """Let the slots finish what was accepted, as far as that takes no longer than ``seconds``."""
        for _ in self._threads:
            self._waiting.put(None)
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0.0))

    def _work(self, index: int, instances: Instances) -> None:
        while (item := self._waiting.get()) is not None:
            self._run(index, instances, *item)
            # What it holds must not live until the next picture comes.
            del item

    def _run(
        self, index: int, instances: Instances, future: Future[Any], work: Callable[[Instances], Any]
    ) -> None:
        if not future.set_running_or_notify_cancel():
            self._leave(index)
            return
        self._since[index] = time.monotonic()
        try:
            result = work(instances)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the future is awaited
            self._leave(index)
            future.set_exception(error)
        else:
            self._leave(index)
            future.set_result(result)

    def _leave(self, index: int) -> None:
        """Before the result is known: who has it may send the next picture at once."""
        with self._lock:
            self._since[index] = None
            self._accepted -= 1
