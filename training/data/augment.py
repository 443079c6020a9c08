"""Augmentation of one image with its mask, the same for the same seed.

albumentations, which changes the colours, is asked for only here, and only when an :class:`Augmenter` is made
that needs it.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgeseg.errors import MissingExtraError, UsageError
from edgeseg.labels import Mask
from edgeseg.resize import Image
from edgeseg.training.data.geometry import View

if TYPE_CHECKING:
    import albumentations

Share = Annotated[float, Field(ge=0, le=1)]
Shift = Annotated[float, Field(ge=0, le=0.5)]
Degrees = Annotated[float, Field(ge=0, le=180)]
Hue = Annotated[float, Field(ge=0, le=90)]
Level = Annotated[float, Field(ge=0, le=255)]
BlurSigma = Annotated[float, Field(gt=0, le=30)]
NoiseSigma = Annotated[float, Field(gt=0, le=1)]


class AugmentConfig(BaseModel):
    """How training images are varied; the defaults suit a camera that looks along the road.

    Attributes:
        horizontal_flip: Share of mirroring. There is no vertical flip: the sky is above.
        scale: Range of zoom, log-uniform: halving is as likely as doubling. Above 1 cuts something off; below
            1 can leave a border, which is ignored in the mask.
        shift: Largest shift of the zoomed picture, as a share of its height and width. Without a part in it
            where a crop is trained on: its place in the zoomed picture is random anyway.
        rotate: Largest rotation to either side, in degrees.
        geometry: Share of zoom, shift and rotation together.
        brightness: Largest change, as a share of full brightness; ``contrast`` as a share of contrast.
        contrast: See ``brightness``.
        gamma: Range of the exponent's percentage; below 100 brightens.
        hue: Largest change in degrees of 180 (OpenCV's hue); ``saturation`` of 255.
        saturation: See ``hue``.
        color: Share of each of brightness with contrast, gamma, and hue with saturation.
        blur: Share of a slight Gaussian blur, as by a lens or motion, over 3 or 5 pixels.
        blur_sigma: Range of its standard deviation in pixels.
        noise: Share of sensor noise.
        noise_sigma: Range of its standard deviation, for pixels of 0 to 1.
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
    blur_sigma: tuple[BlurSigma, BlurSigma] = (0.5, 3.0)
    noise: Share = 0.1
    noise_sigma: tuple[NoiseSigma, NoiseSigma] = (0.01, 0.04)

    @model_validator(mode="after")
    def _ranges_ascend(self) -> AugmentConfig:
        for name in ("scale", "gamma", "blur_sigma", "noise_sigma"):
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
        crop: Height and width of the window that is taken, at random, of the zoomed picture; ``None`` for a
            window of the picture's own size.

    Raises:
        MissingExtraError: albumentations is needed and not installed.
    """

    def __init__(
        self, config: AugmentConfig, ignore_index: int = 255, crop: tuple[int, int] | None = None
    ) -> None:
        self._config = config
        self._ignore_index = ignore_index
        self._crop = crop
        self._pixels = _pixel_pipeline(config) if config.color or config.blur or config.noise else None

    def __call__(self, image: Image, mask: Mask, seed: int) -> tuple[Image, Mask]:
        """Image ``uint8 [H, W, 3]`` and mask ``uint8 [H, W]`` to new ones of the same size, or the crop's.

        The same seed gives the same result, whatever was done before.

        Raises:
            UsageError: The crop is larger than the image.
        """
        check_crop(self._crop, *mask.shape)
        view = draw_view(self._config, *mask.shape, self._crop, np.random.default_rng(seed))
        image, mask = view.of(image, mask, self._ignore_index)
        if self._pixels is not None:
            self._pixels.set_random_seed(seed)
            image = self._pixels(image=np.ascontiguousarray(image))["image"]
        return image, mask


def draw_view(
    config: AugmentConfig, height: int, width: int, crop: tuple[int, int] | None, rng: np.random.Generator
) -> View:
    """A window on a picture of this height and width, as the configuration has them at random."""
    mirrored = rng.random() < config.horizontal_flip
    if rng.random() >= config.geometry:
        return _straight_view(height, width, crop, mirrored, rng)
    zoom = math.exp(rng.uniform(*np.log(config.scale)))
    degrees = rng.uniform(-config.rotate, config.rotate)
    seen = crop or (height, width)
    # How far the window's centre can be from the picture's, in pixels of the picture.
    reach = [
        abs(zoom * whole - part) / 2 / zoom if crop else config.shift * whole / zoom
        for whole, part in zip((height, width), seen, strict=True)
    ]
    down, right = rng.uniform(-1, 1, 2) * reach
    return View(*seen, (height - 1) / 2 + down, (width - 1) / 2 + right, zoom, degrees, mirrored)


def check_crop(crop: tuple[int, int] | None, height: int, width: int) -> None:
    """Refuse a crop that is larger than the images it is taken of.

    Raises:
        UsageError: It is, or is not positive.
    """
    if crop is None or (0 < crop[0] <= height and 0 < crop[1] <= width):
        return
    raise UsageError(
        "crop",
        expected=f"a height and width of at most the prepared images' {height}x{width}",
        found=f"{crop[0]}x{crop[1]}",
        next_step="Choose a smaller --crop or a larger --size.",
    )


def _straight_view(
    height: int, width: int, crop: tuple[int, int] | None, mirrored: bool, rng: np.random.Generator
) -> View:
    """A window on whole pixels, neither zoomed nor rotated."""
    rows, columns = crop or (height, width)
    top, left = rng.integers(height - rows + 1), rng.integers(width - columns + 1)
    return View(rows, columns, top + (rows - 1) / 2, left + (columns - 1) / 2, mirrored=mirrored)


def _pixel_pipeline(config: AugmentConfig) -> albumentations.Compose:
    """What changes colours and sharpness and leaves the mask as it is."""
    a = _albumentations()
    return a.Compose(
        [
            a.RandomBrightnessContrast(config.brightness, config.contrast, p=config.color),
            a.RandomGamma(config.gamma, p=config.color),
            a.HueSaturationValue(config.hue, config.saturation, 0, p=config.color),
            a.GaussianBlur(blur_limit=(3, 5), sigma_limit=config.blur_sigma, p=config.blur),
            a.GaussNoise(std_range=config.noise_sigma, noise_scale_factor=0.5, p=config.noise),
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
