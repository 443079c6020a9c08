"""Two networks that train each other: one makes labelled images, the other tells them from real ones.

Reference: Goodfellow et al., "Generative Adversarial Nets", 2014. Each of the two is trained by a
:class:`Player`, a Keras model whose loss is the move of its network while the other stands still, so that
Keras's own training step serves on every backend.

Images are ``float32 [N, H, W, 3]`` RGB of −1 to 1 here, layouts ``float32 [N, H, W, C + 1]``: the share of
each class in each pixel, with what is ignored as a class of its own at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops
from typing_extensions import override

from edgeseg.labels import IGNORE_INDEX
from edgeseg.training.precision import jit_compile

Pixels = npt.NDArray[np.uint8]
Noise = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Rules:
    """What the two networks learn by.

    Args:
        fooled: The generator's loss, of the discriminator's scores of made pairs.
        caught: The discriminator's, of its scores of real and of made pairs.
        rates: Learning rates of discriminator and generator.
        betas: Adam's.
        likeness: Weight of the mean absolute difference from the real image, where a made image has one.
    """

    fooled: Callable[[Any], Any]
    caught: Callable[[Any, Any], Any]
    rates: tuple[float, float]
    betas: tuple[float, float]
    likeness: float = 0.0


class Game(keras.Model):
    """A generator and a discriminator with their optimisers and the epochs they have behind them.

    Its weights file holds all of these: a run continues from it alone.

    Args:
        generator: Masks ``uint8 [N, H, W]`` to images; or, with ``noise``, noise to images and layouts.
        discriminator: ``[images, layouts]`` to scores of any shape, high for real pairs.
        classes: C.
        rules: What they learn by.
        noise: Length of the random vector that a pair is made of; 0 where it is made of a mask.
    """

    def __init__(
        self, generator: keras.Model, discriminator: keras.Model, classes: int, rules: Rules, noise: int = 0
    ) -> None:
        super().__init__(name="game")
        self.generator, self.discriminator = generator, discriminator
        self.classes, self.rules, self.noise = classes, rules, noise
        self.finished = self.add_weight(
            shape=(), initializer="zeros", dtype="int32", trainable=False, name="finished_epochs"
        )
        self.discriminating = Player(self, discriminator, self._discriminator_loss, rules.rates[0])
        self.generating = Player(self, generator, self._generator_loss, rules.rates[1])
        self.built = True

    @property
    def epochs(self) -> int:
        """Finished epochs."""
        return int(ops.convert_to_numpy(self.finished))

    def step(self, noise: Noise, images: Pixels, masks: Pixels) -> tuple[float, float]:
        """One move of each; gives discriminator's and generator's mean losses since :meth:`begin_epoch`."""
        batch = (noise, images, masks)
        moves = [player.train_on_batch(batch, return_dict=True) for player in self._players]
        return float(moves[0]["loss"]), float(moves[1]["loss"])

    def begin_epoch(self) -> None:
        for player in self._players:
            player.reset_metrics()

    def make(self, noise: Noise, masks: Pixels) -> tuple[Pixels, Pixels]:
        """New pairs, images ``uint8 [N, H, W, 3]`` RGB and class ids ``uint8 [N, H, W]``.

        Args:
            noise: ``float32 [N, noise]``: what they are made of where :attr:`noise` is not 0.
            masks: ``uint8 [N, H, W]``: what they are made of otherwise; they are the pairs' masks then.
        """
        if not self.noise:
            return _pixels(self.generator.predict_on_batch(masks)), masks
        images, layouts = self.generator.predict_on_batch(noise)
        ids = np.asarray(layouts).argmax(axis=-1)
        return _pixels(images), np.where(ids == self.classes, IGNORE_INDEX, ids).astype(np.uint8)

    @property
    def _players(self) -> tuple[Player, Player]:
        return self.discriminating, self.generating

    def _made(self, noise: Any, masks: Any) -> tuple[Any, Any]:
        if self.noise:
            images, layouts = self.generator(noise, training=True)
            return images, layouts
        return self.generator(masks, training=True), layout(masks, self.classes)

    def _discriminator_loss(self, noise: Any, images: Any, masks: Any) -> Any:
        made, made_layouts = (ops.stop_gradient(part) for part in self._made(noise, masks))
        real, real_layouts = scaled(images), layout(masks, self.classes)
        # In one batch: what a layer keeps of a batch, it keeps of both kinds alike.
        pair = [ops.concatenate([real, made]), ops.concatenate([real_layouts, made_layouts])]
        scores = ops.split(self.discriminator(pair, training=True), 2)
        return self.rules.caught(*scores)

    def _generator_loss(self, noise: Any, images: Any, masks: Any) -> Any:
        made, layouts = self._made(noise, masks)
        loss = self.rules.fooled(self.discriminator([made, layouts], training=False))
        if self.rules.likeness:
            loss += self.rules.likeness * ops.mean(ops.abs(made - scaled(images)))
        return loss


class Player(keras.Model):
    """One network of a game as Keras trains it: its output is its loss, and only its weights learn."""

    def __init__(
        self, game: Game, network: keras.Model, loss: Callable[[Any, Any, Any], Any], rate: float
    ) -> None:
        super().__init__(name=f"{network.name}_player")
        self.network, self.others = network, [game.generator, game.discriminator]
        self._move = loss
        beta_1, beta_2 = game.rules.betas
        self.compile(keras.optimizers.Adam(rate, beta_1, beta_2), jit_compile=jit_compile())
        self.built = True
        # A file restores only an optimiser that has its variables already.
        self.optimizer.build(self.trainable_variables)

    @property
    @override
    def trainable_variables(self) -> list[Any]:
        return list(self.network.trainable_variables)

    @property
    @override
    def trainable_weights(self) -> list[Any]:
        return self.trainable_variables

    @property
    @override
    def non_trainable_variables(self) -> list[Any]:
        learnt = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.variables if id(variable) not in learnt]

    @override
    def call(self, batch: tuple[Any, Any, Any], training: bool | None = None) -> Any:
        return self._move(*batch)

    @override
    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        return y_pred


def scaled(images: Any) -> Any:
    """Pixels of 0 to 255 as ``float32`` of −1 to 1."""
    return ops.cast(images, "float32") / 127.5 - 1.0


def layout(masks: Any, classes: int) -> Any:
    """Masks ``uint8 [N, H, W]`` as layouts ``float32 [N, H, W, classes + 1]``."""
    return ops.one_hot(ops.minimum(ops.cast(masks, "int32"), classes), classes + 1, dtype="float32")


def _pixels(images: Any) -> Pixels:
    pixels: Pixels = np.clip(np.rint((np.asarray(images) + 1) * 127.5), 0, 255).astype(np.uint8)
    return pixels
