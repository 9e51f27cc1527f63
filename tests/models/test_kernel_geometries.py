"""Geometries and layouts of kernels: what a CPU runtime's loops see of an operator."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.fusion import rules
from stowplan_predictor.kernels.contractions import contraction
from stowplan_predictor.kernels.geometries import geometry
from stowplan_predictor.kernels.layouts import Layout, kernel_layouts
from stowplan_predictor.kernels.moves import canonical_permutation, common_run
from stowplan_predictor.kernels.workloads import workloads
from support.opgraphs import GraphMaker


@given(st.permutations(range(4)), st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_a_canonical_permutation_moves_as_many_elements(permutation: list[int], shape: list[int]) -> None:
    """Dropping ones and joining neighbours keeps every element, and leaves a permutation that cannot be made shorter."""
    sizes, moved = canonical_permutation(tuple(shape), tuple(permutation))
    total = 1
    for size in shape:
        total *= size

    product = 1
    for size in sizes:
        product *= size
    assert product == (total if moved else 1)
    assert sorted(moved) == list(range(len(moved)))
    assert all(after != before + 1 for before, after in pairwise(moved))
    assert 1 not in sizes


@pytest.mark.parametrize(
    ("shape", "permutation", "run", "axes"),
    [
        ((1, 196, 12, 64), (0, 2, 1, 3), 64, 3),  # heads before time: rows of a head stay whole
        ((8, 1, 3, 5), (1, 0, 2, 3), 120, 1),  # only a dimension of one moves: a copy
        ((1, 64, 56, 56), (0, 2, 3, 1), 1, 2),  # channels last: a matrix transposed
    ],
)
def test_a_transpose_is_seen_as_what_it_moves(shape: tuple[int, ...], permutation: tuple[int, ...], run: int, axes: int) -> None:
    """The run is what stays together in memory, the axes are what is left after joining neighbours."""
    maker = GraphMaker()
    source = maker.input(*shape)
    maker.op("Transpose", source, shape=tuple(shape[axis] for axis in permutation), attributes={"perm": permutation})
    graph = maker.graph()

    found = geometry(graph, graph.operators[0])

    assert (found.run, found.axes) == (run, axes)


def test_a_broadcast_runs_as_far_as_nothing_changes() -> None:
    """A bias of C beside (B, T, C) jumps every C elements; one value a channel of (B, C, H, W) every H x W; equal shapes never."""
    assert common_run((2, 10, 8), (8,)) == 8
    assert common_run((2, 8, 7, 7), (8, 1, 1)) == 49
    assert common_run((2, 8, 7, 7), (2, 8, 7, 7)) == 2 * 8 * 49


def test_positions_at_the_edge_are_taken_one_by_one() -> None:
    """A 3x3 window over rows of 8 with padding: two positions at the edges alone and one full turn of six, against 8 / 6 turns."""
    maker = GraphMaker()
    source = maker.input(1, 32, 8, 8)
    weight = maker.parameter(32, 32, 3, 3)
    maker.op("Conv", source, weight, shape=(1, 32, 8, 8), attributes={"pads": (1, 1, 1, 1), "strides": (1, 1), "kernel_shape": (3, 3)})
    graph = maker.graph()

    assert geometry(graph, graph.operators[0]).steps == pytest.approx(3 * 6 / 8)


def test_heads_of_an_attention_are_products_of_their_own() -> None:
    """(B, H, T, d) x (B, H, d, T) are B x H products; a right-hand side shared by all is one."""
    maker = GraphMaker()
    left, right = maker.input(2, 12, 10, 64), maker.input(2, 12, 64, 10)
    maker.op("MatMul", left, right, shape=(2, 12, 10, 10))
    maker.op("MatMul", left, maker.parameter(64, 32), shape=(2, 12, 10, 32))
    graph = maker.graph()

    assert geometry(graph, graph.operators[0]).batch == 24
    assert geometry(graph, graph.operators[1]).batch == 1


def test_an_einsum_is_a_batch_of_products() -> None:
    """Scores of an attention with heads in the middle, by query and by height: batch, rows, columns and summed lengths as the runtime multiplies them."""
    scores = contraction("ibnd,jbnd->bnij", ((64, 2, 4, 32), (128, 2, 4, 32)))
    heights = contraction("byhwc,wkc->byhwk", ((1, 2, 5, 7, 96), (7, 14, 96)))

    assert scores is not None
    assert (scores.batch, scores.rows, scores.columns, scores.summed) == (8, 64, 128, 32)
    assert scores.moves[0] == ((64, 2, 4, 32), (1, 2, 0, 3))
    assert scores.moves[2][1] == (0, 1, 2, 3)
    assert heights is not None
    assert (heights.batch, heights.rows, heights.columns, heights.summed) == (7, 10, 14, 96)


@given(st.data())
def test_what_an_einsum_multiplies_is_what_it_counts(data: st.DataObject) -> None:
    """Batch x rows x columns are the elements that come out, and the moves keep every element of theirs."""
    sizes = {label: data.draw(st.integers(1, 4)) for label in "abcd"}
    left, right = data.draw(st.permutations("abc")), data.draw(st.permutations("acd"))
    output = data.draw(st.permutations("abd"))
    shapes = tuple(tuple(sizes[label] for label in term) for term in (left, right))

    found = contraction(f"{''.join(left)},{''.join(right)}->{''.join(output)}", shapes)

    assert found is not None
    assert (found.batch, found.rows, found.columns, found.summed) == tuple(sizes[label] for label in "abdc")
    assert [sorted(permutation) for _, permutation in found.moves] == [[0, 1, 2]] * 3
    assert found.moves[0][0] == shapes[0]


@pytest.mark.parametrize(
    ("equation", "shapes"),
    [
        ("ii,ij->j", ((3, 3), (3, 2))),  # a diagonal
        ("...ij,jk->...ik", ((2, 3, 4), (4, 5))),
        ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 5))),
        ("ij->ji", ((2, 3),)),
        ("ij,kl->il", ((2, 3), (4, 5))),  # j and k are summed alone
        ("ij,jk->ik", ((2, 3, 4), (4, 5))),
    ],
)
def test_other_einsums_are_no_products(equation: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    """What is no product of two matrices keeps the counts of any operator, and nothing is raised."""
    assert contraction(equation, shapes) is None


def test_an_einsum_is_seen_as_its_products() -> None:
    """The kernel's rows, columns and length are those of the products, not of its last dimension; what is moved has no runs."""
    maker = GraphMaker()
    maker.op("Einsum", maker.input(64, 2, 4, 32), maker.input(128, 2, 4, 32), shape=(2, 4, 64, 128), attributes={"equation": "ibnd,jbnd->bnij"})
    graph = maker.graph()

    found = geometry(graph, graph.operators[0])

    assert (found.m, found.n, found.k, found.batch) == (8 * 64, 128, 32, 8)
    assert (found.run, found.axes) == (1, 3)


def test_a_gather_picks_pieces() -> None:
    """Rows of an embedding lie together; elements along the last dimension are picked one by one."""
    maker = GraphMaker()
    maker.op("Gather", maker.parameter(1000, 128), maker.input(1, 64), shape=(1, 64, 128))
    maker.op("Gather", maker.input(2, 8, 8), maker.input(4), shape=(2, 8, 4), attributes={"axis": -1})
    graph = maker.graph()

    assert [geometry(graph, operator).run for operator in graph.operators] == [128, 1]


def test_resizes_are_kernels_of_their_mode() -> None:
    """A cubic resize costs a hundred times what a linear one does: each mode learns from its own kind."""
    maker = GraphMaker()
    source = maker.input(1, 3, 8, 8)
    for mode in ("linear", "nearest", "cubic"):
        maker.op("Resize", source, shape=(1, 3, 16, 16), attributes={"mode": mode})
    graph = maker.graph()

    assert workloads(graph, rules.fuse(graph)).types == ("Resize", "NearestResize", "CubicResize")


def layouts(maker: GraphMaker, block: int = 16) -> tuple[Layout, ...]:
    graph = maker.graph()
    return kernel_layouts(graph, rules.fuse(graph), block)


def test_blocks_are_entered_and_left_by_copies() -> None:
    """Two convolutions on blocks: one copy in before the first, one copy out behind the last, none between them."""
    maker = GraphMaker()
    source = maker.input(1, 32, 8, 8)
    maker.conv(maker.conv(source, 32), 32)

    first, second = layouts(maker)

    assert (first.blocked, first.reorder_in_bytes, first.reorder_out_bytes) == (True, 4 * 32 * 64, 0)
    assert (second.blocked, second.reorder_in_bytes, second.reorder_out_bytes) == (True, 0, 4 * 32 * 64)


def test_few_input_channels_are_read_as_they_are() -> None:
    """An image of three channels is not copied into blocks: the convolution reads NCHW and writes blocks."""
    maker = GraphMaker()
    maker.conv(maker.input(1, 3, 8, 8), 32)

    (found,) = layouts(maker)

    assert (found.blocked, found.plain_input, found.reorder_in_bytes) == (True, True, 0)


@pytest.mark.parametrize("channels", [18, 30, 57])
def test_odd_channel_counts_stay_out_of_blocks(channels: int) -> None:
    """Channels that are no multiple of four (and do not fit one block) run in NCHW, as the profiles of depthwise networks show."""
    maker = GraphMaker()
    maker.conv(maker.input(1, channels, 8, 8), channels, group=channels)

    assert layouts(maker) == (Layout(),)
