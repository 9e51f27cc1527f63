"""Batches: several networks in one process, visited in rounds by the real runtime; how long they take is not judged."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from stowplan_fleet.slices import parse_slice
from stowplan_predictor.errors import MeasurementError, RuntimeRefused
from stowplan_predictor.measuring import batches
from stowplan_predictor.measuring.batches import BatchRules, Visit
from stowplan_predictor.measuring.references import Reference

_SHORT = BatchRules(rounds=2, min_runs=5, min_s=0.002, profile_runs=4, profile_s=0.0)
_BEST = Reference(2.5, 5.0)
# Against this every machine is fast: nothing is waited for.
_PATIENT = Reference(1e3, 1e3)


def _network(width: int, external: str = "") -> bytes:
    weight = numpy_helper.from_array(np.ones((width, width), np.float32), "w")
    if external:
        onnx.external_data_helper.set_external_data(weight, external, 0, weight.ByteSize())
        weight.ClearField("raw_data")
        del weight.external_data[1:]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["h"], name="product"), helper.make_node("Relu", ["h"], ["y"], name="rectified")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, width])],
        [weight],
    )
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString())


def test_every_network_is_visited_in_every_round() -> None:
    """Rounds follow each other, so that visits to one network lie apart; only the chosen ones are profiled."""
    measured = batches.measure_batch([("a", _network(16)), ("b", _network(64))], parse_slice("cpu:1"), _BEST, profiled=["b"], rules=_SHORT)

    assert [(visit.name, visit.repeat) for visit in measured.visits] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    assert all(visit.runs >= 5 and 0 < visit.p5_ms <= visit.p25_ms <= visit.median_ms for visit in measured.visits)
    assert all(visit.product_slowdown > 0 and visit.copy_slowdown > 0 for visit in measured.visits)
    assert list(measured.profiles) == ["b"]
    assert [kernel.op_type for kernel in measured.profiles["b"].kernels] == ["MatMul", "Relu"]
    assert measured.profiles["b"].sum_ms > 0


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two cores are needed")
def test_two_cores_share_one_pool() -> None:
    """All networks of a batch on two cores compute with both, on one pool of threads."""
    measured = batches.measure_batch([("a", _network(16)), ("b", _network(256))], parse_slice("cpu:2"), _PATIENT, rules=_SHORT)

    assert measured.threads == 2
    assert len(measured.visits) == 4


def test_external_weights_lie_beside_the_models(tmp_path: Path) -> None:
    """A file of weights that many models name is found, and nothing but that file is left behind."""
    shared = tmp_path / "weights.bin"
    shared.write_bytes(np.ones((16, 16), np.float32).tobytes())
    measured = batches.measure_batch([("a", _network(16, "weights.bin"))], parse_slice("cpu:1"), _BEST, rules=_SHORT, external=shared)

    assert len(measured.visits) == 2
    assert list(tmp_path.iterdir()) == [shared]


def test_refusals_name_the_network() -> None:
    """What the runtime cannot run is named; fractions of a core are not measured in batches."""
    with pytest.raises(RuntimeRefused, match=r"bad: .*cannot run it"):
        batches.measure_batch([("good", _network(16)), ("bad", b"not onnx")], parse_slice("cpu:1"), _BEST, rules=_SHORT)
    with pytest.raises(MeasurementError, match="whole cores"):
        batches.measure_batch([("good", _network(16))], parse_slice("cpu:500m"), _BEST)


@pytest.mark.parametrize(
    ("changed", "noisy"),
    [({}, False), ({"foreign_share": 0.03}, True), ({"steal_share": 0.03}, True), ({"product_slowdown": 1.2}, True), ({"copy_slowdown": 1.3}, True)],
)
def test_what_makes_a_visit_noisy(changed: dict[str, float], noisy: bool) -> None:  # noqa: FBT001 - a parameter
    """Any measure of disturbance above its limit."""
    fields = {"foreign_share": 0.0, "steal_share": 0.0, "product_slowdown": 1.0, "copy_slowdown": 1.0} | changed
    visit = Visit("a", 0, 5, 1.0, 1.0, 1.0, 1.0, 0.0, measured_at="", **fields)

    assert visit.noisy is noisy
