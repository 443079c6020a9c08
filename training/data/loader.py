"""Batches of a cached split, the same for the same (seed, epoch, index) however many processes make them."""

from __future__ import annotations

import threading
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from edgeseg.errors import UsageError
from edgeseg.training.data.augment import AugmentConfig, Augmenter, check_crop
from edgeseg.training.data.augment_pool import AugmentPool, Batch, Ticket, augment_items
from edgeseg.training.data.cache import CachedSplit

# Batches made ahead by each worker.
_AHEAD = 2
_SHUFFLE, _VARY = 1, 2


class BatchLoader:
    """Every image once in each epoch, in batches.

    Of whole images without augmentation a batch is copied from the memory maps, or, where it is not shuffled,
    is a read-only view of them. With augmentation, worker processes make the next batches while the caller
    uses this one. Any number of threads may ask for batches.

    Args:
        cached: What :func:`prepare` gave.
        batch_size: Images in a batch; the last of an epoch may hold fewer.
        augment: How images are varied; ``None`` for not at all.
        crop: Height and width of the windows that batches hold, each at a random place; ``None`` for whole
            images.
        seed: Decides order and variations, with the epoch.
        shuffle: Another order in each epoch, or always the split's own.
        workers: Processes that augment; 0 does it in the calling thread.
        drop_remainder: Leave out a last batch that is not full.
        part: ``(first, count, of)``: of each batch in ``of`` parts make only ``count``, from ``first`` on:
            machines share it. A batch of fewer images than parts is made whole.

    Raises:
        UsageError: The batch size is not positive, no batch can be filled, or the crop is larger than the
            images.
        MissingExtraError: Augmentation is asked for and albumentations is not installed.
    """

    def __init__(
        self,
        cached: CachedSplit,
        batch_size: int,
        *,
        augment: AugmentConfig | None = None,
        crop: tuple[int, int] | None = None,
        seed: int = 0,
        shuffle: bool = False,
        workers: int = 0,
        drop_remainder: bool = False,
        part: tuple[int, int, int] = (0, 1, 1),
    ) -> None:
        _check_batch_size(batch_size, len(cached), drop_remainder)
        check_crop(crop, *cached.masks.shape[1:])
        self.cached = cached
        self.batch_size = batch_size
        self.augment = augment if augment is not None and augment.enabled else None
        self.crop = crop
        self.seed = seed
        self.shuffle = shuffle
        self.part = part
        self.steps_per_epoch = (len(cached) if drop_remainder else len(cached) + batch_size - 1) // batch_size
        self._ahead = _AHEAD * workers
        self._pool: AugmentPool | None = None
        self._pending: dict[int, Ticket] = {}
        self._lock = threading.Lock()
        self._local = threading.local()
        if self.augment and workers:
            # Made here once, so that a missing package is said here and not in a worker.
            self._augmenter()
            slots = 2 * self._ahead + 1
            self._pool = AugmentPool(cached, self.augment, crop, batch_size, workers, slots)

    def batch(self, epoch: int, index: int) -> Batch:
        """One batch of an epoch; both count from 0.

        Raises:
            IndexError: The epoch has no such batch.
            DataError: A worker process was killed.
        """
        if not 0 <= index < self.steps_per_epoch:
            raise IndexError(f"batch {index} of {self.steps_per_epoch}")
        if self.augment is None and self.crop is None:
            return self._plain(epoch, index)
        ticket = None if self._pool is None else self._ticket(self._pool, epoch, index)
        if self._pool is None or ticket is None:
            return self._augmented_here(epoch, index)
        return self._pool.take(ticket)

    def numbers(self, epoch: int, index: int) -> npt.NDArray[np.int64]:
        """Which items of the split are in a batch, or in this loader's part of it."""
        order = _order(self.seed, epoch, len(self.cached), self.shuffle)
        whole = order[index * self.batch_size : (index + 1) * self.batch_size]
        first, count, of = self.part
        return whole if len(whole) < of else np.concatenate(np.array_split(whole, of)[first : first + count])

    def close(self) -> None:
        """End the worker processes; calling twice is harmless. Later batches are made by the caller."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def __enter__(self) -> BatchLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plain(self, epoch: int, index: int) -> Batch:
        if not self.shuffle and self.part == (0, 1, 1):
            part = slice(index * self.batch_size, (index + 1) * self.batch_size)
            return self.cached.images[part], self.cached.masks[part]
        numbers = self.numbers(epoch, index)
        return self.cached.images[numbers], self.cached.masks[numbers]

    def _seeds(self, epoch: int, numbers: npt.NDArray[np.int64]) -> list[int]:
        return [
            int(np.random.SeedSequence((self.seed, _VARY, epoch, int(number))).generate_state(1)[0])
            for number in numbers
        ]

    def _augmented_here(self, epoch: int, index: int) -> Batch:
        numbers = self.numbers(epoch, index)
        shape = (len(numbers), *(self.crop or self.cached.masks.shape[1:]))
        batch = np.empty((*shape, 3), np.uint8), np.empty(shape, np.uint8)
        augment_items(self.cached, self._augmenter(), numbers, self._seeds(epoch, numbers), batch)
        return batch

    def _augmenter(self) -> Augmenter:
        """This thread's own: the transforms hold a random state."""
        if not hasattr(self._local, "augmenter"):
            config = self.augment or AugmentConfig.none()
            self._local.augmenter = Augmenter(config, self.cached.labels.ignore_index, self.crop)
        augmenter: Augmenter = self._local.augmenter
        return augmenter

    def _ticket(self, pool: AugmentPool, epoch: int, index: int) -> Ticket | None:
        """The batch in the making, and the next ones begun; ``None`` where no slot is free for it.

        Threads may ask in another order than they count, so what lies a little behind is kept for a while.
        """
        wanted = epoch * self.steps_per_epoch + index
        with self._lock:
            for number in [n for n in self._pending if abs(n - wanted) > self._ahead]:
                pool.drop(self._pending.pop(number))
            for number in range(wanted, wanted + self._ahead + 1):
                if number not in self._pending:
                    self._begin(pool, number)
            return self._pending.pop(wanted, None)

    def _begin(self, pool: AugmentPool, number: int) -> None:
        epoch, index = divmod(number, self.steps_per_epoch)
        items = self.numbers(epoch, index)
        ticket = pool.submit(items, self._seeds(epoch, items))
        if ticket is not None:
            self._pending[number] = ticket


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int, shuffle: bool) -> npt.NDArray[np.int64]:
    if not shuffle:
        return np.arange(count)
    return np.random.default_rng((seed, _SHUFFLE, epoch)).permutation(count)


def _check_batch_size(batch_size: int, count: int, drop_remainder: bool) -> None:
    most = count if drop_remainder else None
    if batch_size < 1 or (most is not None and batch_size > most):
        raise UsageError(
            "batch size",
            expected="a positive number" if most is None else f"a number from 1 to the split's {most} images",
            found=str(batch_size),
            next_step="Correct --batch.",
        )
