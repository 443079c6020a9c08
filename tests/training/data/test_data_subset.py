"""A fraction of a split: the same images for a seed, counted anew, read from the split's own files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.data.subset import CachedSubset, subset


@pytest.fixture
def cached(make_folder, write_pair, tmp_path: Path) -> CachedSplit:
    root = make_folder(count=10, labels="classes: [ground, road, car]\nignore: [9]\n")
    # One image has an ignored part, so that the counts differ between subsets.
    mask = np.zeros((24, 32), np.uint8)
    mask[:12] = 9
    write_pair(root / "train", "frame_003", np.full((24, 32, 3), 77, np.uint8), mask)
    return prepare(open_dataset(f"folder:{root}"), "train", 24, 32, cache_dir=tmp_path / "cache")


def test_the_whole_is_the_split_itself(cached: CachedSplit) -> None:
    assert subset(cached, 1, seed=3) is cached


@pytest.mark.parametrize(("fraction", "count"), [(0.001, 1), (0.1, 1), (0.44, 4), (0.5, 5), (0.99, 10)])
def test_at_least_one_image_and_about_the_share(cached: CachedSplit, fraction: float, count: int) -> None:
    part = subset(cached, fraction, seed=0)
    assert len(part) == len(part.images) == len(part.masks) == len(part.names) == count
    assert part.images.shape == (count, 24, 32, 3)


def test_it_holds_the_images_it_names(cached: CachedSplit) -> None:
    part = subset(cached, 0.5, seed=1)
    rows = [cached.names.index(name) for name in part.names]
    assert rows == sorted(rows)
    np.testing.assert_array_equal(np.asarray(part.images), cached.images[rows])
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(part.masks[index], cached.masks[row])
    np.testing.assert_array_equal(part.images[1:3], cached.images[rows[1:3]])
    np.testing.assert_array_equal(part.masks[np.array([4, 0])], cached.masks[[rows[4], rows[0]]])
    with pytest.raises(IndexError):
        part.images[5]


def test_the_seed_decides_and_a_larger_fraction_holds_the_smaller(cached: CachedSplit) -> None:
    parts = {share: subset(cached, share, seed=2) for share in (0.2, 0.5, 0.8)}
    assert subset(cached, 0.5, seed=2).names == parts[0.5].names
    assert set(parts[0.2].names) < set(parts[0.5].names) < set(parts[0.8].names)
    assert len({subset(cached, 0.3, seed).names for seed in range(10)}) > 5


def test_histogram_and_fingerprint_are_its_own(cached: CachedSplit) -> None:
    for seed in range(8):
        part = subset(cached, 0.4, seed)
        masks = np.asarray(part.masks)
        np.testing.assert_array_equal(part.histogram, [(masks == c).sum() for c in range(3)])
        assert part.ignored == (masks == 255).sum()
    prints = {subset(cached, 0.4, seed).names: subset(cached, 0.4, seed).fingerprint for seed in range(8)}
    assert len(set(prints.values())) == len(prints)
    assert cached.fingerprint not in prints.values()


def test_no_pixel_is_copied_before_it_is_asked_for_or_sent_to_a_process(cached: CachedSplit) -> None:
    part = subset(cached, 0.5, seed=1)
    sent = pickle.dumps(part)
    assert len(sent) < 2000
    again = pickle.loads(sent)
    assert isinstance(again, CachedSubset)
    assert (again.names, again.fingerprint, again.ignored) == (part.names, part.fingerprint, part.ignored)
    np.testing.assert_array_equal(again.histogram, part.histogram)
    np.testing.assert_array_equal(np.asarray(again.images), np.asarray(part.images))


@pytest.mark.parametrize("augment", [None, AugmentConfig()])
def test_batches_of_it_hold_nothing_else(cached: CachedSplit, augment: AugmentConfig | None) -> None:
    part = subset(cached, 0.5, seed=1)
    options = {"augment": augment, "shuffle": True, "crop": (16, 16) if augment else None}
    alone = BatchLoader(part, 2, **options)
    assert alone.steps_per_epoch == 3
    with BatchLoader(part, 2, workers=1, **options) as loader:
        for index in range(3):
            for one, other in zip(loader.batch(1, index), alone.batch(1, index), strict=True):
                np.testing.assert_array_equal(one, other)
    if augment is None:
        images = np.concatenate([alone.batch(0, index)[0] for index in range(3)])
        assert sorted(image.tobytes() for image in images) == sorted(i.tobytes() for i in part.images)


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, float("nan")])
def test_a_fraction_out_of_its_range_is_refused(cached: CachedSplit, fraction: float) -> None:
    with pytest.raises(UsageError, match=r"fraction: expected above 0 to 1"):
        subset(cached, fraction, seed=0)
