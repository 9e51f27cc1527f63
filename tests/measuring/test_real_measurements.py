"""Measurements through real processes, on tiny networks: the plumbing holds; how long they take is not judged."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stowplan_fleet.slices import parse_slice
from stowplan_predictor.errors import CgroupUnavailable, MeasurementError, RuntimeRefused
from stowplan_predictor.measuring import loads, networks, optimizers, pairs, profiles, visits
from stowplan_predictor.measuring.request_loops import arrival_times_s

_SHORT = networks.SampleRules(min_runs=30, min_s=0.02, max_s=0.2, budget_s=0.1, warmup_s=0.01, fractional_min_s=0.25)
_needs_two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two processes on one core would measure each other")


def _network(batch: int | str = 1) -> bytes:
    weight = numpy_helper.from_array(np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"], name="product"), helper.make_node("Relu", ["h"], ["y"], name="rectified")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 64])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_end_to_end_and_kernels() -> None:
    """A network has at least 30 runs, and each kernel the runtime ran has a time and the tensors it wrote."""
    profile = profiles.profile_kernels(_network(), parse_slice("cpu:1"), rules=_SHORT)

    assert profile.end_to_end.distribution.runs >= 30
    assert profile.end_to_end.threads == 1
    assert profile.end_to_end.input_shapes == {"x": (1, 64)}
    assert profile.kernels
    assert all(kernel.runs >= 20 and kernel.outputs for kernel in profile.kernels)
    assert profile.kernels[-1].outputs == ("y",)
    assert b"MatMul" in profile.optimized_structure or b"Gemm" in profile.optimized_structure


def test_the_machine_itself_is_looked_at() -> None:
    """Against its own best, a machine is never much faster; the slowdowns stand in the record."""
    best = networks.best_reference(parse_slice("cpu:1"), seconds=0.3)
    measured = networks.measure_network(_network(), parse_slice("cpu:1"), best=best, rules=_SHORT)

    assert measured.product_slowdown is not None
    assert measured.copy_slowdown is not None
    assert min(measured.product_slowdown, measured.copy_slowdown) > 0.5


def test_a_visit_times_the_session_that_it_profiled(tmp_path: Path) -> None:
    """Kernels and runs of the same session on one core, and the quietest of its bursts; without the optimised graph nothing is profiled."""
    path = tmp_path / "network.onnx"
    path.write_bytes(_network())
    rules = visits.VisitRules(bursts=2, burst_s=0.01, profile_s=0.01, settles=1)
    best = {"cpu:1": networks.best_reference(parse_slice("cpu:1"), seconds=0.2)}
    (window,) = visits.visit(path, [parse_slice("cpu:1")], best, optimized=optimizers.optimized_structure(path), rules=rules)
    (unprofiled,) = visits.visit(path, [parse_slice("cpu:1")], best, rules=rules)

    assert [kernel.outputs for kernel in window.kernels][-1] == ("y",)
    assert len(window.burst_medians_ms) == 2
    assert window.distribution.median_ms == min(window.burst_medians_ms, key=lambda median: abs(median - window.distribution.median_ms))
    assert window.product_slowdown > 0.5
    assert unprofiled.kernels == ()


def test_dynamic_dimensions_are_bound_by_shapes() -> None:
    """The given shape is what is run."""
    measured = networks.measure_network(_network("n"), parse_slice("cpu:1"), {"x": (5, 64)}, rules=_SHORT)

    assert measured.input_shapes == {"x": (5, 64)}


@pytest.mark.parametrize(("model", "words"), [(b"not onnx", "cannot run it"), (_network("n"), "have no value")])
def test_what_cannot_run_is_refused(model: bytes, words: str) -> None:
    """Broken files and open dimensions are named errors from the measured process."""
    with pytest.raises(RuntimeRefused, match=words):
        networks.measure_network(model, parse_slice("cpu:1"), rules=_SHORT)


@pytest.mark.parametrize("name", ["full", "cpu:1000"])
def test_slices_this_machine_does_not_have(name: str) -> None:
    """No slice is silently cut to what is there."""
    with pytest.raises(MeasurementError, match=f"slice {name}"):
        networks.measure_network(_network(), parse_slice(name), rules=_SHORT)


def test_a_fractional_slice_is_throttled() -> None:
    """On a tenth of a core some runs of a busy network wait for the next period: the slowest takes tens of milliseconds more than the median."""
    try:
        measured = networks.measure_network(_network(), parse_slice("cpu:100m"), rules=_SHORT)
    except CgroupUnavailable as error:
        pytest.skip(str(error))
    assert measured.distribution.quantiles_ms[-1] > measured.distribution.median_ms + 20


@_needs_two_cores
def test_a_pair_has_both_directions() -> None:
    """Each of the two is measured alone and beside the other."""
    rules = pairs.PairRules(rounds=3, budget_s=0.1, min_window_s=0.1, alone_min_s=0.05)
    measured = pairs.measure_pair((_network(), _network(4)), (parse_slice("cpu:1"), parse_slice("cpu:1")), rules=rules)

    assert len(measured.halves) == 2
    assert all(half.ratio > 0 and half.alone.runs >= 8 and half.beside.runs >= 10 and half.spread >= 0 for half in measured.halves)


@_needs_two_cores
def test_a_load_counts_from_the_scheduled_arrival() -> None:
    """Every request is answered and counted, and no response is shorter than the runtime's part of it."""
    rules = loads.LoadRules(max_s=0.5, max_requests=200, closed_runs=50)
    (state,) = loads.measure_loads(_network(), parse_slice("cpu:1"), (0.3,), seed=7, rules=rules)

    assert state.response.runs == 200
    assert 0 < state.inference_mean_ms < state.response.mean_ms
    assert state.requests_per_second == pytest.approx(0.3 / (state.service.mean_ms / 1e3))


@pytest.mark.parametrize("utilization", [0.0, 1.0, 1.5])
def test_loads_that_have_no_steady_state_are_refused(utilization: float) -> None:
    """At 1 and above a queue grows for as long as one looks."""
    with pytest.raises(MeasurementError, match="between 0 and 1"):
        loads.measure_loads(_network(), parse_slice("cpu:1"), (utilization,))


def test_arrivals_are_a_seeded_poisson_process() -> None:
    """Same seed, same moments; the mean gap is the inverse of the rate and gaps vary as exponentials do."""
    gaps = np.diff(arrival_times_s(50.0, 20_000, 3))

    assert np.array_equal(arrival_times_s(50.0, 100, 3), arrival_times_s(50.0, 100, 3))
    assert gaps.mean() == pytest.approx(0.02, rel=0.03)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.03)


def test_a_model_file_is_measured_in_place(tmp_path: Path) -> None:
    """A path works as well as bytes."""
    (tmp_path / "m.onnx").write_bytes(_network())
    with networks.model_file(tmp_path / "m.onnx") as path:
        assert path == tmp_path / "m.onnx"
