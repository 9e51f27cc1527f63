"""What runs at all, and how it lies in memory: copies, casts, equal computations, blocks of channels."""

from stowplan_predictor.fusion import layouts
from stowplan_predictor.fusion.rules import fuse
from support.fused_graphs import gelu, shapes
from support.opgraphs import FLOPS, GraphMaker


def test_slices_that_cut_a_tensor_up_are_one_split() -> None:
    """Three slices of query, key and value are one kernel with three outputs; two of the three are not."""
    for count, kernels in ((3, 1), (2, 2)):
        make = GraphMaker()
        source = make.input(1, 4, 48)
        for _ in range(count):
            make.op("Slice", source, make.parameter(1), make.parameter(1), shape=(1, 4, 16))

        found = fuse(make.graph())
        assert len(found) == kernels
        assert {kernel.type for kernel in found} == ({"Split"} if kernels == 1 else {"Slice"})


def test_what_changes_nothing_belongs_to_what_feeds_it() -> None:
    """Identity, dropout, casts to the same type and expansions to the same shape run no kernel, and fusions see past them."""
    make = GraphMaker()
    conv = make.op("Identity", make.conv(make.input(1, 16, 8, 8), 16))
    cast = make.op("Cast", make.op("Dropout", conv))
    make.op("Relu", make.op("Expand", cast, make.parameter(1)))

    assert shapes(make.graph()) == ["Conv+Identity+Dropout+Cast+Expand+Relu"]


def test_copies_of_the_whole_run() -> None:
    """A slice or a pad that keeps everything, or a concatenation of one tensor, is a copy that the runtime makes."""
    make = GraphMaker()
    start = make.op("Sqrt", make.input(1, 16, 8, 8))
    make.op("Concat", make.op("Pad", make.op("Slice", start, make.parameter(1)), make.parameter(8)), attributes={"axis": 1})

    assert shapes(make.graph()) == ["Sqrt", "Slice", "Pad", "Concat"]


def test_gelus_and_enlargements_keep_blocks() -> None:
    """Behind a Gelu, or an enlargement by whole factors that copies elements, a residual still melts into a convolution of the blocked layout."""
    make = GraphMaker()
    start = gelu(make, make.conv(make.input(1, 16, 8, 8), 16))
    make.op("Add", make.conv(start, 16), start)

    assert shapes(make.graph())[-1] == "Conv+Add"
    for factors, expected in ((3, "Conv+Add"), (4, "Add")):
        make = GraphMaker()
        small = make.conv(make.input(1, 16, 8, 8), 16)
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        operands = ["", make.parameter(4), make.parameter(4)][: factors - 1]
        large = make.op("Resize", small, *operands, shape=(1, 16, 16, 16), attributes=how)
        make.op("Add", make.conv(make.input(1, 16, 16, 16), 16), large)

        assert shapes(make.graph())[-1] == expected


def test_narrower_blocks_without_avx512() -> None:
    """Groups of eight channels fill a block where the machine has no AVX-512, and a residual melts in; with it, they do not."""
    assert (layouts.channel_block(("avx2", "avx512f")), layouts.channel_block(("avx", "avx2"))) == (16, 8)
    make = GraphMaker()
    source = make.op("Relu", make.conv(make.input(1, 16, 8, 8), 16))
    make.op("Sum", make.conv(source, 16, group=2), source)
    graph = make.graph()

    assert [len(kernel.operators) for kernel in fuse(graph, 8)] == [2, 2]
    assert [len(kernel.operators) for kernel in fuse(graph, 16)] == [2, 1, 1]


def test_a_cast_to_another_type_is_work() -> None:
    """A cast that changes the type is a kernel."""
    make = GraphMaker()
    make.op("Cast", make.op("Relu", make.input(4, 4)), dtype="int32")

    assert shapes(make.graph()) == ["Relu", "Cast"]


def test_equal_computations_run_once() -> None:
    """Two equal operators on one input are one kernel; the copy costs nothing."""
    make = GraphMaker()
    source = make.input(4, 4)
    make.op("Add", make.op("Exp", source), make.op("Exp", source))
    graph = make.graph()

    assert shapes(graph) == ["Exp+Exp", "Add"]
    assert fuse(graph)[0].flops == FLOPS


def test_a_graph_of_nothing_but_an_identity_still_has_its_operator_in_a_kernel() -> None:
    """Even where nothing runs, no operator is lost."""
    make = GraphMaker()
    make.op("Identity", make.input(4))

    assert shapes(make.graph()) == ["Identity"]
