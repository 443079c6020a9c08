"""Percentiles from a fixed piece of memory, held against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.loop.statistics import Durations, Summary


@pytest.mark.parametrize("count", [1, 2, 7, 997, 5003])
def test_percentiles_are_numpys_to_one_percent(count: int) -> None:
    values = np.random.default_rng(count).lognormal(2, 1.5, count)
    durations = Durations()
    for value in values:
        durations.add(float(value))
    summary = durations.summary()
    for percent, found in ((50, summary.p50), (90, summary.p90), (99, summary.p99), (99.9, summary.p999)):
        expected = np.percentile(values, percent, method="inverted_cdf")
        assert found == pytest.approx(expected, rel=0.01)
    assert summary.count == count
    assert summary.max == values.max()
    assert summary.mean == pytest.approx(values.mean())


def test_of_nothing_everything_is_zero() -> None:
    assert Durations().summary() == Summary(mean=0, p50=0, p90=0, p99=0, p999=0, max=0, count=0)


def test_values_outside_the_range_are_kept_in_it() -> None:
    durations = Durations()
    for value in (0.0, 1e-9, 1e9):
        durations.add(value)
    summary = durations.summary()
    assert summary.count == 3
    assert summary.max == 1e9
    assert summary.p50 <= 1e-3


def test_percentiles_never_exceed_the_maximum() -> None:
    durations = Durations()
    durations.add(10.001)
    summary = durations.summary()
    assert summary.p50 <= summary.p999 <= summary.max == 10.001


def test_percentiles_are_written_by_the_names_that_benchmarks_use() -> None:
    from edgeseg.benchmarks.summary import summarise

    written = set(Durations().summary().to_dict())
    assert written - {"count"} == set(summarise([np.ones(3)]).to_dict()) - {"jitter"}
