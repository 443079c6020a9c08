from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeseg.resize import resize_image, resize_mask


def test_shrinking_averages_whole_areas() -> None:
    image = np.zeros((4, 4, 3), np.uint8)
    image[::2, ::2] = 200  # one pixel of each 2×2 area
    assert (resize_image(image, 2, 2) == 50).all()


def test_enlarging_is_smooth() -> None:
    image = np.array([[0, 100]], np.uint8)[..., None].repeat(3, axis=2)
    row = resize_image(image, 1, 8)[0, :, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert len(set(row.tolist())) > 4


@pytest.mark.parametrize("size", [(3, 5), (64, 96), (7, 300)])
def test_mask_keeps_its_ids(size: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).choice([0, 3, 255], (37, 53)).astype(np.uint8)
    resized = resize_mask(mask, *size)
    assert resized.shape == size
    assert resized.dtype == np.uint8
    assert set(np.unique(resized)) <= {0, 3, 255}


def test_mask_doubled_is_each_pixel_twice() -> None:
    mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (resize_mask(mask, 6, 8) == mask.repeat(2, 0).repeat(2, 1)).all()


def test_same_size_is_the_same_array() -> None:
    image = np.zeros((5, 6, 3), np.uint8)
    assert resize_image(image, 5, 6) is image


@pytest.mark.parametrize(
    ("size", "to"),
    [
        ((720, 1280), (256, 512)),
        ((720, 1280), (192, 640)),
        ((1080, 1920), (256, 512)),
        ((720, 960), (256, 256)),
        ((719, 1280), (250, 512)),
    ],
)
def test_shrinking_by_bands_of_rows_is_opencvs_average_over_areas(
    size: tuple[int, int], to: tuple[int, int]
) -> None:
    image = np.random.default_rng(5).integers(0, 256, (*size, 3)).astype(np.uint8)
    expected = cv2.resize(image, to[::-1], interpolation=cv2.INTER_AREA)
    out = np.zeros((*to, 3), np.uint8)
    resized = resize_image(image, *to, out=out)
    assert np.shares_memory(resized, out)
    # Where an average lies between two levels, rounding may fall either way.
    assert np.abs(resized.astype(int) - expected).max() <= 1
    assert (resized != expected).mean() < 0.02
    # A part of a larger picture, whose rows do not follow each other in memory, and memory used before.
    wider = np.zeros((size[0], size[1] + 8, 3), np.uint8)
    wider[:, 4:-4] = image
    assert np.array_equal(resize_image(wider[:, 4:-4], *to), resized)
