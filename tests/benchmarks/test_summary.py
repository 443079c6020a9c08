"""Percentiles, maximum and jitter against values counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.benchmarks.summary import summarise


def test_percentiles_are_times_of_measured_frames() -> None:
    times = np.random.default_rng(1).permutation(np.arange(1.0, 1001.0))
    summary = summarise([times])
    assert (summary.p50, summary.p90, summary.p99, summary.p999, summary.max) == (500, 900, 990, 999, 1000)
    assert summary.mean == pytest.approx(500.5)


def test_few_frames_make_the_last_percentile_the_maximum() -> None:
    summary = summarise([np.array([3.0, 1.0, 2.0])])
    assert (summary.p50, summary.p999, summary.max) == (2, 3, 3)


def test_rounds_are_pooled_but_their_seam_is_no_jitter() -> None:
    summary = summarise([np.array([1.0, 2.0, 1.0]), np.array([101.0, 102.0])])
    assert summary.max == 102
    assert summary.jitter == pytest.approx(1.0)


def test_one_frame_has_no_jitter() -> None:
    assert summarise([np.array([4.0])]).jitter == 0


def test_json_names_the_percentile_as_people_do() -> None:
    assert set(summarise([np.ones(3)]).to_dict()) == {"mean", "p50", "p90", "p99", "p99.9", "max", "jitter"}
