from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import DataError, UsageError
from edgeseg.export.selection import calibration_set, chosen_split, refuse_overlap, spread
from edgeseg.training.data.dataset import Item


@pytest.mark.parametrize(("items", "count"), [(367, 100), (10, 3), (5, 5), (7, 1)])
def test_spread_takes_as_many_as_asked_in_order_from_all_over(items, count) -> None:
    taken = spread(range(items), count)
    assert len(taken) == count
    assert taken == sorted(set(taken))
    gaps = np.diff([-1, *taken, items])
    assert gaps.max() <= 2 * items / count + 1


def test_spread_takes_all_where_there_are_no_more() -> None:
    assert spread(range(4), 9) == [0, 1, 2, 3]


def test_calibration_is_of_the_split_at_the_models_size(dataset) -> None:
    calibration = calibration_set(dataset, "train", 5, 24, 32)
    assert calibration.frames.shape == (5, 24, 32, 3)
    assert calibration.frames.dtype == np.uint8
    assert (calibration.described.split, calibration.described.samples) == ("train", 5)


def test_the_fingerprint_follows_the_pixels(dataset) -> None:
    same = [calibration_set(dataset, "train", 4, 24, 32).described.fingerprint for _ in range(2)]
    assert same[0] == same[1]
    assert calibration_set(dataset, "train", 5, 24, 32).described.fingerprint != same[0]
    other = dataclasses.replace(dataset, splits={**dataset.splits, "train": dataset.splits["val"]})
    assert calibration_set(other, "train", 4, 24, 32).described.fingerprint != same[0]


def test_progress_reaches_its_end(dataset) -> None:
    said = []
    calibration_set(dataset, "train", 4, 24, 32, lambda finished, total: said.append((finished, total)))
    assert said == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("asked", "recorded", "chosen"),
    [("test", "train", "test"), (None, "train", "train"), (None, "elsewhere", "val"), (None, None, "val")],
)
def test_a_split_is_as_asked_or_as_recorded_or_the_usual_one(dataset, asked, recorded, chosen) -> None:
    assert chosen_split(dataset, asked, recorded, "val") == chosen


def test_splits_that_share_images_do_not_calibrate_and_measure(dataset) -> None:
    splits = {**dataset.splits, "dev": dataset.splits["train"][20:]}
    shared = dataclasses.replace(dataset, splits=splits)
    refuse_overlap(shared, ("train", 128), ("val", 256))
    with pytest.raises(UsageError, match="4 that are in both"):
        refuse_overlap(shared, ("train", 128), ("dev", 256))
    with pytest.raises(DataError, match="nowhere"):
        refuse_overlap(shared, ("train", 128), ("nowhere", 256))


def test_the_same_name_in_two_splits_is_not_the_same_image(dataset) -> None:
    splits = {
        split: [Item("0001", Path(split, "0001.png"), Path(split, "0001.png"))] for split in ("train", "val")
    }
    refuse_overlap(dataclasses.replace(dataset, splits=splits), ("train", 1), ("val", 1))
