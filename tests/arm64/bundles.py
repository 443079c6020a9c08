"""The x86 side: a briefly trained model of the zoo, its four bundles, and pictures to segment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2

from edgeseg.export.pipeline import export_model
from edgeseg.export.plan import ExportOptions
from edgeseg.training.data.synthetic import draw_scene, synthetic_video
from edgeseg.training.fit import train
from edgeseg.training.recipe import make_recipe

FORMATS, PRECISIONS = ("litert", "onnx"), ("fp32", "int8")
IMAGES, VIDEO_FRAMES = 12, 8
# Small, for qemu computes floats in software; larger than the model's input, so that resizing is proved too.
_MODEL, _TWICE = (64, 128), (128, 256)
# By such a factor, 2.25 and 2, a mean over areas is often just between two levels.
_ODD = (144, 256)
_DATA = "synthetic:train=96,val=16,size=64x128,seed=7"


@dataclass(frozen=True)
class Inputs:
    """What both machines get, under one folder.

    The images are shrunk by two, the odd ones by no whole number.
    """

    bundles: tuple[Path, ...]
    images: Path
    odd_images: Path
    video: Path


def make_inputs(folder: Path) -> Inputs:
    """Train, export and draw.

    Every layer that the model has is in its artifacts; that it has learnt a little makes masks of several
    classes, whose borders are where a rounding shows.
    """
    recipe = make_recipe(
        {
            "data": _DATA,
            "model": "unet_mini",
            "model_options": {"channels": 8},
            "size": list(_MODEL),
            "epochs": 6,
            "seed": 7,
        }
    )
    trained = train(recipe, folder / "train")
    bundles = [
        export_model(trained.folder.best, None, _options(kind, precision, folder)).path
        for kind in FORMATS
        for precision in PRECISIONS
    ]
    video = folder / "video.mp4"
    synthetic_video(video, VIDEO_FRAMES, _TWICE, seed=99)
    images, odd = _draw(folder / "images", _TWICE), _draw(folder / "odd-images", _ODD)
    return Inputs(tuple(bundles), images, odd, video)


def _draw(folder: Path, size: tuple[int, int]) -> Path:
    folder.mkdir()
    for index in range(IMAGES):
        picture, _ = draw_scene(99, "val", index, *size)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return folder


def _options(kind: str, precision: str, folder: Path) -> ExportOptions:
    return ExportOptions(
        target="x86",
        format=kind,
        precision=precision,
        # Accuracy is not what is proved here: both machines run whatever this int8 has become.
        max_drop_points=100,
        max_class_drop_points=100,
        samples=4,
        calibration_samples=16,
        out=folder,
        name=f"{kind}-{precision}",
    )
