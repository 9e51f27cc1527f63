"""Kernels have names that a person can find in the model."""

from stowplan_predictor.fusion.kernel_names import kernel_name
from stowplan_predictor.fusion.rules import fuse
from support.opgraphs import GraphMaker


def test_a_name_lists_the_operators_and_where_the_anchor_stands() -> None:
    """`Conv+BatchNormalization+Relu conv0`: what runs, then where."""
    make = GraphMaker()
    make.op("Relu", make.norm(make.conv(make.input(1, 16, 8, 8), 16)))
    graph = make.graph()

    assert [kernel_name(graph, kernel) for kernel in fuse(graph)] == ["Conv+BatchNormalization+Relu conv0"]


def test_runs_of_one_operator_are_counted() -> None:
    """Three slices are `3xSlice`, so that a name fits a column."""
    make = GraphMaker()
    source = make.input(1, 48)
    for _ in range(3):
        make.op("Slice", source, make.parameter(1), make.parameter(1), shape=(1, 16))
    graph = make.graph()

    assert [kernel_name(graph, kernel) for kernel in fuse(graph)] == ["3xSlice slice0"]
