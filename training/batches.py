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
    def num_batches(self) -> int:
        return self._loader.steps_per_epoch

    def __getitem__(self, index: int) -> Batch:
        return self._loader.batch(self.epoch, index)
