"""Figures of merit mean what they say: intervals that hold, ranks that rank, refusals that count. Numbers here are drawn; nothing measured rests on them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_predictor.training.judgements.scores import coverage, family_bootstrap, mean_absolute_ms, rank_correlation, score, share

# Each example resamples families two thousand times.
FEW = settings(max_examples=30)
TIMES = st.floats(1e-3, 1e5)
CASES = st.lists(st.tuples(TIMES, TIMES, st.sampled_from("abcdefgh")), min_size=1, max_size=30)


@FEW
@given(CASES)
def test_figures_do_not_depend_on_the_order_of_cases(cases: list[tuple[float, float, str]]) -> None:
    """The same cases in another order give the same figures, interval included."""
    forward, backward = ([[*column] for column in zip(*some, strict=True)] for some in (cases, cases[::-1]))

    one, other = score(*forward), score(*backward)

    assert one.cases == other.cases == len(cases)
    for name in ("mape_percent", "mape_low_percent", "mape_high_percent", "median_ape_percent", "within_5_percent", "within_10_percent", "rank_correlation"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-6, abs=0.011)


@FEW
@given(CASES, st.sampled_from((0.125, 1000.0)))
def test_figures_do_not_depend_on_the_unit(cases: list[tuple[float, float, str]], factor: float) -> None:
    """Milliseconds or microseconds: relative errors and ranks are the same."""
    truth, guess, families = ([*column] for column in zip(*cases, strict=True))

    one, other = score(truth, guess, families), score([factor * value for value in truth], [factor * value for value in guess], families)

    assert one.mape_percent == pytest.approx(other.mape_percent, rel=1e-6, abs=0.011)
    assert one.median_ape_percent == pytest.approx(other.median_ape_percent, rel=1e-6, abs=0.011)


@FEW
@given(CASES)
def test_intervals_are_in_order_and_inside_the_families(cases: list[tuple[float, float, str]]) -> None:
    """An interval never leaves the range of what single families say; one family alone has no spread."""
    truth, guess, families = ([*column] for column in zip(*cases, strict=True))
    found = score(truth, guess, families)
    own = [float(np.mean([abs(g - t) / t for t, g, f in cases if f == family])) * 100 for family in set(families)]

    assert found.mape_low_percent <= found.mape_high_percent
    assert found.mape_low_percent >= min(own) * (1 - 1e-6) - 0.01
    assert found.mape_high_percent <= max(own) * (1 + 1e-6) + 0.01
    if len(own) == 1:
        assert found.mape_low_percent == found.mape_high_percent == pytest.approx(found.mape_percent, abs=0.011)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=40))
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    """Pearson's correlation of ranks, each counted one by one with ties at their mean; 0 where one side is constant."""
    left, right = (np.array(column, dtype=np.float64) for column in zip(*pairs, strict=True))
    if len(set(left)) == 1 or len(set(right)) == 1:
        assert rank_correlation(left, right) == 0.0
        return

    ranks = [[(column < value).sum() + ((column == value).sum() - 1) / 2 for value in column] for column in (left, right)]
    assert rank_correlation(left, right) == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-9)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=30, unique=True))
def test_ranks_see_order_only(values: list[int]) -> None:
    """Any growing function of the truth ranks perfectly."""
    truth = np.array(values, dtype=np.float64)

    assert rank_correlation(truth, np.log(truth) * 3 + 7) == pytest.approx(1.0)
    assert rank_correlation(truth, -truth) == pytest.approx(-1.0)


def test_the_family_bootstrap_holds_the_mean_about_as_often_as_it_says() -> None:
    """In worlds whose mean is known (30 families, errors alike inside one), the 95 % interval holds it in nine worlds of ten at least."""
    generator = np.random.default_rng(11)
    families = [f"family-{index // 4}" for index in range(120)]
    held = 0
    for _ in range(100):
        values = np.repeat(generator.normal(1.0, 0.3, size=30), 4) + generator.normal(0.0, 0.1, size=120)
        low, high = family_bootstrap(values, families)
        held += low <= 1.0 <= high

    assert 90 <= held <= 100


def test_relatives_are_not_counted_as_independent() -> None:
    """Forty cases of four families leave more doubt than forty cases of forty families."""
    values = np.repeat([0.0, 1.0, 0.0, 1.0], 10)
    few = family_bootstrap(values, [f"family-{index // 10}" for index in range(40)])
    many = family_bootstrap(values, [f"family-{index}" for index in range(40)])

    assert few[1] - few[0] > 1.5 * (many[1] - many[0])


def test_a_case_without_prediction_counts_against_the_system() -> None:
    """It has no error to average, but it is a miss among the shares and in coverage, and it is counted."""
    found = score([1.0, 2.0, 4.0, 8.0], [1.0, 2.05, None, None], list("abcd"))
    held = coverage([1.0, 2.0, 4.0, 8.0], [1.0, 2.05, None, None], [(0.9, 1.1), (2.01, 2.2), None, None], list("abcd"))

    assert (found.cases, found.refused, found.within_5_percent, found.within_10_percent) == (2, 2, 50.0, 50.0)
    assert held is not None
    assert held.percent == 25.0
    assert mean_absolute_ms([1.0, 2.0, 4.0], [1.0, 2.5, None]) == pytest.approx(0.25)


@FEW
@given(CASES)
def test_coverage_of_everything_and_of_nothing(cases: list[tuple[float, float, str]]) -> None:
    """Intervals that hold every truth cover 100 % without doubt, intervals that hold none 0 %; half the width is relative to the prediction."""
    truth, _, families = ([*column] for column in zip(*cases, strict=True))

    everything = coverage(truth, truth, [(0.8 * value, 1.2 * value) for value in truth], families)
    nothing = coverage(truth, truth, [(1.1 * value, 1.2 * value) for value in truth], families)

    assert everything is not None
    assert nothing is not None
    assert (everything.percent, everything.low_percent, everything.high_percent) == (100.0, 100.0, 100.0)
    assert everything.half_width_percent == pytest.approx(20.0, abs=0.011)
    assert (nothing.percent, nothing.high_percent) == (0.0, 0.0)
    assert everything.contains(100.0)
    assert not everything.contains(90.0)


def test_systems_without_intervals_have_no_coverage() -> None:
    """Nothing is made up for them."""
    assert coverage([1.0], [1.0], [None], ["a"]) is None


def test_large_cases_weigh_more() -> None:
    """Right edges of all edges, not the mean of the networks' shares; a network without edges has no say."""
    found = share([1, 99, 0], ["a", "b", "c"], [2, 100, 0])

    assert found[0] == pytest.approx(100 * 100 / 102, abs=0.005)
    assert 50.0 <= found[1] <= found[0] <= found[2] <= 99.0


def test_shares_of_nothing_are_refused() -> None:
    """No cases give an error and not a figure."""
    with pytest.raises(ValueError, match="no cases"):
        share([], [])
    with pytest.raises(ValueError, match="no cases"):
        mean_absolute_ms([1.0], [None])
