"""Class weights: the formulas, and what keeps rare and absent classes from ruling."""

from __future__ import annotations

import numpy as np
import pytest

from edgeseg.errors import UsageError
from edgeseg.training.class_weights import CLASS_WEIGHTS, effective_number, median_frequency

every_rule = pytest.mark.parametrize("rule", CLASS_WEIGHTS.values(), ids=CLASS_WEIGHTS)


def counts(*pixels: int) -> np.ndarray:
    return np.array(pixels, np.int64)


def test_median_frequency_by_hand() -> None:
    assert median_frequency(counts(100, 200, 800)) == [2.0, 1.0, 0.25]


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.99])
def test_effective_number_is_the_papers_formula(beta: float) -> None:
    n = counts(3, 40, 500)
    numbers = (1 - beta**n) / (1 - beta)
    expected = np.clip(np.median(numbers) / numbers, 0.1, 10)
    np.testing.assert_allclose(effective_number(n, beta), expected, atol=1e-4)


def test_effective_number_goes_from_alike_to_inverse_frequency() -> None:
    n = counts(10_000, 20_000, 30_000)
    assert effective_number(n, 0.0) == [1.0, 1.0, 1.0]
    np.testing.assert_allclose(effective_number(n, 1 - 1e-12), median_frequency(n), atol=1e-3)


def test_effective_number_counts_as_many_things_as_an_average_class_has_pixels() -> None:
    n = counts(100, 300, 800)
    np.testing.assert_allclose(effective_number(n), effective_number(n, 1 - 1 / 400), atol=1e-4)


@pytest.mark.parametrize("scale", [1, 10, 10**6])
def test_the_number_of_images_does_not_matter(scale: int) -> None:
    n = counts(1_000, 30_000, 300_000)
    for rule in CLASS_WEIGHTS.values():
        np.testing.assert_allclose(rule(scale * n), rule(1_000 * n), rtol=2e-3)


@every_rule
def test_rarer_weighs_more_within_bounds(rule) -> None:
    weights = rule(counts(1, 10, 10**4, 10**5, 10**9))
    assert weights == sorted(weights, reverse=True)
    assert 0.1 <= min(weights) < max(weights) <= 10


@every_rule
def test_an_absent_class_weighs_as_the_rarest_and_changes_no_other(rule) -> None:
    weights = rule(counts(100, 0, 300, 900))
    assert weights[1] == weights[0] == max(weights)
    if rule is median_frequency:
        assert weights[2:] == rule(counts(100, 300, 900))[1:]


@every_rule
def test_nothing_labelled_or_one_class_weighs_alike(rule) -> None:
    assert rule(counts(0, 0, 0)) == [1.0, 1.0, 1.0]
    assert rule(counts(0, 7, 0)) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_a_beta_out_of_its_range_is_refused(beta: float) -> None:
    with pytest.raises(UsageError, match="beta"):
        effective_number(counts(1, 2), beta)
