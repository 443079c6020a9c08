"""When a run is given up, and when it is not."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import TrainingError
from edgeseg.training.guards import check_finite, check_not_collapsed, top_class_share
from edgeseg.training.run_folder import EpochRow

# Truth in rows: everything is called class 0.
COLLAPSED = np.array([[500, 0, 0], [300, 0, 0], [200, 0, 0]])


def rows(*shares: float) -> list[EpochRow]:
    return [EpochRow(i, 1.0, 0.1, 1.0, 0.1, share, 1e-3, 1.0) for i, share in enumerate(shares, start=1)]


def test_three_epochs_of_one_class_end_the_run() -> None:
    with pytest.raises(TrainingError, match=r"epochs 2 to 4.*one class on 99\.9%.*data check"):
        check_not_collapsed(rows(0.6, 0.999, 1.0, 0.999), 50, COLLAPSED)


@pytest.mark.parametrize(
    "matrix",
    [
        np.array([[9950, 0], [50, 0]]),  # the labels are almost all of one class, and the other is lost
        np.array([[9950, 0], [50, 0]])[::-1, ::-1],
        np.array([[0, 0, 900], [0, 0, 100], [0, 0, 0]]),  # everything is a class that is not there
        np.array([[0, 900], [0, 0]]),  # one class is labelled, and the other one predicted
    ],
)
def test_one_sided_labels_excuse_nothing(matrix: np.ndarray) -> None:
    with pytest.raises(TrainingError, match="one class on"):
        check_not_collapsed(rows(1.0, 1.0, 1.0), 500, matrix)


@pytest.mark.parametrize(
    ("shares", "steps", "matrix"),
    [
        ((1.0, 1.0), 500, COLLAPSED),  # two epochs may pass
        ((1.0, 1.0, 0.9), 500, COLLAPSED),  # it came out of it
        ((1.0, 1.0, 1.0), 10, COLLAPSED),  # thirty steps are no training yet
        ((1.0, 1.0, 1.0), 500, np.array([[9950, 0], [20, 30]])),  # the rare class is found
        ((1.0, 1.0, 1.0), 500, np.array([[990, 0], [0, 0]])),  # there is no other class
        ((1.0, 1.0, 1.0), 500, np.zeros((3, 3), np.int64)),  # nothing is labelled
    ],
)
def test_the_run_goes_on(shares: tuple[float, ...], steps: int, matrix: np.ndarray) -> None:
    check_not_collapsed(rows(*shares), steps, matrix)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run(loss: float) -> None:
    with pytest.raises(TrainingError, match=r"loss in epoch 4.*learning-rate"):
        check_finite(loss, 4)


def test_share_of_the_class_predicted_most() -> None:
    assert top_class_share(np.array([[5, 5], [0, 10]])) == 0.75
    assert top_class_share(np.zeros((2, 2), np.int64)) == 0
