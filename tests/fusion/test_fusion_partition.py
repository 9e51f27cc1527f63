"""Whatever the graph, kernels partition its operators, stand in topological order and account for what crosses their borders."""

from hypothesis import given
from stowplan_predictor.fusion.kernel_names import kernel_name
from stowplan_predictor.fusion.rules import fuse
from stowplan_predictor.graphs.opgraphs import OpGraph
from support.random_opgraphs import graphs


@given(graphs())
def test_every_operator_belongs_to_exactly_one_kernel(graph: OpGraph) -> None:
    """No operator is lost or run twice, and each kernel's anchor is its own."""
    kernels = fuse(graph)

    assert sorted(index for kernel in kernels for index in kernel.operators) == list(range(len(graph.operators)))
    assert all(kernel.anchor in kernel.operators for kernel in kernels)
    assert [kernel.index for kernel in kernels] == list(range(len(kernels)))


@given(graphs())
def test_kernels_stand_in_topological_order(graph: OpGraph) -> None:
    """A kernel reads only what earlier kernels wrote: there is no cycle among them."""
    written = set(graph.inputs)
    for kernel in fuse(graph):
        assert written.issuperset(kernel.inputs)
        written.update(kernel.outputs)
    assert written.issuperset(graph.outputs)


@given(graphs())
def test_sums_never_exceed_those_of_the_operators(graph: OpGraph) -> None:
    """Fusing can only save: arithmetic, traffic and parameters of the kernels are at most those of the operators."""
    kernels = fuse(graph)

    assert sum(kernel.flops for kernel in kernels) <= graph.flops
    assert sum(kernel.parameter_bytes for kernel in kernels) <= sum(op.parameter_bytes for op in graph.operators)
    for kernel in kernels:
        members = [graph.operators[index] for index in kernel.operators]
        assert 0 <= kernel.input_bytes <= sum(op.input_bytes for op in members)
        assert 0 <= kernel.output_bytes <= sum(op.output_bytes for op in members)


@given(graphs())
def test_every_kernel_has_a_name_for_people(graph: OpGraph) -> None:
    """Names are never empty and say where the anchor stands."""
    for kernel in fuse(graph):
        assert graph.operators[kernel.anchor].name in kernel_name(graph, kernel)
