"""Crops and the one warp behind zoom, rotation, shift and mirror: right places, right sizes, right seeds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig, Augmenter
from edgeseg.training.data.geometry import View
from edgeseg.training.data.loader import BatchLoader

HEIGHT, WIDTH = 40, 64
NONE = AugmentConfig.none()
WARPED = NONE.model_copy(update={"geometry": 1.0, "rotate": 0.0, "scale": (1.0, 1.0)})


@pytest.fixture
def cached(make_folder, tmp_path: Path) -> CachedSplit:
    dataset = open_dataset(f"folder:{make_folder(count=6)}")
    return prepare(dataset, "train", HEIGHT, WIDTH, cache_dir=tmp_path / "cache")


def coordinates() -> tuple[np.ndarray, np.ndarray]:
    """An image whose red is the row and green the column, and a mask that is the row."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.uint8)
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1), rows


def test_a_crop_alone_is_a_part_of_the_picture_at_every_place() -> None:
    image, mask = coordinates()
    augment = Augmenter(NONE, crop=(30, 60))
    places = set()
    for seed in range(600):
        part, ids = augment(image, mask, seed)
        assert (part.shape, ids.shape) == ((30, 60, 3), (30, 60))
        top, left = part[0, 0, :2].tolist()
        np.testing.assert_array_equal(part, image[top : top + 30, left : left + 60])
        np.testing.assert_array_equal(ids, mask[top : top + 30, left : left + 60])
        places.add((top, left))
    assert len(places) == 11 * 5


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 2), (10, 4)])
def test_copied_and_warped_views_are_the_same(mirrored: bool, top: int, left: int) -> None:
    """A zoom and turn of nothing at all goes through the warp and must give the very pixels."""
    image, mask = coordinates()
    center = (top + (30 - 1) / 2, left + (60 - 1) / 2)
    copied = View(30, 60, *center, mirrored=mirrored).of(image, mask, 255)
    warped = View(30, 60, *center, zoom=1 + 1e-9, mirrored=mirrored).of(image, mask, 255)
    expected = image[top : top + 30, left : left + 60]
    np.testing.assert_array_equal(copied[0], expected[:, ::-1] if mirrored else expected)
    for one, other in zip(copied, warped, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_view_over_the_border_is_black_and_ignored_there() -> None:
    image, mask = coordinates()
    part, ids = View(30, 60, 20.0 + 14.5, 29.5).of(image + 1, mask, 200)
    np.testing.assert_array_equal(ids[:20], mask[20:, :60])
    assert (ids[20:] == 200).all()
    assert not part[20:].any()


def test_rotation_turns_what_is_seen_counter_clockwise_around_the_centre() -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[6:11, 20] = 255  # above the centre
    mask = image[..., 0] // 255
    for mirrored, place in ((False, (20, slice(6, 11))), (True, (20, slice(30, 35)))):
        seen, ids = View(41, 41, 20, 20, degrees=90, mirrored=mirrored).of(image, mask, 255)
        assert (seen[place] == 255).all()
        assert (ids[place] == 1).all()
        assert (ids == 1).sum() == 5


def test_zoom_makes_things_larger() -> None:
    mask = np.zeros((40, 64), np.uint8)
    mask[18:22, 30:34] = 1
    image = np.repeat(mask[..., None], 3, axis=2)
    for zoom, pixels in ((0.5, 4), (2.0, 64), (3.0, 144)):
        assert (View(30, 30, 19.5, 31.5, zoom=zoom).of(image, mask, 255)[1] == 1).sum() == pixels


def test_zoom_is_log_uniform_and_a_zoomed_crop_stays_on_the_picture() -> None:
    config = WARPED.model_copy(update={"scale": (0.5, 2.0)})
    image, mask = np.full((40, 64, 3), 9, np.uint8), np.zeros((40, 64), np.uint8)
    augment = Augmenter(config, 255, crop=(20, 32))
    # From half the size on, the zoomed picture covers the whole window.
    assert all(not augment(image, mask, seed)[1].any() for seed in range(100))
    steps = coordinates()
    zooms = [31 / np.ptp(augment(*steps, seed)[0][..., 1].astype(float)) for seed in range(400)]
    assert 0.4 < np.mean(np.array(zooms) > 1) < 0.6


def test_a_crop_of_a_zoomed_out_picture_has_an_ignored_border_at_changing_sides() -> None:
    config = WARPED.model_copy(update={"scale": (0.5, 0.5)})
    image, mask = coordinates()
    augment = Augmenter(config, 255, crop=(40, 64))
    firsts = set()
    for seed in range(60):
        ids = augment(image, mask, seed)[1]
        assert abs((ids != 255).sum() - 20 * 32) <= 40 + 64
        firsts.add(int(np.argmax((ids != 255).any(axis=1))))
    assert {min(firsts), max(firsts)} <= {*range(3), *range(18, 21)}
    assert len(firsts) > 10


def test_shift_moves_whole_pictures_and_has_no_part_in_a_crop() -> None:
    image, mask = coordinates()
    shifted = Augmenter(WARPED.model_copy(update={"shift": 0.5}), 255)
    assert max((shifted(image, mask, seed)[1] == 255).mean() for seed in range(30)) > 0.4
    cropped = Augmenter(WARPED.model_copy(update={"shift": 0.5}), 255, crop=(30, 50))
    assert all((cropped(image, mask, seed)[1] != 255).all() for seed in range(30))


def test_only_what_changes_colours_needs_albumentations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    Augmenter(AugmentConfig(color=0, blur=0, noise=0), crop=(8, 8))(*coordinates(), 0)


def test_batches_of_crops_are_the_same_for_seed_epoch_and_item(cached: CachedSplit) -> None:
    loader = BatchLoader(cached, 4, crop=(16, 24), seed=1)
    first, again, other = (
        loader.batch(0, 0),
        BatchLoader(cached, 4, crop=(16, 24), seed=1),
        loader.batch(1, 0),
    )
    assert (first[0].shape, first[1].shape) == ((4, 16, 24, 3), (4, 16, 24))
    assert loader.batch(0, 1)[0].shape == (2, 16, 24, 3)
    np.testing.assert_array_equal(first[0], again.batch(0, 0)[0])
    assert (first[0] != other[0]).any()
    # Another order or batch size leaves an image's own window as it is.
    shuffled = BatchLoader(cached, 6, crop=(16, 24), seed=1, shuffle=True).batch(0, 0)[0]
    assert all(any((image == one).all() for one in shuffled) for image in first[0])


@pytest.mark.parametrize("crop", [(HEIGHT + 1, 8), (8, WIDTH + 1), (0, 8)])
def test_a_crop_larger_than_the_images_is_refused(cached: CachedSplit, crop: tuple[int, int]) -> None:
    message = rf"crop: expected .* at most the prepared images' 40x64, found {crop[0]}x{crop[1]}.*--crop"
    with pytest.raises(UsageError, match=message):
        BatchLoader(cached, 2, crop=crop)
    with pytest.raises(UsageError, match=message):
        Augmenter(NONE, crop=crop)(*coordinates(), 0)
