"""Artifacts beside the Keras model they came from, on real samples, through the runtime that the car uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeseg.bundle.manifest import Parity, Precision
from edgeseg.errors import DataError
from edgeseg.evaluation import Evaluation, Evaluator, Predictor, Sample
from edgeseg.export.selection import MeasuredOn
from edgeseg.labels import LabelSet
from edgeseg.metrics import agreement
from edgeseg.resize import resize_image

MIN_FP32_AGREEMENT = 0.999
"""An fp32 artifact computes what Keras computes: below this share of equal pixels, something is wrong."""

_POINTS = 100


@dataclass(frozen=True)
class Comparison:
    """One artifact's predictions beside Keras's.

    ``agreement`` is the share (0 to 1) of pixels with the same class at model resolution, over all samples;
    ``lowest_agreement`` is that of the one sample, ``lowest_sample``, where it is lowest.
    """

    agreement: float
    lowest_agreement: float
    lowest_sample: str
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

    def class_drop_points(self, labels: LabelSet) -> dict[str, float | None]:
        """IoU lost by each class at label resolution, in points; ``None`` where a class is in neither."""
        drops = _POINTS * (self.keras.label_scores.iou - self.artifact.label_scores.iou)
        return {
            name: None if math.isnan(drop) else float(drop)
            for name, drop in zip(labels.names, drops, strict=True)
        }

    def parity(
        self, labels: LabelSet, runtime: str, max_drop_points: float, measured_on: MeasuredOn
    ) -> Parity:
        """What the manifest holds of it."""
        return Parity(
            runtime=runtime,
            samples=self.keras.samples,
            agreement=self.agreement,
            keras_miou=self.keras_miou,
            miou=self.artifact_miou,
            drop_points=self.drop_points,
            class_drop_points=self.class_drop_points(labels),
            max_drop_points=max_drop_points,
            dataset=measured_on.dataset,
            split=measured_on.split,
            fingerprint=measured_on.fingerprint,
        )

    def to_dict(self, labels: LabelSet) -> dict[str, Any]:
        """All of it as plain JSON values, for ``report.json``."""
        return {
            "agreement": self.agreement,
            "lowest_agreement": {"sample": self.lowest_sample, "agreement": self.lowest_agreement},
            "drop_points": self.drop_points,
            "class_drop_points": self.class_drop_points(labels),
            "keras": self.keras.to_dict(labels),
            "artifact": self.artifact.to_dict(labels),
        }


def compare(
    keras_predict: Predictor,
    artifacts: Mapping[str, Predictor],
    samples: Iterable[Sample],
    labels: LabelSet,
    size: tuple[int, int],
    on_sample: Callable[[int], None] | None = None,
) -> dict[str, Comparison]:
    """Predict every sample with Keras once and with each artifact, in one pass.

    Args:
        keras_predict: The Keras model's predictor.
        artifacts: Name to predictor.
        samples: Labelled images at the label's size.
        labels: Their classes.
        size: The models' input height and width in pixels.
        on_sample: Told after each sample how many are done.

    Raises:
        DataError: There is no sample, or no labelled pixel in any of them.
    """
    keras_side = Evaluator(labels)
    sides = {name: _Side(Evaluator(labels)) for name in artifacts}
    for index, sample in enumerate(samples, start=1):
        image = resize_image(sample.image, *size)
        expected = keras_predict(image)
        keras_side.add(sample, expected)
        for name, predict in artifacts.items():
            mask = predict(image)
            sides[name].evaluator.add(sample, mask)
            sides[name].agreements[sample.name] = agreement(mask, expected)
        if on_sample:
            on_sample(index)
    reference = keras_side.result()
    refuse_unlabelled(reference)
    return {name: side.comparison(reference) for name, side in sides.items()}


def faults_of(comparison: Comparison, precision: Precision, max_drop_points: float) -> list[str]:
    """Why an artifact must not be used, in words; empty where it may be."""
    faults = mean_iou_faults(comparison.keras_miou, comparison.artifact_miou, max_drop_points)
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


@dataclass
class _Side:
    """What one artifact has given so far; agreements are by sample name."""

    evaluator: Evaluator
    agreements: dict[str, float] = field(default_factory=dict)

    def comparison(self, reference: Evaluation) -> Comparison:
        lowest = min(self.agreements, key=self.agreements.__getitem__)
        mean = sum(self.agreements.values()) / len(self.agreements)
        return Comparison(mean, self.agreements[lowest], lowest, reference, self.evaluator.result())
