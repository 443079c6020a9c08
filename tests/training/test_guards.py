"""When a run is given up, and when it is not."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import TrainingError
from edgeseg.training.guards import check_finite, check_not_collapsed, top_class_share
from edgeseg.training.run_folder import EpochRow

BALANCED = np.array([500, 300, 200])


def rows(*shares: float) -> list[EpochRow]:
    return [EpochRow(i, 1.0, 0.1, 1.0, 0.1, share, 1e-3, 1.0) for i, share in enumerate(shares, start=1)]


def test_three_epochs_of_one_class_end_the_run() -> None:
    with pytest.raises(TrainingError, match=r"epochs 2 to 4.*one class on 99\.9%.*data check"):
        check_not_collapsed(rows(0.6, 0.999, 1.0, 0.999), 50, BALANCED)


@pytest.mark.parametrize(
    ("shares", "steps", "truth"),
    [
        ((1.0, 1.0), 500, BALANCED),  # two epochs may pass
        ((1.0, 1.0, 0.9), 500, BALANCED),  # it came out of it
        ((1.0, 1.0, 1.0), 10, BALANCED),  # thirty steps are no training yet
        ((1.0, 1.0, 1.0), 500, np.array([990, 5, 5])),  # the labels are almost all of one class
        ((1.0, 1.0, 1.0), 500, np.array([0, 0, 0])),  # nothing is labelled
    ],
)
def test_the_run_goes_on(shares: tuple[float, ...], steps: int, truth: np.ndarray) -> None:
    check_not_collapsed(rows(*shares), steps, truth)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(loss: float) -> None:
    with pytest.raises(TrainingError, match=r"loss in epoch 4.*learning-rate"):
        check_finite(loss, 4)


def test_share_of_the_class_predicted_most() -> None:
    assert top_class_share(np.array([[5, 5], [0, 10]])) == 0.75
    assert top_class_share(np.zeros((2, 2), np.int64)) == 0
