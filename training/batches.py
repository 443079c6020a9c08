"""Batches as ``Model.fit`` takes them."""

from __future__ import annotations

import keras

from edgeseg.training.data.loader import Batch, BatchLoader


class Batches(keras.utils.PyDataset):
    """A :class:`BatchLoader` for Keras: images ``uint8 [B, H, W, 3]`` and masks ``uint8 [B, H, W]``.

    ``epoch`` says which epoch's order and augmentation are read. Who trains sets it before each epoch, so
    that a resumed run sees what an uninterrupted one would have seen.
    """

    def __init__(self, loader: BatchLoader) -> None:
        # One asking thread: the loader itself works ahead, in processes of its own.
        super().__init__(workers=1, use_multiprocessing=False)
        self._loader = loader
        self.epoch = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images of a batch."""
        height, width = self._loader.crop or self._loader.cached.masks.shape[1:]
        return height, width

    @property
    def ignore_index(self) -> int:
        """Id of pixels that do not count."""
        return self._loader.cached.labels.ignore_index

    @property
    def batch_size(self) -> int:
        """Images in a batch that all workers share; the last of an epoch may hold fewer."""
        return self._loader.batch_size

    @property
    def images(self) -> int:
        """Images in an epoch."""
        return len(self._loader.cached)

    @property
    def num_batches(self) -> int:
        return self._loader.steps_per_epoch

    def __getitem__(self, index: int) -> Batch:
        return self._loader.batch(self.epoch, index)
