"""The M/G/1 queue against closed forms and a simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_predictor.response.queues import PERCENTILES, ServiceShape, response_factor, shape_of, sojourn_quantiles

DETERMINISTIC = shape_of((0.0, 1.0), (1.0, 1.0))


def exponential() -> ServiceShape:
    points = np.concatenate([np.linspace(0, 0.999, 2000), 1 - np.logspace(-3.01, -7, 200), [1.0]])
    return shape_of(points.tolist(), (-np.log(np.maximum(1 - points, 1e-8))).tolist())


@pytest.mark.parametrize("load", [0.1, 0.5, 0.9, 0.99])
def test_exponential_service_is_the_mm1_queue(load: float) -> None:
    """M/M/1's response time is exponential with mean 1 / (1 - load)."""
    percentiles = [50, 90, 95, 99]

    found = sojourn_quantiles(exponential(), load, percentiles)

    assert found == pytest.approx(-np.log(1 - np.array(percentiles) / 100) / (1 - load), rel=0.015)


def _md1_waiting_cdf(waiting: float, load: float) -> float:
    """Erlang's formula for M/D/1 (Erlang 1909; Tijms, A first course in stochastic models, section 9.6.1)."""
    terms = [(-load * (waiting - i)) ** i / math.factorial(i) * math.exp(load * (waiting - i)) for i in range(int(waiting) + 1)]
    return (1 - load) * sum(terms)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("percentile", [80, 95, 99])
def test_constant_service_is_the_md1_queue(load: float, percentile: int) -> None:
    """The percentile that is found has that probability by Erlang's formula."""
    found = float(sojourn_quantiles(DETERMINISTIC, load, [percentile])[0])

    assert _md1_waiting_cdf(found - 1.0, load) == pytest.approx(percentile / 100, abs=0.001)


def test_a_skewed_service_time_agrees_with_a_simulation() -> None:
    """A distribution with a long tail, against Lindley's recursion over two million customers."""
    shape = shape_of((0.0, 0.5, 0.9, 0.99, 1.0), (0.8, 1.0, 1.2, 2.0, 6.0))
    generator = np.random.default_rng(3)
    count, load = 2_000_000, 0.7
    service = np.interp(generator.random(count), shape.points, shape.quantiles)
    # Lindley's recursion in closed form: waiting is a running sum minus its running minimum.
    steps = np.concatenate([[0.0], np.cumsum(service[:-1] - generator.exponential(1 / load, count - 1))])
    sojourn = steps - np.minimum.accumulate(steps) + service

    found = sojourn_quantiles(shape, load, [50, 90, 95, 99])

    assert found == pytest.approx(np.percentile(sojourn, [50, 90, 95, 99]), rel=0.03)


def test_without_load_the_response_is_the_service() -> None:
    """Nobody waits on an idle server."""
    shape = shape_of((0.0, 0.5, 1.0), (0.5, 1.0, 1.5))

    assert response_factor(shape, 0.0, 50) == pytest.approx(1.0)
    assert response_factor(shape, 0.0, 95) == pytest.approx(1.45)


shapes = st.lists(st.floats(0.1, 10), min_size=4, max_size=4).map(lambda values: shape_of((0.0, 0.5, 0.95, 1.0), sorted(values)))


@settings(max_examples=15, deadline=None)
@given(shapes, st.lists(st.floats(0, 0.9999), min_size=2, max_size=8), st.sampled_from(PERCENTILES))
def test_more_load_never_looks_better(shape: ServiceShape, loads: list[float], percentile: int) -> None:
    """The response time never falls when the load rises, nor when the percentile does, and never is below the service time's own percentile."""
    found = [response_factor(shape, load, percentile) for load in sorted(loads)]

    assert found == sorted(found)
    assert all(math.isfinite(value) for value in found)
    assert found[0] >= np.interp(percentile / 100, shape.points, shape.quantiles) - 1e-9
    assert response_factor(shape, loads[0], 99) >= response_factor(shape, loads[0], percentile)


@pytest.mark.parametrize(("load", "percentile"), [(1.0, 95), (-0.1, 95), (math.nan, 95), (0.5, 0), (0.5, 100)])
def test_loads_and_percentiles_that_have_no_answer_are_refused(load: float, percentile: int) -> None:
    """A server that cannot keep up has no response time, and the hundredth percentile is infinite."""
    with pytest.raises(ValueError, match="no response time"):
        response_factor(DETERMINISTIC, load, percentile)


@pytest.mark.parametrize("quantiles", [(2.0, 1.0), (math.nan, 1.0), (-1.0, 3.0)])
def test_shapes_that_are_no_distributions_are_refused(quantiles: tuple[float, float]) -> None:
    """Quantiles must be finite, ascend, and not be negative."""
    with pytest.raises(ValueError, match=r"mean|ascend|finite"):
        ServiceShape((0.0, 1.0), quantiles)
