"""Corruptions: each changes the picture, more with each severity, the same way every time."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeseg.benchmarks.corruptions import CORRUPTIONS, SEVERITIES, corrupt, corrupt_mask
from edgeseg.camera.scene import StreetScene
from edgeseg.errors import UnknownNameError, UsageError

STEADY = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg"}
"""Those that draw nothing at random."""
LOCAL = {"defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "pixelate"}
"""Those whose lengths are shares of the picture's height, with nothing else in them."""


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    """A drawn street, as soft as a lens leaves it: in bare noise, larger pixels may be nearer the picture."""
    return cv2.GaussianBlur(StreetScene(360, 480, 3, 30).draw(40), (0, 0), 1)


def test_fifteen_of_imagenet_c_and_four_of_the_camera() -> None:
    assert Counter(c.group for c in CORRUPTIONS.values()) == {
        "noise": 3, "blur": 4, "weather": 4, "digital": 4, "camera": 4,
    }  # fmt: skip


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("size", [(48, 64), (181, 143), (180, 400)])
def test_shape_and_kind_are_kept_and_the_picture_is_left_alone(name: str, size: tuple[int, int]) -> None:
    image = StreetScene(*size, 1, 30).draw(5)
    before = image.copy()
    for severity in (1, 5):
        spoilt = corrupt(image, name, severity)
        assert (spoilt.shape, spoilt.dtype) == (image.shape, np.uint8)
        assert _difference(spoilt, image) > 0.3
    assert np.array_equal(image, before)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_damage_grows_with_the_severity(name: str, street: np.ndarray) -> None:
    for index in range(4):
        damage = [_difference(corrupt(street, name, s, index=index), street) for s in SEVERITIES]
        assert all(less < more for less, more in pairwise(damage)), damage


@pytest.mark.data
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_damage_grows_with_the_severity_on_real_pictures(name: str, shared_data: Path) -> None:
    for index, line in enumerate((shared_data / "camvid/val.txt").read_text().splitlines()[::50]):
        bgr = cv2.imread(str(shared_data / "camvid" / line.split()[0]))
        damage = [_difference(corrupt(bgr, name, s, index=index), bgr) for s in SEVERITIES]
        assert all(less < more for less, more in pairwise(damage)), damage


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_seed_and_index_decide(name: str, street: np.ndarray) -> None:
    first = corrupt(street, name, 3, seed=5, index=7)
    assert np.array_equal(first, corrupt(street, name, 3, seed=5, index=7))
    for other in ({"seed": 5, "index": 8}, {"seed": 6, "index": 7}):
        assert np.array_equal(first, corrupt(street, name, 3, **other)) == (name in STEADY)


def test_another_process_gets_the_same_pixels() -> None:
    street = StreetScene(90, 120, 3, 30).draw(40)
    code = (
        "import hashlib; from edgeseg.benchmarks.corruptions import CORRUPTIONS, corrupt; "
        "from edgeseg.camera.scene import StreetScene; street = StreetScene(90, 120, 3, 30).draw(40); "
        "print(*(hashlib.sha256(corrupt(street, n, 2, seed=1, index=2)).hexdigest() for n in CORRUPTIONS))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    here = [hashlib.sha256(corrupt(street, n, 2, seed=1, index=2)).hexdigest() for n in CORRUPTIONS]
    assert ran.stdout.split() == here


def test_more_severe_is_the_same_and_more(street: np.ndarray) -> None:
    for name in ("dropped_rows", "impulse_noise"):
        changed = [np.any(corrupt(street, name, s) != street, axis=-1) for s in SEVERITIES]
        if name == "dropped_rows":
            # A row that repeats another may by chance be the one that belongs there.
            changed = [rows.mean(axis=1) > 0.2 for rows in changed]
        for less, more in pairwise(changed):
            assert np.mean(more[less]) > 0.98


def test_labels_move_with_the_waves() -> None:
    """A picture that shows its own labels shows them after the waves too, and no more where they were."""
    mask = (np.indices((160, 240)).sum(axis=0) // 30 % 2).astype(np.uint8)
    picture = np.repeat(255 * mask[..., None], 3, axis=2)
    for severity in SEVERITIES:
        seen = corrupt(picture, "elastic", severity, index=3)[..., 0] > 127
        moved = corrupt_mask(mask, "elastic", severity, index=3)
        assert np.mean(seen != moved) < 0.01
        assert np.mean(seen != mask) > 2 * np.mean(seen != moved)
        assert set(np.unique(moved)) == {0, 1}


@pytest.mark.parametrize("name", sorted(CORRUPTIONS.keys() - {"elastic"}))
def test_all_others_leave_the_labels(name: str) -> None:
    mask = np.random.default_rng(0).integers(0, 5, (40, 60)).astype(np.uint8)
    assert corrupt_mask(mask, name, 5) is mask


@pytest.mark.parametrize("name", ["defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "pixelate"])
@pytest.mark.parametrize("severity", [1, 5])
def test_blurs_lie_evenly_about_their_pixel(name: str, severity: int) -> None:
    """A bright square off the middle keeps its centre: where a label says that it is."""
    picture = np.zeros((224, 224, 3), np.uint8)
    picture[60:81, 140:161] = 255
    spread = corrupt(picture, name, severity)[..., 0].astype(float)
    rows, columns = np.indices(spread.shape)
    center = (spread * rows).sum() / spread.sum(), (spread * columns).sum() / spread.sum()
    assert center == pytest.approx((70, 150), abs=1.0)
    assert np.count_nonzero(spread) > 21 * 21


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_lengths_are_shares_of_the_height(name: str, street: np.ndarray) -> None:
    """Twice as large a picture, spoilt and halved, is the small one spoilt."""
    street = cv2.resize(street, (336, 252), interpolation=cv2.INTER_AREA)
    large = cv2.resize(street, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    halved = cv2.resize(corrupt(large, name, 4), street.shape[1::-1], interpolation=cv2.INTER_AREA)
    small = corrupt(street, name, 4)
    assert _difference(halved, small) < 0.4 * _difference(small, street)


def test_noise_is_as_strong_as_published() -> None:
    grey = np.full((300, 400, 3), 128, np.uint8)
    for severity, deviation in zip(SEVERITIES, (0.08, 0.12, 0.18), strict=False):
        assert corrupt(grey, "gaussian_noise", severity).std() == pytest.approx(255 * deviation, rel=0.02)
    for severity, photons in zip(SEVERITIES, (60, 25, 12, 5), strict=False):
        noisy = corrupt(grey // 2, "shot_noise", severity).astype(float)
        assert noisy.mean() == pytest.approx(64, rel=0.02)
        assert noisy.var() == pytest.approx(64 * 255 / photons, rel=0.06)
    for severity, share in zip(SEVERITIES, (0.03, 0.06, 0.09, 0.17, 0.27), strict=True):
        noisy = corrupt(grey, "impulse_noise", severity)
        assert np.mean(noisy == 0) == pytest.approx(share / 2, rel=0.06)
        assert np.mean(noisy == 255) == pytest.approx(share / 2, rel=0.06)


def test_contrast_and_brightness_are_as_published(street: np.ndarray) -> None:
    means = street.mean(axis=(0, 1))
    for severity, kept in zip(SEVERITIES, (0.4, 0.3, 0.2, 0.1, 0.05), strict=True):
        expected = means + kept * (street - means)
        assert np.abs(corrupt(street, "contrast", severity) - expected).max() <= 0.51
        raised = corrupt(street, "brightness", severity).max(axis=-1)
        target = np.minimum(255, street.max(axis=-1).astype(int) + 25.5 * severity)
        assert np.abs(raised - target).max() <= 1


def test_fog_takes_what_is_far() -> None:
    stripes = np.zeros((200, 300, 3), np.uint8)
    stripes[:, ::2] = 200
    contrast = np.abs(np.diff(corrupt(stripes, "fog", 3)[..., 0].astype(int), axis=1)).mean(axis=1)
    horizon, near = contrast[90], contrast[-1]
    assert near > 2 * horizon
    assert horizon < 60
    assert np.all(np.diff(contrast[110:].reshape(9, 10).mean(axis=1)) > 0)


def test_lost_rows_are_black_or_come_again(street: np.ndarray) -> None:
    spoilt = corrupt(street, "dropped_rows", 4)
    kinds = Counter(_kind_of_row(spoilt, street, row) for row in range(len(street)))
    assert kinds["other"] == 0
    assert kinds["black"] > 5
    assert kinds["repeated"] > 5
    assert 0.25 < (kinds["black"] + kinds["repeated"]) / len(street) < 0.45


def test_bars_lie_across_the_picture() -> None:
    white = np.full((200, 100, 3), 250, np.uint8)
    spoilt = corrupt(white, "rolling_bars", 5)
    assert np.all(spoilt == spoilt[:, :1])
    assert spoilt.min() < 30
    assert spoilt.max() > 220


def test_names_and_severities_that_do_not_exist(street: np.ndarray) -> None:
    with pytest.raises(UnknownNameError, match=r"corruption 'fogg': expected one of gaussian_noise, .*fog"):
        corrupt(street, "fogg", 1)
    for severity in (0, 6):
        with pytest.raises(UsageError, match="from 1 to 5"):
            corrupt(street, "fog", severity)


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def _kind_of_row(spoilt: np.ndarray, original: np.ndarray, row: int) -> str:
    if np.array_equal(spoilt[row], original[row]):
        return "whole"
    if not spoilt[row].any():
        return "black"
    return "repeated" if row and np.array_equal(spoilt[row], spoilt[row - 1]) else "other"
