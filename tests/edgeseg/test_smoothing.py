"""A class changes when it has won as many masks in a row as were asked for, and not before."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.loop.smoothing import Smoother, flicker


def shown(values: str, frames: int, num_classes: int = 10) -> str:
    """What a pixel shows when the model gives it these classes, one a frame."""
    smoother = Smoother(num_classes, frames)
    result = ""
    for value in values:
        mask = np.full((2, 3), int(value), np.uint8)
        smoother.apply(mask)
        assert (mask == mask[0, 0]).all()
        result += str(mask[0, 0])
    return result


@pytest.mark.parametrize(
    ("frames", "given", "expected"),
    [
        (1, "0123210", "0123210"),
        (2, "0111000", "0011100"),
        (3, "0001111", "0000011"),
        (3, "0110110111", "0000000001"),  # two in a row never are enough
        (3, "0121212", "0000000"),  # two rivals stop each other
        (3, "0122222", "0000222"),
        (3, "0011100111", "0000111111"),
        (3, "000999", "000000"),  # 9 is no class of 9
    ],
)
def test_hand_computed_sequences(frames: int, given: str, expected: str) -> None:
    assert shown(given, frames, num_classes=9) == expected


@pytest.mark.parametrize("frames", [1, 2, 5, 250])
def test_the_lag_is_what_is_stated(frames: int) -> None:
    smoother = Smoother(3, frames)
    before, lag = np.zeros((4, 4), np.uint8), 0
    smoother.apply(before)
    while True:
        mask = np.ones((4, 4), np.uint8)
        smoother.apply(mask)
        if mask.all():
            break
        lag += 1
    assert lag == frames - 1


def test_a_long_run_of_rivals_does_not_wrap_around() -> None:
    assert shown("0" + "12" * 300, 250) == "0" * 601


def test_a_new_epoch_and_a_new_size_start_afresh() -> None:
    smoother = Smoother(3, 4)
    smoother.apply(np.zeros((4, 4), np.uint8), epoch=1)
    for mask, epoch in ((np.full((4, 4), 1, np.uint8), 2), (np.full((2, 8), 2, np.uint8), 2)):
        expected = mask.copy()
        smoother.apply(mask, epoch)
        np.testing.assert_array_equal(mask, expected)


def test_pixels_are_held_one_by_one() -> None:
    smoother = Smoother(3, 2)
    smoother.apply(np.zeros((1, 3), np.uint8))
    for row in ([0, 1, 2], [1, 1, 0], [0, 1, 2]):
        mask = np.array([row], np.uint8)
        smoother.apply(mask)
    assert mask.tolist() == [[0, 1, 0]]


def test_noise_flickers_less() -> None:
    random = np.random.default_rng(0)
    smoother, plain, smooth = Smoother(4, 3), [], []
    for _ in range(20):
        mask = np.where(random.random((64, 64)) < 0.1, random.integers(0, 4, (64, 64)), 1).astype(np.uint8)
        plain.append(mask.copy())
        smoother.apply(mask)
        smooth.append(mask)
    noisy, calm = (np.mean([flicker(a, b) for a, b in pairwise(masks[5:])]) for masks in (plain, smooth))
    assert noisy > 0.1
    assert calm < noisy / 10


def test_flicker_is_a_share_of_what_stands_still() -> None:
    before, after = np.zeros((2, 4), np.uint8), np.array([[1, 0, 0, 0], [1, 0, 0, 2]], np.uint8)
    assert flicker(before, after) == 3 / 8
    still = np.array([[1, 1, 1, 1], [0, 0, 0, 0]], bool)
    assert flicker(before, after, still) == 1 / 4
    assert flicker(before, after, np.zeros((2, 4), bool)) == 0


@pytest.mark.parametrize(("classes", "frames"), [(0, 3), (257, 3), (3, 0), (3, 251)])
def test_numbers_out_of_range(classes: int, frames: int) -> None:
    with pytest.raises(UsageError, match="expected 1 to"):
        Smoother(classes, frames)
