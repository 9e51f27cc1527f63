"""Intervals hold as often as they say."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from stowplan_predictor.kernels.intervals import LogInterval, conformal, least_residuals


@pytest.mark.parametrize("draw", ["normal", "laplace", "standard_t"])
@pytest.mark.parametrize("count", [19, 40, 200])
def test_coverage_on_synthetic_residuals(draw: str, count: int) -> None:
    """For residuals of any shape, a new one lies inside with at least the stated probability, over many calibrations (synthetic distributions)."""
    generator = np.random.default_rng(7)
    samplers: dict[str, Callable[[int], NDArray[np.float64]]] = {
        "normal": lambda size: generator.normal(size=size),
        "laplace": lambda size: generator.laplace(size=size),
        "standard_t": lambda size: generator.standard_t(3, size),
    }
    held = []
    for _ in range(4000):
        values = samplers[draw](count + 20)
        interval = conformal(values[:count], 0.9)
        held.append(np.mean((values[count:] >= interval.lower) & (values[count:] <= interval.upper)))

    assert np.mean(held) >= 0.9 - 0.01
    # Exact conformal coverage is at most 0.9 + 2 / (n + 1); an interval that is always right would be worthless.
    assert np.mean(held) <= 0.9 + 2 / (count + 1) + 0.015


def test_a_biased_model_gets_a_lopsided_interval() -> None:
    """Residuals that are all positive push the upper end only; the median stays inside."""
    interval = conformal(np.linspace(0.1, 0.3, 100), 0.9)

    assert interval.lower == 0.0
    assert interval.upper == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_too_few_residuals_carry_no_interval(coverage: float) -> None:
    """One residual fewer than the order statistics need is refused, never silently narrower."""
    enough = least_residuals(coverage)

    assert conformal([0.0] * enough, coverage) == LogInterval(0.0, 0.0)
    with pytest.raises(ValueError, match="at least"):
        conformal([0.0] * (enough - 1), coverage)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_residuals_that_are_no_numbers_are_refused(bad: float) -> None:
    """A NaN among the residuals is an error and not an interval."""
    with pytest.raises(ValueError, match="finite"):
        conformal([0.0] * 30 + [bad], 0.9)


intervals = st.builds(LogInterval, st.floats(-3, 0), st.floats(0, 3))


@settings(max_examples=50)
@given(intervals, intervals, st.floats(0, 2))
def test_combinations_only_widen(first: LogInterval, second: LogInterval, factor: float) -> None:
    """Widening, joining and adding never cut a piece off."""
    for combined in (first.widened(factor), first.around(second), first + second):
        assert combined.lower <= first.lower
        assert combined.upper >= first.upper


def test_an_interval_holds_its_median() -> None:
    """In milliseconds: lower <= median <= upper, all in proportion."""
    interval = LogInterval(-math.log(2), math.log(3)).of(10.0, 0.9)

    assert (interval.lower_ms, interval.upper_ms) == pytest.approx((5.0, 30.0))
    assert (interval.median_ms, interval.coverage) == (10.0, 0.9)
