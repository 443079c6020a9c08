"""Batches and augmentation: determined by (seed, epoch, index), complete, and fast enough."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from edgeseg.errors import DataError, MissingExtraError, UsageError
from edgeseg.training.data import CachedSplit, open_dataset, prepare
from edgeseg.training.data.augment import AugmentConfig, Augmenter
from edgeseg.training.data.draws import draw_epoch
from edgeseg.training.data.loader import BatchLoader

SIZE = 32


@pytest.fixture
def cached(make_folder, tmp_path: Path) -> CachedSplit:
    dataset = open_dataset(f"folder:{make_folder(count=10)}")
    return prepare(dataset, "train", SIZE, SIZE, cache_dir=tmp_path / "cache")


def epoch_of(loader: BatchLoader, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    batches = [loader.batch(epoch, index) for index in range(loader.steps_per_epoch)]
    return np.concatenate([b[0] for b in batches]), np.concatenate([b[1] for b in batches])


def test_without_shuffling_a_batch_is_a_view_of_the_cache(cached: CachedSplit) -> None:
    loader = BatchLoader(cached, 4)
    assert loader.steps_per_epoch == 3
    images, masks = loader.batch(5, 2)
    assert (images.shape, masks.shape, images.dtype) == ((2, SIZE, SIZE, 3), (2, SIZE, SIZE), np.uint8)
    assert np.shares_memory(images, cached.images)
    np.testing.assert_array_equal(epoch_of(loader, 0)[1], cached.masks)


def test_shuffled_every_image_comes_once_with_its_mask_and_in_another_order(cached: CachedSplit) -> None:
    loader = BatchLoader(cached, 4, shuffle=True, seed=1)
    orders = []
    for epoch in (0, 1):
        images, masks = epoch_of(loader, epoch)
        order = [next(n for n in range(10) if (cached.images[n] == image).all()) for image in images]
        np.testing.assert_array_equal(masks, cached.masks[order])
        orders.append(order)
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]


def test_the_rest_of_an_epoch_can_be_left_out(cached: CachedSplit) -> None:
    loader = BatchLoader(cached, 4, drop_remainder=True)
    assert loader.steps_per_epoch == 2
    with pytest.raises(IndexError, match="batch 2 of 2"):
        loader.batch(0, 2)
    for size, drop in ((0, False), (11, True)):
        with pytest.raises(UsageError, match=r"batch size.*positive|1 to the split's 10"):
            BatchLoader(cached, size, drop_remainder=drop)
    assert BatchLoader(cached, 11).steps_per_epoch == 1


@pytest.mark.parametrize("crop", [None, (16, 24)])
def test_workers_threads_and_order_of_asking_change_nothing(
    cached: CachedSplit, crop: tuple[int, int] | None
) -> None:
    options = {"augment": AugmentConfig(), "crop": crop, "seed": 3, "shuffle": True}
    alone = BatchLoader(cached, 4, **options)
    expected = {(epoch, index): alone.batch(epoch, index) for epoch in (0, 1) for index in range(3)}
    backwards = {key: alone.batch(*key) for key in reversed(expected)}
    with BatchLoader(cached, 4, workers=2, **options) as loader, ThreadPoolExecutor(3) as threads:
        straight = dict(zip(expected, (loader.batch(*key) for key in expected), strict=True))
        jumbled = [*list(expected)[::-1], *list(expected)[::2]]
        many = list(zip(jumbled, threads.map(lambda key: loader.batch(*key), jumbled), strict=True))
    for key, got in (*backwards.items(), *straight.items(), *many):
        np.testing.assert_array_equal(got[0], expected[key][0])
        np.testing.assert_array_equal(got[1], expected[key][1])


def test_seed_and_epoch_change_the_pictures(cached: CachedSplit) -> None:
    def first(seed: int, epoch: int) -> np.ndarray:
        return BatchLoader(cached, 10, augment=AugmentConfig(), seed=seed).batch(epoch, 0)[0]

    assert (first(0, 0) != first(0, 1)).any()
    assert (first(0, 0) != first(1, 0)).any()
    np.testing.assert_array_equal(first(2, 7), first(2, 7))


def test_a_loader_without_augmentation_starts_no_process(cached: CachedSplit) -> None:
    with BatchLoader(cached, 4, augment=AugmentConfig.none(), workers=4) as loader:
        np.testing.assert_array_equal(loader.batch(0, 0)[0], cached.images[:4])
        loader.close()
        assert loader.batch(0, 1)[0].shape[0] == 4


def test_a_killed_worker_is_said(cached: CachedSplit) -> None:
    with BatchLoader(cached, 4, augment=AugmentConfig(), workers=1) as loader:
        loader.batch(0, 0)
        for process in multiprocessing.active_children():
            process.kill()
            process.join()
        with pytest.raises(DataError, match=r"worker process.*killed.*fewer workers"):
            for index in range(30):
                loader.batch(index, 0)


def test_workers_import_no_training_framework(cached: CachedSplit, tmp_path: Path) -> None:
    for name in ("keras", "tensorflow"):
        (tmp_path / "fakes" / name).mkdir(parents=True)
        marker = tmp_path / f"{name}-was-imported"
        (tmp_path / "fakes" / name / "__init__.py").write_text(f"open({str(marker)!r}, 'w').close()")
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from edgeseg.training.data.augment import AugmentConfig\n"
        "from edgeseg.training.data.cache import open_cached\n"
        "from edgeseg.training.data.loader import BatchLoader\n"
        "if __name__ == '__main__':\n"
        f"    cached = open_cached(Path({str(cached.path)!r}))\n"
        "    with BatchLoader(cached, 4, augment=AugmentConfig(), workers=1) as loader:\n"
        "        print(loader.batch(0, 0)[0].shape)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "fakes")}
    ended = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, env=environment, check=False
    )
    assert ended.stdout.strip() == "(4, 32, 32, 3)", ended.stderr
    assert not list(tmp_path.glob("*-was-imported"))


def test_augmentation_is_the_same_for_a_seed_and_leaves_its_input_alone() -> None:
    image, mask = _scene()
    before = image.copy(), mask.copy()
    augment = Augmenter(AugmentConfig())
    first = augment(image, mask, 11)
    for seed in range(5):
        augment(image, mask, seed)
    for got, expected in zip(augment(image, mask, 11), first, strict=True):
        np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])


def test_geometry_moves_image_and_mask_together_and_ignores_the_border() -> None:
    mask = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4), 16, 0), 16, 1)
    image = np.repeat(mask[..., None] * 10 + 20, 3, axis=2)
    config = AugmentConfig(color=0, blur=0, noise=0, horizontal_flip=0.5, geometry=1)
    augment = Augmenter(config, ignore_index=255)
    ignored = 0
    for seed in range(40):
        moved, ids = augment(image, mask, seed)
        inside = ids != 255
        ignored += int((~inside).sum())
        # Away from edges, where the picture is interpolated, brightness still tells the class.
        same = np.abs(moved[..., 0].astype(int) - (ids.astype(int) * 10 + 20)) <= 1
        assert same[inside].mean() > 0.75
        assert set(np.unique(ids[inside])) <= set(range(16))
    assert ignored > 0


@pytest.mark.parametrize("name", ["horizontal_flip", "geometry", "color", "blur", "noise"])
def test_each_setting_does_something_and_none_does_nothing(name: str) -> None:
    image, mask = _scene()
    config = AugmentConfig.none()
    assert not config.enabled
    np.testing.assert_array_equal(Augmenter(config)(image, mask, 0)[0], image)
    only = config.model_copy(update={name: 1.0})
    changed, ids = Augmenter(only)(image, mask, 0)
    assert only.enabled
    assert (changed != image).any()
    assert (ids != mask).any() == (name in ("horizontal_flip", "geometry"))


@pytest.mark.parametrize("name", ["blur", "noise"])
def test_a_strength_is_as_strong_as_it_says(name: str) -> None:
    """On the host and on the device alike."""
    image, mask = _scene()
    weak, strong = ((0.3, 0.3), (3.0, 3.0)) if name == "blur" else ((0.01, 0.01), (0.2, 0.2))
    changes = []
    for strength in (weak, strong):
        only = AugmentConfig.none().model_copy(update={name: 1.0, f"{name}_sigma": strength})
        changes.append(np.abs(Augmenter(only)(image, mask, 0)[0].astype(float) - image).mean())
        draws = draw_epoch(only, size=image.shape[:2], crop=None, noise_store=64, count=3, seed=1, epoch=0)
        if name == "noise":
            assert draws.noise == pytest.approx([255 * strength[0]] * 3)
        else:
            near = np.exp(-0.5 / strength[0] ** 2)
            far = draws.blur[:, 1] / (1 - 2 * draws.blur.sum(axis=1))
            assert draws.blur[:, 0] / (1 - 2 * draws.blur.sum(axis=1)) == pytest.approx([near] * 3, rel=1e-3)
            assert (far < near).all()
    assert changes[1] > 2 * changes[0]


def test_settings_out_of_range_are_refused() -> None:
    for bad in (
        {"horizontal_flip": 1.5},
        {"scale": (1.5, 0.5)},
        {"rotate": -1},
        {"vertical_flip": 1},
        {"noise_sigma": (5, 20)},
    ):
        with pytest.raises(ValidationError):
            AugmentConfig(**bad)


def test_a_missing_albumentations_is_said(monkeypatch: pytest.MonkeyPatch, cached: CachedSplit) -> None:
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(MissingExtraError, match=r"edgeseg\[train\]"):
        BatchLoader(cached, 2, augment=AugmentConfig(), workers=2)


def _scene() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), rng.integers(0, 5, (SIZE, SIZE), np.uint8)
