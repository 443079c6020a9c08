"""Worker processes that augment batches into memory that the caller shares with them.

Sending a batch through a pipe costs as much time as augmenting it, so the workers write into slots of one
anonymous file in memory. It has no name to clean up, and unlike ``/dev/shm`` it is not 64 MB in a container.
"""

from __future__ import annotations

import mmap
import os
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseg.training.data.augment import AugmentConfig, Augmenter
from edgeseg.training.data.cache import CachedSplit
from edgeseg.training.data.parallel import start_pool, workers_watched

Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]
"""Images ``uint8 [B, H, W, 3]`` RGB and masks ``uint8 [B, H, W]`` of class ids."""


def augment_items(
    cached: CachedSplit, augmenter: Augmenter, numbers: npt.NDArray[np.int64], seeds: list[int], out: Batch
) -> None:
    """Augment the items ``numbers`` of a split into the first places of ``out``."""
    for place, (number, seed) in enumerate(zip(numbers, seeds, strict=True)):
        out[0][place], out[1][place] = augmenter(cached.images[number], cached.masks[number], seed)


@dataclass(frozen=True)
class Ticket:
    """A batch that is being made."""

    slot: int
    count: int
    future: Future[None]


class AugmentPool:
    """Makes augmented batches of a split in processes that open its files themselves.

    Args:
        cached: The split.
        config: How its images are varied.
        crop: Height and width of the windows that are taken of them; ``None`` for all of each.
        batch_size: The most images of a batch.
        workers: Processes.
        slots: Batches that can be in the making or waiting at once.
    """

    def __init__(
        self,
        cached: CachedSplit,
        config: AugmentConfig,
        crop: tuple[int, int] | None,
        batch_size: int,
        workers: int,
        slots: int,
    ) -> None:
        layout = _Layout(slots, batch_size, *(crop or cached.masks.shape[1:]))
        self._descriptor = os.memfd_create("edgeseg-batches")
        os.ftruncate(self._descriptor, layout.bytes)
        self._slots = layout.open(self._descriptor)
        self._free = list(range(slots))
        self._lock = threading.Lock()
        memory = Path(f"/proc/{os.getpid()}/fd/{self._descriptor}")
        self._pool = start_pool(workers, _open_in_worker, cached, config, crop, memory, layout)

    def submit(self, numbers: npt.NDArray[np.int64], seeds: list[int]) -> Ticket | None:
        """Begin a batch; ``None`` where every slot is taken.

        Raises:
            DataError: A worker process was killed.
        """
        with self._lock:
            if not self._free:
                return None
            slot = self._free.pop()
        with workers_watched():
            return Ticket(slot, len(numbers), self._pool.submit(_augment_in_worker, slot, numbers, seeds))

    def take(self, ticket: Ticket) -> Batch:
        """Wait for a batch, which is then the caller's own.

        Raises:
            DataError: A worker process was killed.
        """
        try:
            with workers_watched():
                ticket.future.result()
            images, masks = self._slots[ticket.slot]
            return images[: ticket.count].copy(), masks[: ticket.count].copy()
        finally:
            self._release(ticket.slot)

    def drop(self, ticket: Ticket) -> None:
        """Give up a batch that nobody will take."""
        ticket.future.cancel()
        ticket.future.add_done_callback(lambda _: self._release(ticket.slot))

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(cancel_futures=True)
        os.close(self._descriptor)

    def _release(self, slot: int) -> None:
        with self._lock:
            self._free.append(slot)


@dataclass(frozen=True)
class _Layout:
    """Where the slots lie in the shared memory: for each the images, then the masks."""

    slots: int
    batch_size: int
    height: int
    width: int

    @property
    def bytes(self) -> int:
        return self.slots * self.batch_size * self.height * self.width * 4

    def open(self, descriptor: int) -> list[Batch]:
        memory = np.frombuffer(mmap.mmap(descriptor, self.bytes), np.uint8).reshape(self.slots, -1)
        cut = memory.shape[1] // 4 * 3
        shape = (self.batch_size, self.height, self.width)
        return [(slot[:cut].reshape(*shape, 3), slot[cut:].reshape(shape)) for slot in memory]


@dataclass(frozen=True)
class _Worker:
    cached: CachedSplit
    augmenter: Augmenter
    slots: list[Batch]


# A process of a pool has no other place for what it keeps between tasks.
_worker: _Worker


def _open_in_worker(
    cached: CachedSplit, config: AugmentConfig, crop: tuple[int, int] | None, memory: Path, layout: _Layout
) -> None:
    global _worker
    augmenter = Augmenter(config, cached.labels.ignore_index, crop)
    with memory.open("r+b") as file:
        _worker = _Worker(cached, augmenter, layout.open(file.fileno()))


def _augment_in_worker(slot: int, numbers: npt.NDArray[np.int64], seeds: list[int]) -> None:
    augment_items(_worker.cached, _worker.augmenter, numbers, seeds, _worker.slots[slot])
