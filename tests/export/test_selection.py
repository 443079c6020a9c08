from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import DataError, UsageError
from edgeseg.export import selection
from edgeseg.export.selection import calibration_items, chosen_split, refuse_overlap, spread
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


def calibration_set(dataset, split, count, height, width, *more):
    items = calibration_items(dataset, split, count)
    return selection.calibration_set(dataset, split, items, height, width, *more)


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
    calibrated = ("train", calibration_items(shared, "train", 128))
    refuse_overlap(shared, calibrated, ("val", 256))
    with pytest.raises(UsageError, match="4 that are in both"):
        refuse_overlap(shared, calibrated, ("dev", 256))
    with pytest.raises(DataError, match="nowhere"):
        refuse_overlap(shared, calibrated, ("nowhere", 256))


def test_the_same_name_in_two_splits_is_not_the_same_image(dataset) -> None:
    splits = {
        split: [Item("0001", Path(split, "0001.png"), Path(split, "0001.png"))] for split in ("train", "val")
    }
    refuse_overlap(dataclasses.replace(dataset, splits=splits), ("train", splits["train"]), ("val", 1))


class Labelled:
    """Ten images of one class each, by their names, as far as calibration looks at a dataset."""

    def __init__(self, dataset, classes) -> None:
        self.labels, self._classes = dataset.labels, classes

    def items(self, split):
        return [Item(str(index)) for index in range(len(self._classes))]

    def read_mask(self, item):
        return np.full((2, 2), self._classes[int(item.name)], np.uint8)


def test_a_class_that_spreading_misses_is_looked_for(dataset) -> None:
    chosen = calibration_items(Labelled(dataset, [0] * 8 + [1, 2]), "train", 4)
    assert len(chosen) == 4
    assert {"8", "9"} <= {item.name for item in chosen}


def test_nothing_changes_where_every_class_is_there_or_nowhere(dataset) -> None:
    everywhere = Labelled(dataset, list(range(8)))
    assert calibration_items(everywhere, "train", 8) == spread(everywhere.items("train"), 8)
    nowhere = Labelled(dataset, [0] * 9)
    assert calibration_items(nowhere, "train", 3) == spread(nowhere.items("train"), 3)


def test_classes_that_no_image_holds_are_recorded(dataset) -> None:
    described = calibration_set(dataset, "train", 24, 24, 32).described
    seen = set(np.unique([sample.mask for sample in dataset.samples("train")]))
    assert set(described.absent_classes) == {c.name for c in dataset.labels.classes if c.id not in seen}
