"""How fast a training step is, and what of it the data, the loss and the loop around it cost.

Four things take turns, so that a machine that slows down slows all of them: the network alone, forward and
backward; the same with loss and metric; both on one batch that stays on the device; then whole epochs of
``fit`` as a run has them, without validation; and the making of batches by itself.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import ops
from typing_extensions import override

from edgeseg.errors import UsageError
from edgeseg.training.batches import Batches
from edgeseg.training.callbacks import EpochSeeds, StepWatch
from edgeseg.training.compilation import make_trainee
from edgeseg.training.data import CachedSplit
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.network import new_network
from edgeseg.training.observer import Observer
from edgeseg.training.precision import default_workers, has_accelerator, jit_compile
from edgeseg.training.recipe import Recipe
from edgeseg.training.resident import STEPS_PER_DISPATCH, ResidentBatches, ResidentSplit, ResidentTrainee
from edgeseg.training.teacher import open_teacher
from edgeseg.training.trainee import Trainee

PARTS = ("network", "step", "loop", "data")
"""What is measured; each one's unit is seconds for a batch."""


@dataclass(frozen=True)
class TrainingSpeed:
    """Seconds for a full batch, one number per round.

    Attributes:
        batch: Images in it.
        network: Forward and backward pass and update of the weights, on a batch that stays on the device.
        step: The same with loss and metric.
        loop: A step of whole epochs as a run has them.
        data: Making a batch, with nothing else running.
    """

    batch: int
    network: tuple[float, ...]
    step: tuple[float, ...]
    loop: tuple[float, ...]
    data: tuple[float, ...]

    def seconds(self, part: str) -> float:
        """The median of one of ``PARTS``."""
        return float(np.median(getattr(self, part)))

    def images_per_second(self, part: str) -> float:
        return self.batch / self.seconds(part)

    @property
    def loss_share(self) -> float:
        """Loss and metric, as a share of a step; the median of the rounds' own."""
        return float(np.median(1 - np.array(self.network) / np.array(self.step)))

    @property
    def loop_share(self) -> float:
        """How much longer a step of the whole loop is than one on a batch that is there, as a share of it."""
        return float(np.median(np.array(self.loop) / np.array(self.step) - 1))


def measure_training(
    recipe: Recipe,
    train: CachedSplit,
    *,
    resident: bool,
    rounds: int = 5,
    seconds: float = 2.0,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> TrainingSpeed:
    """Measure a recipe's training under the global dtype policy.

    Args:
        recipe: Model, loss, optimiser, augmentation and batch; its epochs do not matter.
        train: Images to train on.
        resident: Whether they live on the device and are varied there.
        rounds: Turns that each part takes, after one that does not count.
        seconds: The least that each turn takes.
        on_progress: Called with (finished, total) after each turn.

    Raises:
        UsageError: There are fewer images than a batch takes, or the teacher cannot be had.
    """
    if recipe.batch > len(train):
        raise UsageError(
            "--batch",
            expected=f"at most the {len(train)} images that there are",
            found=str(recipe.batch),
            next_step="Lower it, or raise --set fraction, or name more --data.",
        )
    with _parts(recipe, train, resident) as parts:
        measured: dict[str, list[float]] = {name: [] for name in PARTS}
        for turn, name in itertools.product(range(rounds + 1), PARTS):
            # The first turn compiles, and reads files for the first time.
            taken = _timed(parts[name], seconds if turn else 0.0)
            if turn:
                measured[name].append(taken)
            on_progress(turn * len(PARTS) + PARTS.index(name) + 1, (rounds + 1) * len(PARTS))
    return TrainingSpeed(recipe.batch, **{name: tuple(values) for name, values in measured.items()})


Part = Callable[[], tuple[float, float]]
"""Does some work; seconds that it took, and full batches that were worked on."""


def _timed(part: Part, least: float) -> float:
    spent, batches = 0.0, 0.0
    while not batches or spent < least:
        seconds, count = part()
        spent, batches = spent + seconds, batches + count
    return spent / batches


@contextmanager
def _parts(recipe: Recipe, train: CachedSplit, resident: bool) -> Iterator[dict[str, Part]]:
    workers = default_workers() if recipe.workers is None else recipe.workers
    with BatchLoader(
        train,
        recipe.batch,
        augment=None if resident else recipe.augment,
        crop=recipe.crop,
        seed=recipe.seed,
        shuffle=True,
        workers=0 if resident else workers,
    ) as loader:
        source = ResidentBatches(loader, recipe.augment) if resident else Batches(loader)
        split = ResidentSplit(train, recipe.augment, recipe.crop) if resident else None
        images, masks = source[0] if split is None else split.batch(split.store, *map(_tensor, source[0]))
        batch = _tensor(images), _tensor(masks)

        teacher = open_teacher(recipe, train.labels)

        def trainee(make: Callable[..., Trainee]) -> Trainee:
            return make_trainee(new_network(recipe, train.labels), recipe, train, teacher, make=make)

        looped = Trainee if split is None else partial(ResidentTrainee, split)
        yield {
            "network": _steps(trainee(_NetworkOnly), batch),
            "step": _steps(trainee(Trainee), batch),
            "loop": _epochs(trainee(looped), source, recipe),
            "data": _making(source, split, recipe),
        }


class _NetworkOnly(Trainee):
    """With a loss that costs nothing, and without a metric."""

    @override
    def batch_loss(self, images: Any, masks: Any, logits: Any, auxiliary: list[Any], training: bool) -> Any:
        return ops.mean(logits)

    @override
    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        return {}


def _steps(trainee: Trainee, batch: tuple[Any, Any]) -> Part:
    """The compiled step by itself, on one batch that is on the device, without Keras's loop."""
    step = _compiled_step(trainee)
    # An accelerator works off a queue; a CPU has none, and its steps are long.
    count = STEPS_PER_DISPATCH if has_accelerator() else 1

    def run() -> tuple[float, float]:
        start = time.monotonic()
        for _ in range(count):
            result = step(batch)
        # What was dispatched is done only when its result is there.
        ops.convert_to_numpy(result)
        return time.monotonic() - start, count

    return run


def _compiled_step(trainee: Trainee) -> Callable[[Any], Any]:
    """A batch to something of the weights as they are after it."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        def taken(batch: Any) -> Any:
            trainee.train_step(batch)
            return tf.reduce_sum(trainee.trainable_variables[0].value)

        return tf.function(taken, jit_compile=jit_compile() is not False)
    if backend == "jax":
        return _jax_step(trainee)
    if backend == "torch":

        def stepped(batch: Any) -> Any:
            trainee.train_step(batch)
            return trainee.trainable_variables[0].value.sum()

        return stepped
    raise NotImplementedError(f"the step of the backend {backend}")


def _jax_step(trainee: Trainee) -> Callable[[Any], Any]:
    import jax

    compiled = jax.jit(lambda state, batch: trainee.train_step(state, batch)[1], donate_argnums=0)
    groups = (
        trainee.trainable_variables,
        trainee.non_trainable_variables,
        trainee.optimizer.variables,
        trainee.metrics_variables,
    )
    # Copies: what is given away must not be what the trainee still holds.
    state: Any = tuple([jax.numpy.array(variable.value) for variable in group] for group in groups)

    def run(batch: Any) -> Any:
        nonlocal state
        state = compiled(state, batch)
        return state[0][0]

    return run


def _epochs(trainee: Trainee, source: Batches | ResidentBatches, recipe: Recipe) -> Part:
    """An epoch of ``fit`` at each call, the next one every time."""
    epoch = itertools.count()
    stopwatch = _Stopwatch()

    def run() -> tuple[float, float]:
        number = next(epoch)
        trainee.fit(
            source,
            initial_epoch=number,
            epochs=number + 1,
            callbacks=[EpochSeeds(recipe.seed), StepWatch(source, Observer()), stopwatch],
            verbose=0,
            shuffle=False,
        )
        return stopwatch.seconds, source.images / recipe.batch

    return run


class _Stopwatch(keras.callbacks.Callback):
    """Of an epoch, without what ``fit`` does once."""

    seconds = 0.0
    _began = 0.0

    @override
    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._began = time.monotonic()

    @override
    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.seconds = time.monotonic() - self._began


def _making(source: Batches | ResidentBatches, split: ResidentSplit | None, recipe: Recipe) -> Part:
    """A batch at each call; one that is made on the device, with all that the host does for it."""
    index = itertools.cycle(range(source.images // recipe.batch or 1))
    made = _compiled_batch(split) if split else None

    def run() -> tuple[float, float]:
        start = time.monotonic()
        batch = source[next(index)]
        if made:
            ops.convert_to_numpy(made(*map(_tensor, batch)))
        return time.monotonic() - start, 1

    return run


def _compiled_batch(split: ResidentSplit) -> Callable[[Any, Any], Any]:
    """Numbers and draws to one pixel of the batch: it need not come to the host."""

    def pixel(store: Any, numbers: Any, draws: Any) -> Any:
        images, masks = split.batch(store, numbers, draws)
        return ops.max(images) + ops.max(masks)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(pixel, jit_compile=jit_compile() is not False)
    elif keras.backend.backend() == "jax":
        import jax

        compiled = jax.jit(pixel)
    else:
        compiled = pixel
    return lambda numbers, draws: compiled(split.store, numbers, draws)


def _tensor(values: Any) -> Any:
    return ops.convert_to_tensor(values)
