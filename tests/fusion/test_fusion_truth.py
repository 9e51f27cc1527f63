"""Our rules fuse what ONNX Runtime really fuses: held against the optimised models it saves, for the nine models inside the onnx wheel."""

from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test
import onnxruntime as ort
import pytest
from stowplan_predictor.errors import ModelUnreadable
from stowplan_predictor.fusion.fused_kernels import Kernel, KernelType
from stowplan_predictor.fusion.rules import fuse
from stowplan_predictor.fusion.truths import EdgeTruth, FusionTruth, read_truth
from stowplan_predictor.graphs.loading import load_graph
from stowplan_predictor.graphs.opgraphs import OpGraph
from support.opgraphs import GraphMaker

LIGHT_MODELS = sorted((Path(onnx.backend.test.__file__).parent / "data" / "light").glob("*.onnx"))
# Measured with onnxruntime 1.31 on AVX-512: 1.0 for eight of nine. Inception v2's stored weights are all equal, so the runtime merges three of its convolutions
# by their values, which a graph without weights cannot know.
FLOORS = {"light_inception_v2": 0.94}
FLOOR = 0.99


def channel_block() -> int:
    """Channels in a block of the runtime's blocked layout here."""
    return 16 if "avx512f" in Path("/proc/cpuinfo").read_text() else 8


def judged(path: Path, folder: Path) -> tuple[OpGraph, FusionTruth]:
    """A model's graph, and what the runtime made of it."""
    saved = folder / "optimized.onnx"
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(saved)
    options.log_severity_level = 3
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    graph = load_graph(path.read_bytes())
    optimized = saved.read_bytes()
    # The weights are in it: half a gigabyte for VGG.
    saved.unlink()
    return graph, read_truth(graph, optimized)


@pytest.mark.parametrize("path", LIGHT_MODELS, ids=lambda path: path.stem)
def test_rules_agree_with_the_runtime(path: Path, tmp_path: Path) -> None:
    """Our kernels fuse the same edges, of those that the optimised graph can tell (nearly all); and every runtime node finds the operator it works for, so
    that a profile can be laid on our kernels without a rest.
    """
    graph, truth = judged(path, tmp_path)

    assert truth.match_rate >= 0.98
    assert truth.agreement(fuse(graph, channel_block())) >= FLOORS.get(path.stem, FLOOR)
    assert truth.unmatched_nodes == ()
    assert set(truth.owners.values()) <= {op.index for op in graph.operators}


def test_truth_tells_wrong_fusions_from_right_ones(tmp_path: Path) -> None:
    """Kernels of one operator each disagree on exactly the fused edges, so the agreement above means something."""
    path = next(item for item in LIGHT_MODELS if item.stem == "light_squeezenet")
    graph, truth = judged(path, tmp_path)
    fused = [edge for edge, label in truth.edges.items() if label is EdgeTruth.FUSED]
    lonely = [Kernel(op.index, KernelType(op.op_type), (op.index,), op.index, (), (), 0, 0, 0, 0) for op in graph.operators]

    # Every squeezenet convolution takes its Relu.
    assert len(fused) == 26
    assert {(graph.operators[a].op_type, graph.operators[b].op_type) for a, b in fused} == {("Conv", "Relu")}
    assert sorted(truth.disagreements(tuple(lonely))) == sorted(fused)


def test_a_broken_optimised_model_is_refused() -> None:
    """Bytes that are not ONNX give a named error."""
    make = GraphMaker()
    make.op("Relu", make.input(4))

    with pytest.raises(ModelUnreadable, match="optimised model"):
        read_truth(make.graph(), b"\xff\xfe not a model")


def test_names_that_are_not_unique_own_nothing() -> None:
    """Two runtime nodes of one name cannot be told apart in a profile: neither is laid on an operator by that name; their edges are judged all the same."""
    make = GraphMaker()
    last = make.op("Exp", make.op("Sqrt", make.input(4)))
    nodes = [onnx.helper.make_node("Sqrt", ["in0"], ["t0"]), onnx.helper.make_node("Exp", ["t0"], [last])]
    saved = onnx.helper.make_model(onnx.helper.make_graph(nodes, "saved", [], []))
    truth = read_truth(make.graph(), saved.SerializeToString())

    assert truth.owners == {}
    assert truth.unmatched_nodes == ()
    assert truth.edges == {(0, 1): EdgeTruth.APART}


def saved(*nodes: onnx.NodeProto) -> bytes:
    """An optimised model that holds just those nodes."""
    return bytes(onnx.helper.make_model(onnx.helper.make_graph(list(nodes), "saved", [], [])).SerializeToString())


def test_what_a_value_made_pointless_is_neither_fused_nor_apart() -> None:
    """A factor of one and an addend of zero vanish between two nodes that go on running: nobody fused them."""
    make = GraphMaker()
    start = make.op("Relu", make.input(1, 16, 8, 8))
    make.conv(make.op("Add", make.op("Mul", start, make.parameter()), make.parameter()), 16)
    node = onnx.helper.make_node
    truth = read_truth(make.graph(), saved(node("Relu", ["in0"], ["t0"], "relu0"), node("Conv", ["t0", "w"], ["t3"], "conv3")))

    assert set(truth.edges.values()) == {EdgeTruth.ELIMINATED}
    assert truth.kernels == {frozenset({0}), frozenset({3})}


def test_what_was_merged_with_an_equal_one_is_neither_fused_nor_apart() -> None:
    """Two convolutions of equal shapes whose weights turned out equal: one runs, and what hung on the other hangs on it."""
    make = GraphMaker()
    source = make.op("Exp", make.input(1, 16, 8, 8))
    ends = [make.op("Sqrt", make.conv(source, 16)) for _ in range(2)]
    graph = make.graph(*ends)
    node = onnx.helper.make_node
    truth = read_truth(
        graph, saved(node("Exp", ["in0"], ["t0"], "exp0"), node("Conv", ["t0", "w"], [ends[0][:1] + "1"], "conv1"), *(
            node("Sqrt", ["t1"], [end], f"sqrt{end[1:]}") for end in ends)),
    )  # fmt: skip

    assert truth.edges == {(0, 1): EdgeTruth.APART, (0, 3): EdgeTruth.ELIMINATED, (1, 2): EdgeTruth.APART, (3, 4): EdgeTruth.ELIMINATED}


def test_an_operator_that_vanished_without_a_reason_is_unmatched() -> None:
    """Work that no node does and no other operator could have taken over is counted as not understood."""
    make = GraphMaker()
    make.op("Exp", make.op("Sqrt", make.input(4)))
    truth = read_truth(make.graph(), saved(onnx.helper.make_node("Exp", ["in0"], ["t1"], "exp1")))

    assert truth.edges == {(0, 1): EdgeTruth.UNMATCHED}
    assert truth.match_rate == 0


def test_kernels_are_recovered_only_whole() -> None:
    """A convolution with its activation counts where both are together and alone; what does no work is left out of the comparison."""
    make = GraphMaker()
    conv = make.conv(make.input(1, 16, 8, 8), 16)
    make.op("Exp", make.op("Identity", make.op("Relu", conv)))
    graph = make.graph()
    node = onnx.helper.make_node
    truth = read_truth(graph, saved(node("FusedConv", ["in0", "w"], ["t1"], "conv0", activation="Relu"), node("Exp", ["t1"], ["t3"], "exp3")))

    def kernels(*groups: tuple[int, ...]) -> tuple[Kernel, ...]:
        return tuple(Kernel(place, KernelType("?"), group, group[0], (), (), 0, 0, 0, 0) for place, group in enumerate(groups))

    assert truth.kernels == {frozenset({0, 1}), frozenset({3})}
    assert truth.recovered(kernels((0, 1, 2), (3,))) == 2
    assert truth.recovered(kernels((0,), (1, 2), (3,))) == 1
    assert truth.recovered(kernels((0, 1, 2, 3))) == 0


def test_slices_that_became_a_split_are_one_kernel(tmp_path: Path) -> None:
    """The runtime's Split belongs to all slices it took the place of."""
    helper, number = onnx.helper, onnx.TensorProto
    bounds = {name: onnx.numpy_helper.from_array(np.array([value], dtype=np.int64), name) for name, value in (("a", 0), ("b", 2), ("c", 4), ("axis", 1))}
    nodes = [helper.make_node("Exp", ["x"], ["e"], "/exp")]
    nodes += [helper.make_node("Slice", ["e", left, right, "axis"], [f"s{left}"], f"/slice{left}") for left, right in (("a", "b"), ("b", "c"))]
    ends = [helper.make_tensor_value_info(name, number.FLOAT, [1, 2]) for name in ("sa", "sb")]
    inputs = [helper.make_tensor_value_info("x", number.FLOAT, [1, 4])]
    graph = helper.make_graph(nodes, "slices", inputs, ends, list(bounds.values()))
    file = tmp_path / "slices.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), file)
    graph_read, truth = judged(file, tmp_path)

    assert frozenset({1, 2}) in truth.kernels
    assert truth.recovered(fuse(graph_read, channel_block())) == len(truth.kernels)
