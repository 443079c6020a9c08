"""Scores of several models on the same images, and how far the models agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeseg.dashboard.images import Picture
from edgeseg.dashboard.maps import distinct_classes
from edgeseg.dashboard.model import Model, Prediction
from edgeseg.labels import LabelSet, Mask, require_same_classes
from edgeseg.metrics import ConfusionMatrix, Scores, agreement
from edgeseg.tables import points


@dataclass(frozen=True)
class ClassRow:
    """One class in one or more images: its share of the labelled pixels, and each model's scores, 0 to 1."""

    id: int
    name: str
    share: float
    iou: Sequence[float]
    dice: Sequence[float]


class Tally:
    """Confusion matrices of several models over the same images, at label resolution."""

    def __init__(self, models: Sequence[Model], labels: LabelSet) -> None:
        """
        Raises:
            DataError: A model's classes are not those of the truth.
        """
        for model in models:
            require_same_classes(model.labels, labels, f"the truth, for {model.name}")
        self.labels = labels
        self._matrices = [ConfusionMatrix(len(labels), labels.ignore_index) for _ in models]

    def add(self, truth: Mask, predictions: Sequence[Mask]) -> None:
        """Count an image: its class map ``uint8 [H, W]`` and those of the models, in their order."""
        for matrix, prediction in zip(self._matrices, predictions, strict=True):
            matrix.update(truth, prediction)

    def merge(self, other: Tally) -> None:
        """Count also all that another tally of the same models counted."""
        for matrix, more in zip(self._matrices, other._matrices, strict=True):
            matrix.matrix += more.matrix

    @property
    def scores(self) -> list[Scores]:
        return [matrix.scores() for matrix in self._matrices]

    def rows(self) -> list[ClassRow]:
        """The classes that are in the truth or in a prediction, in the order of their ids."""
        scores = self.scores
        counts = self._matrices[0].matrix.sum(axis=1)
        total = max(1, int(counts.sum()))
        return [
            ClassRow(
                c.id,
                c.name,
                float(counts[c.id]) / total,
                [float(s.iou[c.id]) for s in scores],
                [float(s.dice[c.id]) for s in scores],
            )
            for c in self.labels.classes
            if any(c.id not in s.absent for s in scores)
        ]


def picture_tally(picture: Picture, models: Sequence[Model], predictions: Sequence[Prediction]) -> Tally:
    """The tally of one labelled picture.

    Raises:
        DataError: A model's classes are not those of the truth.
        InferenceError: A mask holds an id that is no class.
    """
    if picture.truth is None or picture.labels is None:
        raise ValueError("a picture without truth has no scores")
    tally = Tally(models, picture.labels)
    tally.add(picture.truth, [p.mask for p in predictions])
    return tally


@dataclass(frozen=True)
class Looked:
    """One image of a survey: each model's mIoU and milliseconds, and the share on which they disagree."""

    name: str
    miou: Sequence[float]
    ms: Sequence[float]
    disagreement: float


class Survey:
    """Models over many labelled images: their scores together, and each image's own.

    Raises:
        DataError: A model's classes are not those of the truth.
    """

    def __init__(self, models: Sequence[Model], labels: LabelSet) -> None:
        self.tally = Tally(models, labels)
        self.looked: list[Looked] = []
        self._models = models

    def add(self, picture: Picture, predictions: Sequence[Prediction]) -> None:
        """Count a labelled picture with the models' predictions, in their order."""
        alone = picture_tally(picture, self._models, predictions)
        self.tally.merge(alone)
        masks = [p.mask for p in predictions]
        miou, ms = [s.miou for s in alone.scores], [p.total_ms for p in predictions]
        differing = float((distinct_classes(masks) > 1).mean())
        self.looked.append(Looked(picture.name, miou, ms, differing))

    def worst(self, count: int) -> list[Looked]:
        """The images on which the models disagree most; of one model, those with its lowest mIoU."""
        if len(self._models) > 1:
            return sorted(self.looked, key=lambda look: -look.disagreement)[:count]
        return sorted((look for look in self.looked if look.miou[0] == look.miou[0]), key=_first_miou)[:count]


def _first_miou(look: Looked) -> float:
    return look.miou[0]


def refuse_other_classes(models: Sequence[Model]) -> None:
    """Models whose ids mean different things cannot be compared pixel by pixel.

    Raises:
        DataError: The second or a later one has other classes than the first.
    """
    for model in models[1:]:
        require_same_classes(models[0].labels, model.labels, f"model {model.name}, beside {models[0].name}")


def agreements(names: Sequence[str], predictions: Sequence[Prediction]) -> Mapping[tuple[str, str], float]:
    """Share of pixels, 0 to 1, on which each two models name the same class."""
    return {
        (names[i], names[j]): agreement(predictions[i].mask, predictions[j].mask)
        for i in range(len(names))
        for j in range(i + 1, len(names))
    }


def confidence_line(prediction: Prediction, truth: Mask | None, ignore_index: int) -> str:
    """In words: how sure the model is, and, with a truth, how sure where it is wrong."""
    if prediction.confidence is None:
        return ""
    share = prediction.confidence / 255
    text = f"mean {points(float(share.mean()))} %"
    if truth is None:
        return text
    wrong = (truth != prediction.mask) & (truth != ignore_index)
    return f"{text}, {points(float(share[wrong].mean()))} % where wrong" if np.any(wrong) else text
