"""The order of frames, frozen pixels, and a lens that shows nothing."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseg.camera import FrozenCheck, SequenceGate, ViewCheck, open_source
from edgeseg.camera.checks import LARGEST_GAP, REORDER_WINDOW
from edgeseg.camera.scene import StreetScene

MS = 1_000_000
HEIGHT, WIDTH = 360, 640


@pytest.fixture(scope="module")
def street() -> StreetScene:
    return StreetScene(HEIGHT, WIDTH, seed=1, fps=30)


# The order of frames.


def judged(*sequences: int | None) -> list[tuple[str, int, bool]]:
    gate = SequenceGate()
    seen = [gate.see(sequence) for sequence in sequences]
    return [(arrival.order, arrival.lost, arrival.restarted) for arrival in seen]


@pytest.mark.parametrize(
    ("sequences", "last"),
    [
        ((7,), ("new", 0, False)),
        ((7, 8), ("new", 0, False)),
        ((7, 10), ("new", 2, False)),
        ((7, 7), ("duplicate", 0, False)),
        ((7, 9, 8), ("reordered", 0, False)),
        ((7, 9, 8, 10), ("new", 0, False)),
        ((7, 9, 8, 9), ("duplicate", 0, False)),
        ((2**32 - 1, 0), ("new", 0, False)),
        ((2**32 - 2, 1), ("new", 2, False)),
        ((0, 2**32 - 1), ("reordered", 0, False)),
        ((5000, 0), ("new", 0, True)),
        ((3_000_000_000, 0), ("new", 0, True)),
        ((0, LARGEST_GAP), ("new", LARGEST_GAP - 1, False)),
        ((None, None), ("new", 0, False)),
        ((7, None, 8), ("new", 0, False)),
    ],
)
def test_the_last_frame_is_judged(sequences: tuple[int | None, ...], last: tuple[str, int, bool]) -> None:
    assert judged(*sequences)[-1] == last


def test_a_camera_that_restarts_after_few_frames_is_found_by_its_counting() -> None:
    orders = judged(0, 1, 2, 3, 4, 5, 0, 1, 2, 3)
    assert [order for order, _, _ in orders[6:]] == ["reordered", "reordered", "new", "new"]
    assert [restarted for _, _, restarted in orders].count(True) == 1


@given(start=st.integers(0, 2**32 - 1), steps=st.lists(st.integers(0, LARGEST_GAP), max_size=30))
def test_rising_numbers_are_new_or_duplicate_wherever_they_wrap(start: int, steps: list[int]) -> None:
    gate = SequenceGate()
    gate.see(start)
    number, lost = start, 0
    for step in steps:
        number += step
        arrival = gate.see(number % 2**32)
        lost += arrival.lost
        assert (arrival.order, arrival.restarted) == ("new" if step else "duplicate", False)
    # Duplicates take no number, so what is new and what was lost add up to the way gone.
    assert lost + sum(step > 0 for step in steps) == number - start


@given(st.integers(0, 2**32 - 1), st.integers(1, REORDER_WINDOW))
def test_one_straggler_is_never_a_restart(newest: int, behind: int) -> None:
    gate = SequenceGate()
    gate.see(newest)
    assert gate.see((newest - behind) % 2**32).order == "reordered"
    arrival = gate.see((newest + 1) % 2**32)
    assert (arrival.order, arrival.lost) == ("new", 0)


# Frozen pixels.


def test_the_same_pixels_freeze_after_their_time(street: StreetScene) -> None:
    check = FrozenCheck(frozen_ms=100)
    picture = street.draw(3)
    assert [check.see(picture.copy(), at * MS) for at in (0, 40, 80, 120, 139, 140)] == [False] * 5 + [True]
    assert check.see(picture, 200 * MS)
    assert not check.see(street.draw(4), 210 * MS)
    assert not check.see(picture, 1000 * MS)


def test_a_buffer_that_is_written_over_is_not_compared_with_itself(street: StreetScene) -> None:
    check, buffer = FrozenCheck(frozen_ms=1), np.empty((HEIGHT, WIDTH, 3), np.uint8)
    for number in range(5):
        buffer[:] = street.draw(number)
        assert not check.see(buffer, number * 33 * MS)


def test_a_still_scene_with_noise_is_not_frozen(street: StreetScene) -> None:
    check = FrozenCheck(frozen_ms=100)
    rng = np.random.default_rng(0)
    still = street.draw(0)
    for at in range(0, 3000, 33):
        # The least noise there is: one level, in one pixel of ten.
        noise = (rng.random(still.shape) < 0.1).astype(np.uint8)
        assert not check.see(still + noise, at * MS)


def test_one_pixel_outside_the_sample_is_a_change(street: StreetScene) -> None:
    check = FrozenCheck(frozen_ms=100)
    for at in range(0, 1000, 33):
        picture = street.draw(0)
        picture[0, 0] = at % 200
        assert not check.see(picture, at * MS)


def test_a_change_of_size_is_a_change(street: StreetScene) -> None:
    check = FrozenCheck(frozen_ms=10)
    picture = np.zeros((64, 64, 3), np.uint8)
    assert not check.see(picture, 0)
    assert not check.see(picture[:62], 100 * MS)
    assert not check.see(picture[:32, :32], 200 * MS)


def test_zero_switches_it_off(street: StreetScene) -> None:
    check = FrozenCheck(frozen_ms=0)
    assert not any(check.see(street.draw(0), at * MS) for at in range(0, 10_000, 1000))


# A lens that shows nothing.


def view(image: np.ndarray) -> str:
    return ViewCheck().see(np.clip(image, 0, 255).astype(np.uint8))


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 4, (HEIGHT, WIDTH, 3))


def test_a_street_is_seen_by_day_and_by_night(street: StreetScene, noise: np.ndarray) -> None:
    day = street.draw(0).astype(float)
    assert view(day) == ""
    for dimmed in (0.5, 0.25, 0.12):
        assert view(day * dimmed + noise) == "", dimmed


def test_one_lamp_in_the_night_is_a_view(noise: np.ndarray) -> None:
    night = np.full((HEIGHT, WIDTH, 3), 4.0) + noise
    assert view(night) == "black"
    cv2.circle(night, (400, 120), 14, (250, 240, 200), cv2.FILLED)
    assert view(night) == ""


def test_headlights_on_a_dark_road_are_a_view(noise: np.ndarray) -> None:
    night = np.full((HEIGHT, WIDTH, 3), 3.0) + noise
    night[220:] += np.linspace(0, 45, HEIGHT - 220)[:, None, None]
    assert view(night) == ""


@pytest.mark.parametrize(
    ("level", "word"), [(0, "black"), (60, "covered"), (140, "covered"), (255, "saturated")]
)
def test_one_level_with_noise_is_no_view(noise: np.ndarray, level: int, word: str) -> None:
    assert view(level + noise) == word


def test_a_covered_lens_may_be_a_little_brighter_on_one_side(noise: np.ndarray) -> None:
    assert view(50 + np.linspace(0, 9, WIDTH)[None, :, None] + noise) == "covered"
    assert view(50 + np.linspace(0, 30, WIDTH)[None, :, None] + noise) == ""


def test_a_low_sun_is_no_saturated_lens(street: StreetScene) -> None:
    picture = street.draw(0)
    picture[: HEIGHT // 2] = 255
    assert view(picture) == ""


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (1080, 1920)])
def test_any_size_will_do(size: tuple[int, int]) -> None:
    assert view(np.full((*size, 3), 255)) == "saturated"


@pytest.mark.data
@pytest.mark.parametrize("name", ["highway_720p_short.mp4", "solidWhiteRight.mp4"])
def test_real_drives_are_seen_and_not_frozen(shared_data: Path, name: str) -> None:
    source, frozen = open_source(str(shared_data / "video" / name)), FrozenCheck(frozen_ms=200)
    for number, frame in zip(range(150), iter(source.read, None), strict=False):
        assert not frozen.see(frame.image, number * 40 * MS), number
        assert view(frame.image) == "", number
        # The same road at night, a tenth as bright.
        assert number % 10 or view(frame.image * 0.1) == "", number
    source.close()
