"""How well measurements repeat is computed as documented. Numbers here are made up to exercise the arithmetic; nothing learns from them."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.training.data import noise_floors


@dataclass(frozen=True)
class _Visit:
    network: str
    repeat: int
    median_ms: float
    p25_ms: float
    slice: str = "cpu:1"


def test_each_visit_is_held_against_the_one_before() -> None:
    """Relative change of the median over networks that were visited twice; others say nothing."""
    rows = [_Visit("a", 10, 10.0, 9.0), _Visit("a", 20, 11.0, 9.0), _Visit("b", 20, 9.8, 9.8), _Visit("b", 10, 10.0, 9.8), _Visit("c", 10, 5.0, 5.0)]
    floors = noise_floors.floors(rows, ["cpu:1", "cpu:2"])

    assert floors["cpu:1"]["median"] == {"retests": 2, "mean_percent": 6.0, "median_percent": 6.0, "p90_percent": 2.0, "largest_percent": 10.0}
    assert floors["cpu:1"]["lower_quartile"]["mean_percent"] == 0.0
    assert floors["cpu:2"] == {}


def test_truth_is_compared_between_halves_of_the_visits() -> None:
    """Odd visits against even ones, the quietest of each half; fewer than four visits make no halves."""
    rows = [_Visit("a", repeat, median, median) for repeat, median in ((10, 12.0), (20, 10.0), (30, 8.0), (40, 20.0))]

    assert noise_floors.truth_differences(noise_floors.by_case(rows)) == [pytest.approx(0.25)]
    assert noise_floors.truth_differences(noise_floors.by_case(rows[:3])) == []


@given(st.lists(st.floats(0, 10), min_size=1, max_size=50))
def test_figures_are_in_order(differences: list[float]) -> None:
    """Median, ninetieth percentile and largest ascend, and the mean lies below the largest."""
    floor = noise_floors.floor_of(differences)

    assert floor is not None
    assert floor.median <= floor.largest
    assert floor.p90 <= floor.largest
    assert floor.mean <= floor.largest * (1 + 1e-9)
    assert floor.retests == len(differences)
