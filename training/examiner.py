"""Validation: the network as the car will run it, scored after each epoch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import keras
import numpy as np
import numpy.typing as npt

from edgeseg.evaluation import Predictor
from edgeseg.training.batches import Batches
from edgeseg.training.calibration import recalibrate
from edgeseg.training.data import CachedSplit
from edgeseg.training.distributed import ALONE, Cluster
from edgeseg.training.losses.named import NamedLoss
from edgeseg.training.metrics import MeanIoU
from edgeseg.training.models import inference_model
from edgeseg.training.network import empty_network
from edgeseg.training.optimizer import moving_averages
from edgeseg.training.precision import jit_compile
from edgeseg.training.predictor import keras_predictor
from edgeseg.training.recipe import Recipe
from edgeseg.training.trainee import Trainee


@dataclass(frozen=True)
class Score:
    """Of the validation split at model resolution: ``matrix`` is ``int64 [C, C]``, row = truth."""

    loss: float
    miou: float
    matrix: npt.NDArray[np.int64]


class Examiner:
    """A second network of the trained one's weights: of whole images, averaged, without auxiliary heads.

    Args:
        recipe: Of the run.
        train: The split that is trained on.
        objective: The loss that is reported.
        cluster: Who trains; every worker goes by its chief's scores.
    """

    def __init__(
        self, recipe: Recipe, train: CachedSplit, objective: NamedLoss, cluster: Cluster = ALONE
    ) -> None:
        labels = train.labels
        self._recipe, self._train, self._cluster = recipe, train, cluster
        self._twin = empty_network(recipe, labels, recipe.size)
        self.model = inference_model(self._twin)
        """What a checkpoint of the best epoch holds: images ``uint8 [N, H, W, 3]`` to logits."""
        self._metric = MeanIoU(len(labels), labels.ignore_index)
        self._trainee = Trainee(self.model, objective, self._metric)
        self._trainee.compile(jit_compile=jit_compile())

    def follow(self, network: keras.Model, optimizer: keras.optimizers.Optimizer) -> None:
        """Take over the weights as they are now; their moving averages where the optimiser keeps them."""
        self._twin.set_weights(network.get_weights())
        if self._recipe.ema:
            averages = moving_averages(optimizer)
            for variable, average in zip(self._twin.trainable_variables, averages, strict=True):
                variable.assign(average)
            # BatchNorm's own averages are of the features that the unaveraged weights made: with others
            # they can be worse than none (70.9 became 10.2 mIoU in the middle of one run).
            recalibrate(self._twin, self._train, self._recipe.batch)

    def score(self, batches: Batches) -> Score:
        """The scores of the followed weights on all of these batches."""
        logs = self._trainee.evaluate(batches, verbose=0, return_dict=True)
        matrix = self._metric.matrix()
        loss, miou, *counts = self._cluster.of_chief([logs["loss"], logs["miou"], *matrix.ravel()])
        return Score(float(loss), float(miou), np.array(counts, np.int64).reshape(matrix.shape))

    @cached_property
    def predict(self) -> Predictor:
        """One image to its class map, with the weights as they are at each call."""
        return keras_predictor(self.model)
