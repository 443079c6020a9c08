"""Scores of anything that predicts masks, over a split: Keras model, bundle or foreign model alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeseg.errors import DataError
from edgeseg.labels import LabelSet, Mask
from edgeseg.metrics import ConfusionMatrix, Scores, merge_classes, scores_of
from edgeseg.resize import Image, resize_image, resize_mask

Predictor = Callable[[Image], Mask]
"""A frame ``uint8 [H, W, 3]`` RGB at the model's input size to its class map ``uint8 [H, W]``."""


@dataclass(frozen=True)
class Sample:
    """A labelled image at the label's own size: image ``uint8 [H, W, 3]`` RGB, mask ``uint8 [H, W]``."""

    name: str
    image: Image
    mask: Mask


@dataclass(frozen=True)
class ImageScore:
    """mIoU of one image at label resolution, over the classes in it; NaN where all is ignored."""

    name: str
    miou: float


@dataclass(frozen=True)
class Evaluation:
    """A split's scores at both resolutions. The headline is label resolution.

    ``*_matrix`` are the confusion matrices ``int64 [C, C]``, row = truth.
    """

    samples: int
    label_scores: Scores
    model_scores: Scores
    label_matrix: np.ndarray[Any, np.dtype[np.int64]]
    model_matrix: np.ndarray[Any, np.dtype[np.int64]]
    images: tuple[ImageScore, ...]

    def worst(self, count: int = 8) -> list[ImageScore]:
        """The images with the lowest mIoU, worst first."""
        scored = [image for image in self.images if not np.isnan(image.miou)]
        return sorted(scored, key=lambda image: image.miou)[:count]

    def category_scores(self, labels: LabelSet) -> Scores | None:
        """Scores of the categories at label resolution, in the order of ``labels.category_names``.

        ``None`` where the label set has no categories. They come of the same predictions of classes: what is
        ignored as a class is ignored here too.
        """
        if not labels.categories:
            return None
        return scores_of(merge_classes(self.label_matrix, labels.category_ids))

    def to_dict(self, labels: LabelSet) -> dict[str, Any]:
        """Plain JSON values; ``categories`` only where the label set has them."""
        categories = self.category_scores(labels)
        return {
            "samples": self.samples,
            "label_resolution": self.label_scores.to_dict(labels.names),
            "model_resolution": self.model_scores.to_dict(labels.names),
            **({"categories": categories.to_dict(labels.category_names)} if categories else {}),
            "confusion_matrix": self.label_matrix.tolist(),
            "worst_images": [{"name": i.name, "miou": i.miou} for i in self.worst()],
        }


class Evaluator:
    """Accumulates predictions of one model; :func:`evaluate` is the usual way to use it."""

    def __init__(self, labels: LabelSet) -> None:
        self._labels = labels
        self._label, self._model = self._empty(), self._empty()
        self._images: list[ImageScore] = []

    def add(self, sample: Sample, prediction: Mask) -> None:
        """Count a sample with its predicted class map ``uint8 [h, w]`` at model resolution."""
        self._model.update(resize_mask(sample.mask, *prediction.shape), prediction)
        at_label = resize_mask(prediction, *sample.mask.shape)
        one = self._empty()
        one.update(sample.mask, at_label)
        self._label.matrix += one.matrix
        self._images.append(ImageScore(sample.name, one.scores().miou))

    def result(self) -> Evaluation:
        """The scores of everything added.

        Raises:
            DataError: Nothing was added.
        """
        if not self._images:
            raise DataError(
                "evaluation",
                expected="at least one labelled image",
                found="none",
                next_step="Name a dataset and split that hold images.",
            )
        return Evaluation(
            len(self._images),
            self._label.scores(),
            self._model.scores(),
            self._label.matrix,
            self._model.matrix,
            tuple(self._images),
        )

    def _empty(self) -> ConfusionMatrix:
        return ConfusionMatrix(len(self._labels), self._labels.ignore_index)


def evaluate(
    predict: Predictor, samples: Iterable[Sample], labels: LabelSet, height: int, width: int
) -> Evaluation:
    """Predict every sample, resized to ``height`` × ``width``, and score at model and label resolution."""
    evaluator = Evaluator(labels)
    for sample in samples:
        evaluator.add(sample, predict(resize_image(sample.image, height, width)))
    return evaluator.result()
