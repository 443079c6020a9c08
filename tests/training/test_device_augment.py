"""The device's augmentation against OpenCV, and its draws against the host's."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from keras import ops

from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.draws import Draws, draw_epoch
from edgeseg.training.device_augment import NOISE_STORE, augment, noise_store

COUNT, HEIGHT, WIDTH = 8, 40, 56
ONLY_GEOMETRY = AugmentConfig(geometry=1, color=0, blur=0, noise=0)

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def images() -> Pixels:
    rough = np.random.default_rng(0).integers(0, 256, (COUNT * HEIGHT, WIDTH, 3)).astype(np.uint8)
    return cv2.GaussianBlur(rough, (5, 5), 2).reshape(COUNT, HEIGHT, WIDTH, 3)


@pytest.fixture(scope="module")
def masks() -> Pixels:
    return np.random.default_rng(1).integers(0, 5, (COUNT, HEIGHT, WIDTH)).astype(np.uint8)


def drawn(config: AugmentConfig, crop: tuple[int, int] | None = None, **changes: int) -> Draws:
    settings = {"seed": 3, "epoch": 1, "count": COUNT, **changes}
    return draw_epoch(config, size=(HEIGHT, WIDTH), crop=crop, noise_store=NOISE_STORE, **settings)


def varied(
    images: Pixels,
    masks: Pixels,
    draws: Draws,
    config: AugmentConfig,
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> tuple[Pixels, Pixels]:
    given = (images, masks, draws.of(np.arange(len(images))), noise_store())
    made = augment(*map(ops.convert_to_tensor, given), config=config, ignore_index=255, size=size)
    image, mask = map(ops.convert_to_numpy, made)
    assert (image.dtype, mask.dtype) == (np.uint8, np.uint8)
    return image, mask


@pytest.mark.parametrize("crop", [None, (24, 32)])
def test_image_and_mask_are_warped_as_by_opencv(
    crop: tuple[int, int] | None, images: Pixels, masks: Pixels
) -> None:
    draws, size = drawn(ONLY_GEOMETRY, crop), crop or (HEIGHT, WIDTH)
    ours = varied(images, masks, draws, ONLY_GEOMETRY, size)
    for index, matrix in enumerate(draws.matrix.reshape(-1, 2, 3).astype(float)):
        for own, picture, how, border in (
            (ours[0], images, cv2.INTER_LINEAR, 0),
            (ours[1], masks, cv2.INTER_NEAREST, 255),
        ):
            flags = how | cv2.WARP_INVERSE_MAP
            theirs = cv2.warpAffine(
                picture[index], matrix, size[::-1], flags=flags, borderValue=(border,) * 3
            )
            # OpenCV rounds where it looks to 1/32 of a pixel.
            differs = np.abs(own[index].astype(int) - theirs)
            assert differs.max() <= 3 if how == cv2.INTER_LINEAR else (differs > 0).mean() < 0.005


def test_what_is_beside_the_picture_is_black_and_ignored(images: Pixels, masks: Pixels) -> None:
    config = ONLY_GEOMETRY.model_copy(update={"scale": (0.5, 0.5), "rotate": 0.0, "shift": 0.0})
    image, mask = varied(np.maximum(images, 1), masks, drawn(config), config)
    assert (mask == 255).mean() == pytest.approx(0.75, abs=0.05)
    inner = mask[:, HEIGHT // 4 + 1 : -HEIGHT // 4 - 1, WIDTH // 4 + 1 : -WIDTH // 4 - 1]
    assert (inner < 5).all()
    assert not image[:, : HEIGHT // 4 - 2].any()


def test_image_and_mask_stay_together() -> None:
    """An image that is its own mask: in every window they still agree."""
    marks = np.kron(np.random.default_rng(2).integers(0, 2, (COUNT, 5, 7)), np.ones((1, 8, 8))).astype(
        np.uint8
    )
    image, mask = varied(
        np.repeat(200 * marks[..., None], 3, axis=-1), marks, drawn(ONLY_GEOMETRY), ONLY_GEOMETRY
    )
    sure = (mask != 255) & ((image[..., 0] < 20) | (image[..., 0] > 180))
    agree = (image[..., 0] > 100) == (mask == 1)
    assert sure.mean() > 0.5
    assert agree[sure].mean() > 0.99


@pytest.mark.parametrize("crop", [None, (24, 32)])
def test_nothing_to_vary_changes_nothing(crop: tuple[int, int] | None, images: Pixels, masks: Pixels) -> None:
    draws = drawn(AugmentConfig.none(), crop)
    image, mask = varied(images, masks, draws, AugmentConfig.none(), crop or (HEIGHT, WIDTH))
    for index, (x, y) in enumerate(draws.matrix[:, [2, 5]].astype(int)):
        window = slice(y, y + mask.shape[1]), slice(x, x + mask.shape[2])
        assert np.array_equal(image[index], images[index][window])
        assert np.array_equal(mask[index], masks[index][window])
    assert crop is None or len({tuple(m) for m in draws.matrix}) > 1, "crops lie at different places"


def test_draws_of_nothing_leave_every_step_without_effect(images: Pixels, masks: Pixels) -> None:
    everything = AugmentConfig(color=1, blur=1, noise=1)
    image, mask = varied(images, masks, drawn(AugmentConfig.none()), everything)
    assert np.abs(image.astype(int) - images).max() <= 1
    assert np.array_equal(mask, masks)


def test_colours_are_those_of_opencv(images: Pixels, masks: Pixels) -> None:
    config = AugmentConfig.none().model_copy(update={"color": 1.0})
    draws = drawn(config)
    image, _ = varied(images, masks, draws, config)
    for index in range(COUNT):
        pixels = np.clip(images[index] * draws.contrast[index] + draws.brightness[index], 0, 255)
        pixels = (pixels / 255) ** draws.gamma[index]
        hsv = cv2.cvtColor(pixels.astype(np.float32), cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + 360 * draws.hue[index]) % 360
        hsv[..., 1] = np.clip(hsv[..., 1] + draws.saturation[index], 0, 1) * (hsv[..., 1] > 0)
        theirs = 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        assert np.abs(image[index] - theirs).max() <= 0.51


def test_blur_is_that_of_opencv(images: Pixels, masks: Pixels) -> None:
    config = AugmentConfig.none().model_copy(update={"blur": 1.0})
    draws = drawn(config)
    image, _ = varied(images, masks, draws, config)
    for index, (near, far) in enumerate(draws.blur):
        kernel = np.array([far, near, 1 - 2 * (near + far), near, far])
        theirs = cv2.sepFilter2D(images[index].astype(np.float32), -1, kernel, kernel)
        assert np.abs(image[index] - theirs).max() <= 0.51


def test_noise_has_its_strength_and_is_another_in_each_image(images: Pixels, masks: Pixels) -> None:
    config = AugmentConfig.none().model_copy(update={"noise": 1.0})
    draws = drawn(config)
    image, _ = varied(np.full_like(images, 128), masks, draws, config)
    spread = image.reshape(COUNT, -1).std(axis=1)
    assert spread == pytest.approx(draws.noise, rel=0.15)
    shapes = (image - 128.0) / spread[:, None, None, None]
    assert abs(np.corrcoef(shapes.reshape(COUNT, -1))[np.triu_indices(COUNT, 1)]).max() < 0.2


def test_the_same_seed_and_epoch_draw_the_same() -> None:
    config = AugmentConfig()
    numbers = np.arange(COUNT)
    first = drawn(config).of(numbers)
    draw_epoch.cache_clear()
    assert np.array_equal(first, drawn(config).of(numbers))
    assert not np.array_equal(first, drawn(config, epoch=2).of(numbers))
    assert not np.array_equal(first, drawn(config, seed=4).of(numbers))


def test_draws_are_distributed_as_the_config_says() -> None:
    count = 20_000
    config = AugmentConfig()
    draws = drawn(config, count=count)
    zoom = 1 / np.hypot(draws.matrix[:, 0], draws.matrix[:, 3])
    degrees = np.degrees(np.arctan2(-draws.matrix[:, 1], draws.matrix[:, 4]))
    turned = np.abs(zoom - 1) > 1e-6
    assert turned.mean() == pytest.approx(config.geometry, abs=0.02)
    assert (draws.matrix[:, 0] < 0).mean() == pytest.approx(config.horizontal_flip, abs=0.02)
    assert (zoom.min(), zoom.max()) == pytest.approx(config.scale, abs=0.01)
    # Log-uniform: half of them on either side of the geometric mean.
    assert (zoom[turned] < np.sqrt(np.prod(config.scale))).mean() == pytest.approx(0.5, abs=0.02)
    assert (degrees.min(), degrees.max()) == pytest.approx((-config.rotate, config.rotate), abs=0.05)
    for values, off, share in (
        (draws.contrast, 1, config.color),
        (draws.gamma, 1, config.color),
        (draws.hue, 0, config.color),
        (draws.blur[:, 0], 0, config.blur),
        (draws.noise, 0, config.noise),
    ):
        assert (values != off).mean() == pytest.approx(share, abs=0.02)
    assert np.abs(draws.brightness).max() == pytest.approx(255 * config.brightness, rel=0.01)
    assert draws.gamma.min() == pytest.approx(config.gamma[0] / 100, abs=0.01)
