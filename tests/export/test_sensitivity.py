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
from edgeseg.export.sensitivity import FRAMES, layer_damages

ROAD, TREE, POLE = 0, 1, 2
HEIGHT, WIDTH = 10, 10


class Toy:
    """Says the class in a frame's red channel; each layer spoils something of its own in int8."""

    layers = ("road to tree", "pole to road", "nothing")
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
            return mask

        yield predict


def frames(count: int = 40) -> np.ndarray:
    """All road, with trees at the bottom; in one frame there are 10 pixels of pole on the left."""
    made = np.full((count, HEIGHT, WIDTH, 3), ROAD, np.uint8)
    made[:, 8:] = TREE
    made[17, :, 0] = POLE
    return made


def damages(*classes: int) -> dict[str, float]:
    toy = Toy()
    found = layer_damages(toy, "minmax", classes, toy.opened, frames())
    assert [one.damage for one in found] == sorted((one.damage for one in found), reverse=True)
    # All frames once, in float; then each layer on a few.
    assert toy.runs == [40, FRAMES, FRAMES, FRAMES]
    return {one.layer: one.damage for one in found}


def test_the_layer_that_a_rare_class_suffers_from_comes_first_for_that_class() -> None:
    """Of 4000 pixels 10 are pole: by all pixels, or on frames picked evenly, its layer would not be seen."""
    assert damages(POLE) == {"pole to road": 1.0, "road to tree": 0.0, "nothing": 0.0}


def test_the_loss_is_that_of_iou_in_the_mean_of_the_classes() -> None:
    found = damages(TREE)
    assert found["nothing"] == found["pole to road"] == 0
    # 20 pixels of tree became 50 in the frames without pole; which one that has it is not among them.
    assert found["road to tree"] == pytest.approx(1 - 20 / 50)
    both = damages(ROAD, TREE)
    road = 1 - 50 / 80
    assert both["road to tree"] == pytest.approx((road + 1 - 20 / 50) / 2, abs=0.02)


def test_a_class_that_is_nowhere_counts_for_nothing() -> None:
    assert set(damages(7).values()) == {0.0}
    assert damages(TREE, 7)["road to tree"] == pytest.approx(damages(TREE)["road to tree"])


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
