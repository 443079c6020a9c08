"""A training split that lives in the accelerator's memory, where its batches are gathered and varied.

From the host come only the numbers of a batch's images and their draws, a few bytes each, and several steps
are one dispatch: the device waits for nothing.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from typing_extensions import override

from edgeseg.errors import UsageError
from edgeseg.training.data import CachedSplit
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.draws import draw_epoch
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.device_augment import NOISE_STORE, augment, noise_store
from edgeseg.training.distributed import Cluster
from edgeseg.training.precision import accelerator_memory
from edgeseg.training.recipe import Recipe
from edgeseg.training.trainee import Trainee

STEPS_PER_DISPATCH = 16
# The rest is for weights and activations.
_LARGEST_SHARE = 0.25


def fits_accelerator(split: CachedSplit) -> bool:
    """Whether there is an accelerator, and the split takes no more than a quarter of its memory."""
    memory = accelerator_memory()
    # Four bytes a pixel: three of the image, one of the mask.
    return memory is not None and 4 * math.prod(split.masks.shape) <= _LARGEST_SHARE * memory


def is_resident(wanted: bool | None, split: CachedSplit, cluster: Cluster) -> bool:
    """Whether a run's training images live on the device.

    Args:
        wanted: What the recipe says; ``None`` for where they fit.
        split: The images.
        cluster: Who trains: several devices share batches that are loaded.

    Raises:
        UsageError: It is asked for with several devices.
    """
    if wanted and cluster.replicas > 1:
        raise UsageError(
            "resident",
            expected="one device",
            found=f"{cluster.replicas} that train together",
            next_step="Leave it out, or train on one of them.",
        )
    return cluster.replicas == 1 and fits_accelerator(split) if wanted is None else wanted


def resident_trainee(split: CachedSplit, recipe: Recipe) -> Callable[..., ResidentTrainee]:
    """What makes the trainee of a recipe whose images live on the device."""
    return partial(ResidentTrainee, ResidentSplit(split, recipe.augment, recipe.crop))


class ResidentSplit:
    """A split on the device, and how its batches are varied there.

    Args:
        split: Copied to the device as ``uint8``.
        config: How its images are varied.
        crop: Height and width of the windows that are trained on; ``None`` for whole images.

    Attributes:
        store: Images, masks and noise on the device.
    """

    def __init__(self, split: CachedSplit, config: AugmentConfig, crop: tuple[int, int] | None) -> None:
        parts = (np.asarray(split.images), np.asarray(split.masks), noise_store())
        self.store = tuple(ops.convert_to_tensor(part) for part in parts)
        self.config, self._ignore_index = config, split.labels.ignore_index
        height, width = crop or split.masks.shape[1:]
        self._size = (height, width)

    def batch(self, store: Any, numbers: Any, draws: Any) -> tuple[Any, Any]:
        """Images ``uint8 [B, h, w, 3]`` and masks ``uint8 [B, h, w]``, varied.

        Args:
            store: As :attr:`store`; an argument, so that a compiled step does not hold it as a constant.
            numbers: Of the images in the split, ``int32 [B]``.
            draws: See :func:`edgeseg.training.device_augment.augment`.
        """
        images, masks, noise = store
        return augment(
            ops.take(images, numbers, axis=0),
            ops.take(masks, numbers, axis=0),
            draws,
            noise,
            config=self.config,
            ignore_index=self._ignore_index,
            size=self._size,
        )


class ResidentBatches(keras.utils.PyDataset):
    """What a :class:`ResidentTrainee` is fitted on: images' numbers ``int32 [B]``, draws ``float32 [B, 15]``.

    Args:
        loader: Says which images are in a batch; it loads none.
        config: How they are varied.
    """

    def __init__(self, loader: BatchLoader, config: AugmentConfig) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self._loader, self._config = loader, config
        self.epoch = 0

    @property
    def images(self) -> int:
        """Images in an epoch."""
        return len(self._loader.cached)

    @property
    def num_batches(self) -> int:
        return self._loader.steps_per_epoch

    def __getitem__(self, index: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        loader = self._loader
        count, height, width = loader.cached.masks.shape
        draws = draw_epoch(
            self._config, count, (height, width), loader.crop, loader.seed, self.epoch, NOISE_STORE
        )
        numbers = loader.numbers(self.epoch, index)
        return numbers.astype(np.int32), draws.of(numbers)


class ResidentTrainee(Trainee):
    """A trainee whose steps make their batches themselves, several in one dispatch.

    To be compiled with ``steps_per_execution``. On TensorFlow Keras itself makes a loop of so many steps; on
    JAX it would dispatch each, so there the loop is this class's. On Torch Keras has none.

    Args:
        resident: The training split.
        *arguments: As of :class:`Trainee`.
    """

    steps_per_dispatch = 1 if keras.backend.backend() == "torch" else STEPS_PER_DISPATCH

    def __init__(self, resident: ResidentSplit, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._resident = resident
        # Keras would build it from a batch, and a batch holds no image.
        self.built = True

    @override
    def batches(self, loader: BatchLoader) -> ResidentBatches:
        return ResidentBatches(loader, self._resident.config)

    @override
    def train_step(self, *arguments: Any) -> Any:
        # JAX has the state before the data.
        *state, (numbers, draws) = arguments
        return super().train_step(*state, self._resident.batch(self._resident.store, numbers, draws))

    @override
    def make_train_function(self, force: bool = False) -> None:
        if keras.backend.backend() != "jax":
            super().make_train_function(force)
        elif self.train_function is None or force:
            self.train_function = self._scanned()

    def _scanned(self) -> Callable[[Any, Iterator[Any]], tuple[Any, Any]]:
        """As Keras's own function for JAX: state and an iterator of batches to logs and state."""
        import jax

        step, batch = super().train_step, self._resident.batch

        def steps(state: Any, store: Any, numbers: Any, draws: Any) -> tuple[Any, Any]:
            def one(state: Any, drawn: Any) -> tuple[Any, Any]:
                logs, state = step(state, batch(store, *drawn))
                return state, logs

            state, logs = jax.lax.scan(one, state, (numbers, draws))
            return {name: values[-1] for name, values in logs.items()}, state

        compiled = jax.jit(steps, donate_argnums=0)

        def dispatch(state: Any, iterator: Iterator[Any]) -> tuple[Any, Any]:
            group = list(itertools.islice(iterator, self.steps_per_execution))
            if not group:
                raise StopIteration
            logs: Any = {}
            # An epoch's last batch may be smaller: it is a dispatch of its own.
            for _, alike in itertools.groupby(group, key=lambda batch: len(batch[0])):
                numbers, draws = (np.stack(parts) for parts in zip(*alike, strict=True))
                logs, state = compiled(state, self._resident.store, numbers, draws)
            return logs, state

        return dispatch
