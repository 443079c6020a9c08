"""Artifacts beside the Keras model they came from, on real samples, through the runtime that the car uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeseg.bundle.manifest import Parity, Precision
from edgeseg.errors import DataError
from edgeseg.evaluation import Evaluation, Evaluator, Predictor, Sample
from edgeseg.export.progress import Advance, ignore
from edgeseg.export.selection import MeasuredOn
from edgeseg.labels import LabelSet, Mask
from edgeseg.metrics import agreement
from edgeseg.resize import resize_image

MIN_FP32_AGREEMENT = 0.999
"""An fp32 artifact computes what Keras computes: below this share of equal pixels, something is wrong."""

_POINTS = 100


@dataclass(frozen=True)
class Budget:
    """IoU in points that an artifact may lose against Keras at label resolution.

    Args:
        drop: Of the mean over classes.
        class_drop: Of each class; ``None`` sets no limit.
    """

    drop: float
    class_drop: float | None = None


@dataclass(frozen=True)
class Comparison:
    """One artifact's predictions beside Keras's.

    ``agreement`` is the share (0 to 1) of pixels with the same class at model resolution, over all samples;
    ``lowest_agreement`` is that of the one sample, ``lowest_sample``, where it is lowest.
    """

    agreement: float
    lowest_agreement: float
    lowest_sample: str
    labels: LabelSet
    keras: Evaluation
    artifact: Evaluation

    @property
    def keras_miou(self) -> float:
        """Keras's mIoU at label resolution, 0 to 1."""
        return self.keras.label_scores.miou

    @property
    def artifact_miou(self) -> float:
        """The artifact's mIoU at label resolution, 0 to 1."""
        return self.artifact.label_scores.miou

    @property
    def drop_points(self) -> float:
        """mIoU lost at label resolution, in points."""
        return _POINTS * (self.keras_miou - self.artifact_miou)

    def class_drop_points(self) -> dict[str, float | None]:
        """IoU lost by each class at label resolution, in points; ``None`` where a class is in neither."""
        drops = _POINTS * (self.keras.label_scores.iou - self.artifact.label_scores.iou)
        return {
            name: None if math.isnan(drop) else float(drop)
            for name, drop in zip(self.labels.names, drops, strict=True)
        }

    @property
    def worst_class(self) -> tuple[str, float]:
        """The class that lost most IoU, and its loss in points."""
        drops = scored(self.class_drop_points())
        name = max(drops, key=drops.__getitem__)
        return name, drops[name]

    def parity(self, runtime: str, budget: Budget, measured_on: MeasuredOn) -> Parity:
        """What the manifest holds of it."""
        return Parity(
            runtime=runtime,
            samples=self.keras.samples,
            agreement=self.agreement,
            keras_miou=self.keras_miou,
            miou=self.artifact_miou,
            drop_points=self.drop_points,
            class_drop_points=self.class_drop_points(),
            max_drop_points=budget.drop,
            max_class_drop_points=budget.class_drop,
            dataset=measured_on.dataset,
            split=measured_on.split,
            fingerprint=measured_on.fingerprint,
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain JSON values, for ``report.json``."""
        return {
            "agreement": self.agreement,
            "lowest_agreement": {"sample": self.lowest_sample, "agreement": self.lowest_agreement},
            "drop_points": self.drop_points,
            "class_drop_points": self.class_drop_points(),
            "keras": self.keras.to_dict(self.labels),
            "artifact": self.artifact.to_dict(self.labels),
        }


@dataclass(frozen=True)
class Reference:
    """What the Keras model gives of some samples: made once, for any number of artifacts to stand beside.

    Args:
        samples: Reads the labelled images, at the label's size, anew.
        labels: Their classes.
        size: The models' input height and width in pixels.
        masks: Keras's class maps ``uint8 [h, w]``, a sample each.
        evaluation: Their scores.
    """

    samples: Callable[[], Iterable[Sample]]
    labels: LabelSet
    size: tuple[int, int]
    masks: Sequence[Mask]
    evaluation: Evaluation

    def compare(self, predict: Predictor, on_progress: Advance = ignore) -> Comparison:
        """One artifact's predictions of the same samples."""
        evaluator, agreements = Evaluator(self.labels), {}
        for index, (sample, expected) in enumerate(zip(self.samples(), self.masks, strict=True), start=1):
            mask = predict(resize_image(sample.image, *self.size))
            evaluator.add(sample, mask)
            agreements[sample.name] = agreement(mask, expected)
            on_progress(index, len(self.masks))
        lowest = min(agreements, key=agreements.__getitem__)
        mean = sum(agreements.values()) / len(agreements)
        return Comparison(mean, agreements[lowest], lowest, self.labels, self.evaluation, evaluator.result())


def reference_of(
    predict: Predictor,
    samples: Callable[[], Iterable[Sample]],
    labels: LabelSet,
    size: tuple[int, int],
    on_sample: Callable[[int], None] | None = None,
) -> Reference:
    """Predict every sample with Keras. Arguments as of :class:`Reference` and its ``compare``.

    Raises:
        DataError: There is no sample, or no labelled pixel in any of them.
    """
    evaluator, masks = Evaluator(labels), []
    for index, sample in enumerate(samples(), start=1):
        masks.append(predict(resize_image(sample.image, *size)))
        evaluator.add(sample, masks[-1])
        if on_sample:
            on_sample(index)
    evaluation = evaluator.result()
    refuse_unlabelled(evaluation)
    return Reference(samples, labels, size, masks, evaluation)


def faults_of(comparison: Comparison, precision: Precision, budget: Budget) -> list[str]:
    """Why an artifact must not be used, in words; empty where it may be."""
    faults = mean_iou_faults(comparison.keras_miou, comparison.artifact_miou, budget.drop)
    faults += class_faults(comparison.class_drop_points(), budget.class_drop)
    if precision == "fp32" and comparison.agreement < MIN_FP32_AGREEMENT:
        faults.append(
            f"{comparison.agreement:.3%} of pixels are as in Keras, where fp32 needs {MIN_FP32_AGREEMENT:.1%}"
        )
    return faults


def mean_iou_faults(keras_miou: float, artifact_miou: float, max_drop_points: float) -> list[str]:
    """The fault of a mIoU (0 to 1) that lies more than so many points below Keras's; else empty."""
    drop = _POINTS * (keras_miou - artifact_miou)
    # Not `drop > max`: a drop that is not a number must not pass.
    if drop <= max_drop_points:
        return []
    return [
        f"mIoU fell by {drop:.2f} points, from {_POINTS * keras_miou:.2f} to {_POINTS * artifact_miou:.2f}, "
        f"where {max_drop_points:g} are allowed"
    ]


def scored(drops: Mapping[str, float | None]) -> dict[str, float]:
    """The drops of the classes that have one."""
    return {name: drop for name, drop in drops.items() if drop is not None}


def classes_over(drops: Mapping[str, float | None], max_drop_points: float | None) -> dict[str, float]:
    """The drops of the classes that lost more than so many points; of none where there is no limit."""
    limit = math.inf if max_drop_points is None else max_drop_points
    return {name: drop for name, drop in scored(drops).items() if drop > limit}


def class_faults(drops: Mapping[str, float | None], max_drop_points: float | None) -> list[str]:
    """The fault of the classes that lost more than so many points of IoU each; else empty."""
    over = classes_over(drops, max_drop_points)
    if not over:
        return []
    worst_first = sorted(over, key=over.__getitem__, reverse=True)
    named = ", ".join(f"{name} by {over[name]:.2f}" for name in worst_first)
    return [f"IoU fell by more than the {max_drop_points:g} points that are allowed: of {named}"]


def refuse_unlabelled(evaluation: Evaluation) -> None:
    """Refuse scores of samples in which there was nothing to score.

    Raises:
        DataError: No pixel of any sample is labelled.
    """
    if math.isnan(evaluation.label_scores.miou):
        raise DataError(
            "the samples that accuracy is measured on",
            expected="at least one labelled pixel",
            found=f"none in {evaluation.samples} samples",
            next_step="Run 'edgeseg data check' on the dataset.",
        )
