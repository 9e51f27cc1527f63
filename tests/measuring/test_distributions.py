"""Samples keep their shape when summed up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.measuring.distributions import QUANTILE_POINTS, describe


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=200))
def test_order_of_the_summary(durations: list[float]) -> None:
    """Quantiles ascend from the smallest to the largest sample, and percentiles lie in order."""
    described = describe(durations)

    assert list(described.quantiles_ms) == sorted(described.quantiles_ms)
    assert described.quantiles_ms[0] == min(durations)
    assert described.quantiles_ms[-1] == max(durations)
    assert described.p5_ms <= described.p25_ms <= described.median_ms <= described.p75_ms <= described.p95_ms <= described.p99_ms
    assert described.runs == len(durations)


def test_points_are_five_percent_apart() -> None:
    """Twenty-one points from 0 to 1."""
    assert len(QUANTILE_POINTS) == 21
    assert QUANTILE_POINTS[1] - QUANTILE_POINTS[0] == pytest.approx(0.05)


def test_one_outlier_among_thousands_does_not_fail_the_rule() -> None:
    """The rule on variation leaves out a hundredth at each end; the record keeps what it ignores."""
    described = describe([1.0] * 999 + [50.0])

    assert described.steady_cv == 0.0
    assert described.cv > 1.0
    assert described.quantiles_ms[-1] == 50.0


def test_a_twentieth_of_slow_runs_does_fail_the_rule() -> None:
    """Variation that many runs share is no outlier."""
    assert describe([1.0] * 95 + [2.0] * 5).steady_cv > 0.05


def test_nothing_to_describe() -> None:
    """No sample is an error, not zeros."""
    with pytest.raises(ValueError, match="no run finished"):
        describe([])
