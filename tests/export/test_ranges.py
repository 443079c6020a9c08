"""Ranges beside those that are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.export.ranges import RANGES, SAMPLES_PER_FRAME, Seen


def seen(*frames: np.ndarray) -> Seen:
    made = Seen()
    for frame in frames:
        made.add(frame.astype(np.float32))
    return made


def test_minmax_is_exact_whatever_was_sampled() -> None:
    values = np.zeros(100 * SAMPLES_PER_FRAME)
    values[[4097, 70001]] = -3, 9
    assert RANGES["minmax"](seen(values, np.ones(7))) == (-3, 9)


def test_percentile_is_numpys_of_the_values() -> None:
    values = np.random.default_rng(0).normal(size=SAMPLES_PER_FRAME)
    expected = np.percentile(values.astype(np.float32), [0.01, 99.99])
    assert RANGES["percentile"](seen(values)) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("name", RANGES)
def test_a_range_never_goes_beyond_what_was_seen(name: str) -> None:
    made = seen(np.random.default_rng(1).normal(size=(8, 8, 16)))
    low, high = RANGES[name](made)
    assert made.least <= low < high <= made.greatest


def test_mse_loses_least_of_all_and_gives_up_a_long_tail() -> None:
    values = np.random.default_rng(0).standard_t(2, 20 * SAMPLES_PER_FRAME)
    made = seen(*np.split(values, 20))
    errors = {name: squared_error(values, *span(made)) for name, span in RANGES.items()}
    assert errors["mse"] == min(errors.values()) < errors["minmax"]
    assert RANGES["mse"](made)[1] < made.greatest


def squared_error(values: np.ndarray, low: float, high: float) -> float:
    """Of the nearest of 256 numbers."""
    steps = np.linspace(low, high, 256)
    return float(np.square(np.abs(values[:, None] - steps).min(axis=1)).mean())


@pytest.mark.parametrize("name", RANGES)
def test_a_constant_tensor_has_a_range(name: str) -> None:
    assert RANGES[name](seen(np.zeros(10))) == (0, 0)


def test_every_channel_is_sampled() -> None:
    channels = 64
    values = np.tile(np.arange(channels), 64 * 64).reshape(64, 64, channels)
    assert set(seen(values).values().tolist()) == set(range(channels))
