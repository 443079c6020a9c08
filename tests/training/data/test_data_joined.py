"""Two splits as one: the rows of both, wherever they are asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from edgeseg.errors import LabelError
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig
from edgeseg.training.data.joined import joined
from edgeseg.training.data.loader import BatchLoader
from edgeseg.training.data.subset import subset
from edgeseg.training.recipe import make_recipe
from edgeseg.training.training_split import training_split


@pytest.fixture
def splits(make_folder, tmp_path: Path) -> tuple[CachedSplit, CachedSplit]:
    yards = [open_dataset(f"folder:{make_folder(count, name=name)}") for count, name in ((5, "a"), (3, "b"))]
    first, second = (prepare(yard, "train", 24, 32, cache_dir=tmp_path / "cache") for yard in yards)
    return subset(first, 0.8, seed=1), second


def test_rows_are_the_first_s_and_then_the_second_s(splits: tuple[CachedSplit, CachedSplit]) -> None:
    whole = joined(*splits)
    for kind in ("images", "masks"):
        parts = np.concatenate([np.asarray(getattr(split, kind)) for split in splits])
        rows = getattr(whole, kind)
        np.testing.assert_array_equal(np.asarray(rows), parts)
        for index in (0, 3, 4, -1, slice(2, 6), np.array([6, 0, 4])):
            np.testing.assert_array_equal(rows[index], parts[index])
        with pytest.raises(IndexError):
            rows[7]
    assert len(whole) == len(whole.names) == len({*whole.names}) == 7


def test_counts_add_up_and_the_fingerprint_is_of_both(splits: tuple[CachedSplit, CachedSplit]) -> None:
    whole = joined(*splits)
    np.testing.assert_array_equal(whole.histogram, np.bincount(np.asarray(whole.masks).ravel(), minlength=3))
    assert len({whole.fingerprint, joined(*reversed(splits)).fingerprint, splits[0].fingerprint}) == 3


def test_another_process_maps_the_same_rows(splits: tuple[CachedSplit, CachedSplit]) -> None:
    whole = joined(*splits)
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(np.asarray(again.images), np.asarray(whole.images))
    assert len(pickle.dumps(whole)) < 10_000


def test_a_loader_gives_every_image_once(splits: tuple[CachedSplit, CachedSplit]) -> None:
    whole = joined(*splits)
    loader = BatchLoader(whole, 3, augment=AugmentConfig.none(), shuffle=True, seed=2)
    images = np.concatenate([loader.batch(0, index)[0] for index in range(loader.steps_per_epoch)])
    assert sorted(image.tobytes() for image in images) == sorted(image.tobytes() for image in whole.images[:])


def test_other_classes_are_refused_before_anything_is_decoded(make_folder) -> None:
    own, other = (
        f"folder:{make_folder(labels=f'classes: [ground, road, {name}]', name=name)}"
        for name in ("car", "bus")
    )
    recipe = make_recipe({"data": own, "extra_data": other, "size": [24, 32]})
    with pytest.raises(LabelError, match=r"--extra-data: .* ground, road, car, found ground, road, bus"):
        training_split(recipe, open_dataset(own))


def test_a_fraction_is_of_the_dataset_s_own_images(make_folder) -> None:
    own, extra = (f"folder:{make_folder(4, name=name)}" for name in ("own", "extra"))
    recipe = make_recipe({"data": own, "extra_data": extra, "size": [24, 32], "fraction": 0.5})
    seen = []
    split = training_split(recipe, open_dataset(own), lambda name, *_: seen.append(name))
    assert len(split) == 2 + 4
    assert {*seen} == {"train", "extra train"}


def test_a_recipe_without_extra_data_has_the_hash_of_before(make_folder) -> None:
    recipe = make_recipe({"data": "synthetic"})
    assert recipe.hash() == make_recipe({"data": "synthetic", "extra_data": None}).hash()
    assert recipe.hash() != make_recipe({"data": "synthetic", "extra_data": "folder:made"}).hash()
