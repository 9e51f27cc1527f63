"""Groups of fused edges: union-find, and no kernel that waits for itself."""

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.fusion import rules
from stowplan_predictor.fusion.classifier_inputs import EDGE_FEATURES, OPERATOR_FEATURES, classifier_inputs, live_edges
from stowplan_predictor.fusion.classifiers import learned_kernels
from stowplan_predictor.fusion.groupings import UnionFind, groups
from stowplan_predictor.graphs.opgraphs import OpGraph
from support.opgraphs import GraphMaker
from support.random_opgraphs import graphs as random_graphs


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_union_find_joins_what_is_connected(pairs: list[tuple[int, int]]) -> None:
    """Two numbers share a root exactly where a path of pairs leads from one to the other."""
    sets, reached = UnionFind(range(10)), {index: {index} for index in range(10)}
    for left, right in pairs:
        sets.join(left, right)
        whole = reached[left] | reached[right]
        reached.update(dict.fromkeys(whole, whole))

    assert all((sets.root(left) == sets.root(right)) == (right in reached[left]) for left in range(10) for right in range(10))


def test_a_group_that_would_wait_for_itself_loses_its_weakest_edge() -> None:
    """0 -> 1 -> 2 and 0 -> 2: fusing 0 with 2 but not with 1 would make the kernel wait for 1, which waits for it."""
    edges = [(0, 1), (1, 2), (0, 2), (2, 3)]
    roots = groups(range(4), edges, {(0, 2): 0.5, (2, 3): 3.0})

    assert roots == {0: 0, 1: 1, 2: 2, 3: 2}
    assert groups(range(4), edges, {(0, 2): 0.5, (0, 1): 3.0, (1, 2): 1.0}) == {0: 0, 1: 0, 2: 0, 3: 3}


@given(random_graphs(), st.randoms(use_true_random=False))
def test_whatever_a_classifier_says_kernels_are_valid(graph: OpGraph, random: Random) -> None:
    """Any answer on any graph gives kernels that hold every operator once and stand in topological order."""
    flow = rules.grouped(graph)
    inputs = classifier_inputs(flow, ("Conv", "Relu"), 16)
    logits = np.array([random.uniform(-1, 1) for _ in range(inputs.edges.shape[1])], dtype=np.float32)
    kernels = learned_kernels(flow, inputs, logits)

    assert sorted(index for kernel in kernels for index in kernel.operators) == list(range(len(flow.graph.operators)))
    written = set(flow.graph.inputs)
    for kernel in kernels:
        assert written.issuperset(kernel.inputs)
        written.update(kernel.outputs)


@given(random_graphs())
def test_a_classifier_that_agrees_with_the_rules_gives_the_rules_kernels(graph: OpGraph) -> None:
    """Told the rules' own groups edge by edge, the learned path gives the same kernels with the same types and sums, wherever groups hang together by edges."""
    flow = rules.grouped(graph)
    inputs = classifier_inputs(flow, (), 16)
    connected = {index: index for index in inputs.operators}
    sets = UnionFind(connected)
    for writer, reader, _ in live_edges(flow):
        if flow.groups[writer] is flow.groups[reader]:
            sets.join(writer, reader)
    whole = all(len({sets.root(index) for index in group.members}) == 1 or group.type == "Split" for group in flow.groups.values())
    logits = inputs.links[:, EDGE_FEATURES.index("rules_fuse")] - 0.5

    if whole:
        assert learned_kernels(flow, inputs, logits) == rules.fuse(flow.graph)


def test_inputs_describe_operators_and_edges() -> None:
    """One row an operator that runs, one column a known type, and an edge past what is eliminated."""
    make = GraphMaker()
    conv = make.op("Identity", make.conv(make.input(1, 16, 8, 8), 24, 1))
    make.op("Mystery", make.op("Relu", conv))
    flow = rules.grouped(make.graph())
    inputs = classifier_inputs(flow, ("Conv", "Relu"), 16)

    assert inputs.operators == (0, 2, 3)
    assert inputs.edges.tolist() == [[0, 1], [1, 2]]
    assert inputs.nodes.shape == (3, len(OPERATOR_FEATURES) + 2)
    assert inputs.nodes[:, -2:].tolist() == [[1, 0], [0, 1], [0, 0]]

    def column(name: str) -> list[float]:
        return [float(value) for value in inputs.nodes[:, OPERATOR_FEATURES.index(name)]]

    assert column("unknown_type") == [0, 0, 1]
    assert column("kernel_is_one") == [1, 0, 0]
    assert column("channels_fill_blocks") == [0, 0, 0]
    assert column("channels_in_fours") == [1, 1, 1]
    assert column("is_output") == [0, 0, 1]
    assert inputs.links[:, EDGE_FEATURES.index("rules_fuse")].tolist() == [1, 0]
