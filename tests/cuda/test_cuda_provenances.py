"""Fusion read off the compiler's own provenance; `inductor_on_cpu.json` is what torch 2.13 wrote when it compiled two small modules for a CPU."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.cuda import provenances
from stowplan_predictor.training.cuda.provenances import GRAPH_ARTIFACT, GraphTruth

RECORDED: dict[str, list[tuple[str, str]]] = {
    item["what"]: item["artifacts"] for item in json.loads((Path(__file__).parent / "inductor_on_cpu.json").read_text())["recorded"]
}


def truth(what: str) -> GraphTruth:
    artifacts = dict(RECORDED[what])
    return provenances.graph_truth(artifacts[GRAPH_ARTIFACT], json.loads(artifacts[provenances.MAPPING_ARTIFACT]))


def test_kernels_come_in_the_order_of_their_calls_with_the_operators_in_them() -> None:
    """Convolution, batch normalisation with activation and mean, linear layer, softmax: as inductor cut them."""
    found = truth("network")
    kernels = [(kernel.name.split("_fused")[0], kernel.is_library) for kernel in found.kernels]

    assert [kernel.position for kernel in found.kernels] == sorted(kernel.position for kernel in found.kernels)
    assert kernels == [("cpp", False), ("extern_kernels.convolution", True), ("cpp", False), ("extern_kernels.addmm", True), ("cpp", False)]
    assert set(found.operators_of(found.kernels[4])) == {"aten.amax.default", "aten.sub.Tensor", "aten.exp.default", "aten.sum.dim_IntList", "aten.div.Tensor"}
    assert {"aten.relu.default", "aten.mean.dim"} <= set(found.operators_of(found.kernels[2]))


def test_nodes_carry_shapes_and_where_their_inputs_come_from() -> None:
    """From the printed graph: 2 x 8 x 16 x 16 in, ten classes out."""
    nodes = truth("network").nodes

    assert (nodes["convolution"].shape, nodes["convolution"].dtype) == ((2, 16, 16, 16), "f32")
    assert nodes["div"].shape == (2, 10)
    assert set(nodes["div"].inputs) == {"exp", "sum_1"}
    assert nodes["relu"].inputs == ("add_1",)
    assert (2, 8, 16, 16) in {node.shape for node in nodes.values() if node.target == "placeholder"}


def test_each_edge_is_fused_or_not_by_the_compilers_word() -> None:
    """The convolution is a kernel of its own, what follows it is one kernel, the linear layer another."""
    edges = {(source, target): fused for source, target, fused in truth("network").edges()}

    assert edges["add_1", "relu"]
    assert edges["relu", "mean"]
    assert edges["exp", "div"]
    assert not edges["convolution", "sub"]
    assert not edges["mean", "addmm"]
    assert not edges["addmm", "amax"]


def test_a_block_of_random_kernels_is_told_in_the_same_way() -> None:
    """A linear layer with a chain, a softmax, two pointwise operators."""
    found = truth("block")
    assert found.kernels[0].is_library
    assert "aten.mm.default" in found.operators_of(found.kernels[0])
    assert {"aten.erf.default", "aten.exp.default", "aten.relu.default"} <= set(found.operators_of(found.kernels[1]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"version": 3.0}, "version 3.0"),
        ({"cppCodeToPost": {"triton_poi_fused_relu_0": ["relu"]}}, "no number of its call"),
        ({"cppCodeToPost": {"triton_poi_fused_relu_0:1": ["nobody", "nothing"]}}, "does not have"),
    ],
)
def test_another_version_of_the_compiler_is_refused_and_not_guessed(change: dict[str, Any], told: str) -> None:
    """What cannot be read is an error that names the part."""
    artifacts = dict(RECORDED["network"])
    mapping = {**json.loads(artifacts[provenances.MAPPING_ARTIFACT]), **change}

    with pytest.raises(DatasetRefused, match=told):
        provenances.graph_truth(artifacts[GRAPH_ARTIFACT], mapping)


@given(st.text(max_size=200))
def test_any_text_is_read_as_a_graph_without_harm(text: str) -> None:
    """Lines that are no operator are passed over; inputs always name nodes above."""
    seen: set[str] = set()
    for node in provenances.parse_graph(text).values():
        assert set(node.inputs) <= seen | {node.name}
        seen.add(node.name)
