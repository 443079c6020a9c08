"""Augmentation of one image with its mask, the same for the same seed.

albumentations is asked for only here, and only when an :class:`Augmenter` is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgeseg.errors import MissingExtraError
from edgeseg.labels import Mask
from edgeseg.resize import Image

if TYPE_CHECKING:
    import albumentations

Share = Annotated[float, Field(ge=0, le=1)]
Shift = Annotated[float, Field(ge=0, le=0.5)]
Degrees = Annotated[float, Field(ge=0, le=180)]
Hue = Annotated[float, Field(ge=0, le=90)]
Level = Annotated[float, Field(ge=0, le=255)]


class AugmentConfig(BaseModel):
    """How training images are varied; the defaults suit a camera that looks along the road.

    Attributes:
        horizontal_flip: Share of mirroring. There is no vertical flip: the sky is above.
        scale: Range of zoom. Above 1 crops; below 1 leaves a border, which is ignored in the mask.
        shift: Largest shift of the zoomed picture, as a share of its height and width.
        rotate: Largest rotation to either side, in degrees.
        geometry: Share of zoom, shift and rotation together.
        brightness: Largest change, as a share of full brightness; ``contrast`` as a share of contrast.
        contrast: See ``brightness``.
        gamma: Range of the exponent's percentage; below 100 brightens.
        hue: Largest change in degrees of 180 (OpenCV's hue); ``saturation`` of 255.
        saturation: See ``hue``.
        color: Share of each of brightness with contrast, gamma, and hue with saturation.
        blur: Share of a slight Gaussian blur, as by a lens or motion.
        noise: Share of sensor noise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    horizontal_flip: Share = 0.5
    scale: tuple[float, float] = (0.75, 1.5)
    shift: Shift = 0.1
    rotate: Degrees = 5.0
    geometry: Share = 0.9
    brightness: Share = 0.2
    contrast: Share = 0.2
    gamma: tuple[float, float] = (80.0, 125.0)
    hue: Hue = 8.0
    saturation: Level = 25.0
    color: Share = 0.5
    blur: Share = 0.1
    noise: Share = 0.1

    @model_validator(mode="after")
    def _ranges_ascend(self) -> AugmentConfig:
        for name in ("scale", "gamma"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be a range of two positive numbers, low first")
        return self

    @classmethod
    def none(cls) -> AugmentConfig:
        """No variation at all."""
        return cls(horizontal_flip=0, geometry=0, color=0, blur=0, noise=0)

    @property
    def enabled(self) -> bool:
        """Whether anything is ever changed."""
        return any((self.horizontal_flip, self.geometry, self.color, self.blur, self.noise))


class Augmenter:
    """Varies images with their masks. Not for two threads at once: the transforms hold a random state.

    Args:
        config: What is varied, and how much.
        ignore_index: What the mask gets where a zoomed-out or turned picture leaves a border.

    Raises:
        MissingExtraError: albumentations is not installed.
    """

    def __init__(self, config: AugmentConfig, ignore_index: int = 255) -> None:
        self._compose = _pipeline(config, ignore_index)

    def __call__(self, image: Image, mask: Mask, seed: int) -> tuple[Image, Mask]:
        """Image ``uint8 [H, W, 3]`` and mask ``uint8 [H, W]`` to new ones of the same shapes.

        The same seed gives the same result, whatever was done before.
        """
        self._compose.set_random_seed(seed)
        result = self._compose(image=np.ascontiguousarray(image), mask=np.ascontiguousarray(mask))
        return result["image"], result["mask"]


def _pipeline(config: AugmentConfig, ignore_index: int) -> albumentations.Compose:
    a = _albumentations()
    low, high = config.gamma
    return a.Compose(
        [
            a.HorizontalFlip(p=config.horizontal_flip),
            # One warp for zoom, shift and rotation: each further one would cost time and sharpness.
            a.Affine(
                scale=config.scale,
                keep_ratio=True,
                translate_percent=(-config.shift, config.shift),
                rotate=(-config.rotate, config.rotate),
                interpolation=cv2.INTER_LINEAR,
                mask_interpolation=cv2.INTER_NEAREST,
                border_mode=cv2.BORDER_CONSTANT,
                fill=0,
                fill_mask=ignore_index,
                p=config.geometry,
            ),
            a.RandomBrightnessContrast(config.brightness, config.contrast, p=config.color),
            a.RandomGamma((low, high), p=config.color),
            a.HueSaturationValue(config.hue, config.saturation, 0, p=config.color),
            a.GaussianBlur(blur_limit=(3, 5), p=config.blur),
            a.GaussNoise(std_range=(0.01, 0.04), noise_scale_factor=0.5, p=config.noise),
        ]
    )


def _albumentations() -> Any:
    # It would ask the network for a newer version on import.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError as error:
        raise MissingExtraError.of("augmentation", "albumentations", "train") from error
    return albumentations
