"""What a layer does to the classes that are over the budget, on the images that show them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from edgeseg.export.attempts import Attempt
from edgeseg.export.int8 import Int8Settings
from edgeseg.export.model_bytes import ModelBytes
from edgeseg.export.parity import Budget
from edgeseg.export.sensitivity import FRAMES, _iou_lost, _telling, layer_damages

ROAD, TREE, POLE, NOWHERE = 0, 1, 2, 7
HEIGHT, WIDTH = 10, 10


class Toy:
    """Says the class in a frame's red channel; each layer spoils something of its own in int8."""

    layers = ("nothing", "stray", "pole to road", "road to tree")
    ranges = ("minmax",)

    def __init__(self) -> None:
        self.runs: list[int] = []

    def quantise(self, settings: Int8Settings) -> ModelBytes:
        return ModelBytes(",".join(sorted(set(self.layers) - settings.float_layers)).encode())

    def quick(self) -> Toy:
        return self

    @contextmanager
    def opened(self, made: ModelBytes) -> Iterator:
        in_int8 = made.data.decode().split(",")
        self.runs.append(0)

        def predict(frame: np.ndarray) -> np.ndarray:
            self.runs[-1] += 1
            mask = frame[..., 0].copy()
            if "road to tree" in in_int8:
                mask[:3][mask[:3] == ROAD] = TREE
            if "pole to road" in in_int8:
                mask[:, 0][mask[:, 0] == POLE] = ROAD
            if "stray" in in_int8:
                mask[5, 5] = NOWHERE
            return mask

        yield predict


def frames(count: int = 40) -> np.ndarray:
    """All road, with trees at the bottom; in one frame there are 10 pixels of pole on the left."""
    made = np.full((count, HEIGHT, WIDTH, 3), ROAD, np.uint8)
    made[:, 8:] = TREE
    made[17, :, 0] = POLE
    return made


def damages(*classes: int) -> dict[str, float]:
    """By layer, the greatest first."""
    toy = Toy()
    found = layer_damages(toy, "minmax", classes, toy.opened, frames())
    assert [one.damage for one in found] == sorted((one.damage for one in found), reverse=True)
    # All frames once, in float; then each layer on a few.
    assert toy.runs == [40, *(FRAMES for _ in toy.layers)]
    return {one.layer: one.damage for one in found}


def test_the_layer_that_a_rare_class_suffers_from_comes_first_for_that_class() -> None:
    """Of 4000 pixels 10 are pole: by all pixels, or on frames picked evenly, its layer would come last."""
    found = damages(POLE)
    assert found == {"pole to road": 1.0, "road to tree": 0.0, "stray": 0.0, "nothing": 0.0}
    assert list(found) == ["pole to road", "road to tree", "stray", "nothing"], "the same loss, by pixels"


def test_the_loss_is_that_of_iou_in_the_mean_of_the_classes() -> None:
    found = damages(TREE)
    # 20 pixels of tree became 50; the frame with poles, where there are fewer, is not among those looked at.
    assert found == {"road to tree": pytest.approx(1 - 20 / 50), "pole to road": 0, "stray": 0, "nothing": 0}
    both = damages(ROAD, TREE)
    assert both["road to tree"] == pytest.approx((1 - 50 / 80 + 1 - 20 / 50) / 2)


def test_a_stray_pixel_of_a_class_that_is_not_there_weighs_no_more_than_the_pixel() -> None:
    found = damages(ROAD, TREE, NOWHERE)
    assert found["stray"] == pytest.approx((1 - 79 / 80) / 2)
    assert found["road to tree"] == pytest.approx(damages(ROAD, TREE)["road to tree"])


def test_a_class_of_next_to_nothing_is_not_shown() -> None:
    expected = np.full((8, 100, 100), ROAD, np.uint8)
    expected[0, 0, :7] = POLE
    found = np.full_like(expected, ROAD)
    assert _iou_lost(found, expected, (POLE,)) == 0.0
    expected[0, 0, :8] = POLE
    assert _iou_lost(found, expected, (POLE,)) == 1.0


def test_where_no_frame_shows_the_classes_pixels_decide() -> None:
    found = damages(NOWHERE)
    assert set(found.values()) == {0.0}
    assert list(found) == ["road to tree", "pole to road", "stray", "nothing"]


def test_classes_take_turns_the_rarest_first_and_each_frame_is_taken_once() -> None:
    masks = np.full((30, 4, 4), ROAD, np.uint8)
    masks[5:20] = TREE
    masks[7, 0] = POLE
    masks[8, 0, 0] = POLE
    # Pole (5 pixels) 7, tree (235) 5, road (240) 0; pole 8, tree 6, road 1; pole any, so 2, and tree 9.
    assert _telling(masks, (ROAD, TREE, POLE)) == [0, 1, 2, 5, 6, 7, 8, 9]
    assert _telling(masks[:3], (ROAD, TREE)) == [0, 1, 2]


@pytest.mark.parametrize(
    ("mean", "drops", "expected"),
    [
        (0.1, {"road": 0.1, "tree": 2.5, "pole": 3.0}, ("tree", "pole")),
        # Where the mean is over, all of them make it up.
        (0.9, {"road": 0.1, "tree": 2.5, "pole": 0.0}, ("road", "tree", "pole")),
        (0.9, {"road": 0.9, "tree": 0.9, "pole": None}, ("road", "tree")),
        # None is over where a budget is kept, or asks the impossible of the mean alone.
        (0.1, {"road": 0.1, "tree": 0.1, "pole": 0.1}, ("road", "tree", "pole")),
    ],
)
def test_the_classes_that_count_are_those_over_the_budget(mean, drops, expected) -> None:
    comparison = SimpleNamespace(drop_points=mean, class_drop_points=lambda: drops)
    tried = SimpleNamespace(comparison=comparison)
    attempt = Attempt("litert", "plain", Int8Settings(), "as trained", tried, (), 0.0, 0.0)
    assert attempt.classes_over(Budget(0.5, 2.0)) == expected
    assert attempt.classes_over(Budget(0.5, None)) == tuple(n for n, d in drops.items() if d is not None)
