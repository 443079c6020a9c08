"""Every model at the smallest size and options that are useful in a test: one line each.

``tests/training/test_models.py`` holds each to the contract; ``tests/export/test_every_model.py`` trains it a
little, and compares its exports with it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import pytest

from edgeseg.training.models import build_model, inference_model


@dataclass(frozen=True)
class Case:
    """A model with options.

    Args:
        model: Its name in ``MODELS``.
        multiple: What height and width must be divisible by.
        options: Its options.
        size: The smallest useful height and width.
        heavy: Whether even building it takes more than a few seconds.
        large: Whether it is a larger size of what a smaller case already tests.
        package: What it needs to be installed, beside the extra ``train``.
        layers: Modules of its layers that are not Keras's own.
        members: Of an ensemble: the cases whose models it is made of.
    """

    model: str
    multiple: int
    options: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int] = (64, 64)
    heavy: bool = False
    large: bool = False
    package: str | None = None
    layers: tuple[str, ...] = ()
    members: tuple[str, ...] = ()

    @property
    def marks(self) -> list[pytest.MarkDecorator]:
        return [pytest.mark.heavy] * self.heavy + [pytest.mark.large] * self.large

    def build(self, classes: int, size: tuple[int, int] | None = None) -> keras.Model:
        if self.package:
            pytest.importorskip(self.package)
        size = size or self.size
        if not self.members:
            return inference_model(build_model(self.model, classes, *size, **self.options))
        with tempfile.TemporaryDirectory() as folder:
            paths = [str(Path(folder, f"{index}.keras")) for index in range(len(self.members))]
            for path, member in zip(paths, self.members, strict=True):
                CASES[member].build(classes, size).save(path)
            return build_model(self.model, classes, *size, checkpoints=paths, **self.options)


def _segformer(size: int) -> Case:
    layers = ("keras_hub.", "edgeseg.training.models.segformer")
    larger = size > 0
    return Case(f"segformer_b{size}", 32, heavy=larger, large=larger, package="keras_hub", layers=layers)


_SCRATCH = {"encoder_weights": "none"}
_DEEPLAB = {**_SCRATCH, "channels": 16, "rates": (1, 2)}
_STAGES = {"first_channels": 4, "second_channels": 4, "reduction": 2}

CASES: dict[str, Case] = {
    "unet_mini": Case("unet_mini", 4, {"channels": 4}, (16, 24)),
    "unet_mini_source": Case("unet_mini_source", 4, size=(16, 24)),
    "attention_unet": Case("attention_unet", 16, {"channels": 4}, (32, 32)),
    "unet": Case("unet", 32, {**_SCRATCH, "decoder": (16, 8, 8)}),
    "unet_efficientnetb3": Case("unet_efficientnetb3", 32, _SCRATCH, heavy=True, large=True),
    "two_stage_unet": Case("two_stage_unet", 16, _STAGES, (32, 32)),
    "two_stage_unet-first": Case(
        "two_stage_unet", 16, {**_STAGES, "stages": "first"}, (32, 32), heavy=True, large=True
    ),
    "edge": Case("edge", 32, _SCRATCH),
    "ensemble": Case("ensemble", 4, size=(16, 24), members=("unet_mini", "unet_mini_source")),
    "deeplabv3plus": Case("deeplabv3plus", 32, _DEEPLAB),
    "deeplabv3plus-resnet50": Case(
        "deeplabv3plus", 32, {**_DEEPLAB, "encoder": "resnet50"}, heavy=True, large=True
    ),
    "deeplabv3plus-resnet101": Case(
        "deeplabv3plus", 32, {**_DEEPLAB, "encoder": "resnet101"}, heavy=True, large=True
    ),
    "deeplabv3plus-xception": Case(
        "deeplabv3plus", 32, {**_DEEPLAB, "encoder": "xception"}, heavy=True, large=True
    ),
    **{f"segformer_b{size}": _segformer(size) for size in range(6)},
}
"""Name of a case to it; a model with several kinds of options has several."""


def cases(large: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    """A test of every case; those named are left to ``make large`` there, as larger sizes are everywhere."""
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(name, marks=[*case.marks, *[pytest.mark.large] * (name in large)])
            for name, case in CASES.items()
        ],
    )
