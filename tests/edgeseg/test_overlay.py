"""What the overlay shows is what the mask says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.labels import LabelClass, LabelSet
from edgeseg.overlay import draw_caption, draw_overlay

LABELS = LabelSet("two", (LabelClass(0, "road", (200, 0, 0)), LabelClass(1, "car", (0, 0, 100))))


@pytest.fixture
def frame() -> np.ndarray:
    return np.full((240, 320, 3), 100, np.uint8)


@pytest.fixture
def mask() -> np.ndarray:
    mask = np.zeros((240, 320), np.uint8)
    mask[:, 160:] = 1
    mask[200:] = 255
    return mask


def test_pixels_are_blended_by_alpha(frame: np.ndarray, mask: np.ndarray) -> None:
    picture = draw_overlay(frame, mask, LABELS, 0.25, legend=False)
    assert picture.shape == frame.shape
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[100, 80], [125, 75, 75])
    np.testing.assert_array_equal(picture[100, 300], [75, 75, 100])
    np.testing.assert_array_equal(picture[230, 100], [100, 100, 100])


def test_the_frame_is_left_alone(frame: np.ndarray, mask: np.ndarray) -> None:
    kept = frame.copy()
    draw_overlay(frame, mask, LABELS)
    np.testing.assert_array_equal(frame, kept)


def test_alpha_zero_is_the_frame(frame: np.ndarray, mask: np.ndarray) -> None:
    np.testing.assert_array_equal(draw_overlay(frame, mask, LABELS, 0, legend=False), frame)


def test_classes_are_outlined(frame: np.ndarray, mask: np.ndarray) -> None:
    picture = draw_overlay(frame, mask, LABELS, 0.5, legend=False).astype(int)
    assert (picture[100, 160] > picture[100, 150:170].mean(0)).all()


def test_the_picture_is_what_whole_array_steps_give() -> None:
    """The fast way is held against the plain one, bit by bit."""
    random = np.random.default_rng(5)
    frame = random.integers(0, 256, (90, 160, 3)).astype(np.uint8)
    mask = cv2.resize(
        random.choice([0, 1, 255], (9, 8)).astype(np.uint8), (160, 90), interpolation=cv2.INTER_NEAREST
    )
    for alpha in (0.25, 0.5, 1.0):
        expected = cv2.addWeighted(frame, 1 - alpha, LABELS.colorize(mask), alpha, 0)
        lighter = cv2.addWeighted(expected, 0.45, np.full_like(expected, 255), 0.55, 0)
        edges = np.zeros(mask.shape, bool)
        edges[:, 1:] |= mask[:, 1:] != mask[:, :-1]
        edges[1:] |= mask[1:] != mask[:-1]
        expected = np.where(edges[..., None], lighter, expected)
        expected = np.where((mask == 255)[..., None], frame, expected)
        np.testing.assert_array_equal(draw_overlay(frame, mask, LABELS, alpha, legend=False), expected)


def test_the_legend_stays_in_its_corner(frame: np.ndarray, mask: np.ndarray) -> None:
    with_legend, without = (draw_overlay(frame, mask, LABELS, legend=on) for on in (True, False))
    changed = np.argwhere((with_legend != without).any(-1))
    assert len(changed)
    assert changed[:, 0].max() < 120
    assert changed[:, 1].max() < 160


@pytest.mark.parametrize("size", [(1, 1), (8, 16), (32, 64), (119, 500), (130, 40)])
def test_small_frames_are_drawn_without_legend(size: tuple[int, int]) -> None:
    frame, mask = np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8)
    picture = draw_overlay(frame, mask, LABELS)
    np.testing.assert_array_equal(picture, draw_overlay(frame, mask, LABELS, legend=False))
    draw_caption(picture, "age 12 ms")


def test_the_caption_is_at_the_lower_edge_and_warns_in_red(frame: np.ndarray) -> None:
    calm = draw_caption(frame.copy(), "age 12 ms").astype(int)
    warning = draw_caption(frame.copy(), "age 12 ms", warn=True).astype(int)
    np.testing.assert_array_equal(calm[:200], frame[:200])
    assert (warning[..., 0] - warning[..., 1]).max() > 100
    assert (calm[..., 0] - calm[..., 1]).max() < 20


def test_wrong_arguments(frame: np.ndarray, mask: np.ndarray) -> None:
    with pytest.raises(UsageError, match="alpha"):
        draw_overlay(frame, mask, LABELS, 1.5)
    with pytest.raises(UsageError, match=r"\[240, 320\]"):
        draw_overlay(frame, mask[:100], LABELS)
