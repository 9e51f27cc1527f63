"""Stripped structures lose weights and nothing else."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from stowplan_predictor.graphs.loading import load_graph
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.generated import networks as random_networks


def test_strip_keeps_the_operator_graph() -> None:
    """What the predictor sees of a stripped file is what it sees of the whole one."""
    for seed in range(4):
        whole = random_networks.network(seed)
        stripped = structures.strip_weights(whole)

        assert len(stripped) < len(whole)
        assert load_graph(stripped).digest == load_graph(whole).digest


def test_small_and_integer_tensors_stay() -> None:
    """Shapes depend on them."""
    tensors = [numpy_helper.from_array(np.arange(100, dtype=np.int64), "index"), numpy_helper.from_array(np.ones(4, np.float32), "scale")]
    weight = numpy_helper.from_array(np.ones((64, 64), np.float32), "weight")
    graph = helper.make_graph([], "g", [], [helper.make_tensor_value_info("scale", TensorProto.FLOAT, [4])], [*tensors, weight])
    stripped = onnx.load_model_from_string(structures.strip_weights(helper.make_model(graph).SerializeToString()))
    kept = {tensor.name: tensor for tensor in stripped.graph.initializer}

    assert numpy_helper.to_array(kept["index"]).tolist() == list(range(100))
    assert numpy_helper.to_array(kept["scale"]).tolist() == [1.0] * 4
    assert not kept["weight"].raw_data
    assert kept["weight"].data_location == TensorProto.EXTERNAL
    assert list(kept["weight"].dims) == [64, 64]


def test_packing_is_reversible_and_repeatable() -> None:
    """Packed twice, the bytes are the same: a data set that did not change shows no difference."""
    assert structures.unpack(structures.pack(b"graph" * 100)) == b"graph" * 100
    assert structures.pack(b"graph") == structures.pack(b"graph")
