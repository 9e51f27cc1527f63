"""Listed kernels: what published networks hold rarely is measured too, one kernel a graph, by graphs that the runtime runs."""

from itertools import chain

from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.training.campaigns import isolated_lists
from stowplan_predictor.training.generated import single_kernels


def _fields(op_type: str, name: str) -> set[object]:
    nodes = [node for spec in chain(*isolated_lists.drawn()) for node in spec.nodes if node.op_type == op_type]
    return {str(node.attributes.get(name)) for node in nodes}


def test_the_list_varies_what_cuts_leave_alone() -> None:
    """Every way to resize, many dilations, axes other than the last, and both ways to say how large a result shall be; no graph twice."""
    kernels = list(chain(*isolated_lists.drawn()))

    assert _fields("Resize", "mode") == {"nearest", "linear", "cubic"}
    assert len(_fields("Conv", "dilations")) >= 6
    assert _fields("Softmax", "axis") == {"1", "2"}
    assert {tuple(spec.constants) for spec in kernels if spec.nodes[0].op_type == "Resize"} == {("c2",), ("c3",)}
    assert len({single_kernels.to_json(spec) for spec in kernels}) == len(kernels) >= 450


def test_listed_kernels_stand_alone() -> None:
    """A tenth of them: our fusion makes one kernel of each, of the type that the specification says, and the runtime runs it; few are too large."""
    some = [own[number] for own in isolated_lists.drawn() for number in range(0, len(own), 10)]
    found = [spec for spec in map(isolated_lists.typed, some) if spec is not None]

    assert len(found) >= 0.9 * len(some)
    for spec in found:
        kernels = rules.fuse(loading.load_graph(single_kernels.structure(single_kernels.to_json(spec))))
        assert [str(kernel.type) for kernel in kernels] == [spec.kernel]


def test_listed_kernels_belong_to_no_family() -> None:
    """They were cut out of no network, so that no fold holds them out."""
    families = {spec.family for own in isolated_lists.drawn() for spec in own}

    assert families == {""}
