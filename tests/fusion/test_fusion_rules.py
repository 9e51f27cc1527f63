"""Each fusion that ONNX Runtime does on CPU is done by our rules, and each that it does not is left alone."""

import pytest
from stowplan_predictor.fusion import layouts
from stowplan_predictor.fusion.fused_kernels import Kernel
from stowplan_predictor.fusion.rules import fuse, unfused
from stowplan_predictor.graphs.opgraphs import OpGraph
from support.opgraphs import FLOPS, GraphMaker


def shapes(graph: OpGraph) -> list[str]:
    """Kernels as `Conv+Relu`, in order."""
    return ["+".join(graph.operators[index].op_type for index in kernel.operators) for kernel in fuse(graph)]


def only(graph: OpGraph) -> Kernel:
    """The one kernel of a graph."""
    (kernel,) = fuse(graph)
    return kernel


def test_a_folded_batch_normalization_does_no_work() -> None:
    """Conv+BatchNormalization+Relu is one kernel; the normalization's arithmetic and parameters are gone, intermediate tensors are no traffic."""
    make = GraphMaker()
    source = make.input(1, 16, 8, 8)
    make.op("Relu", make.norm(make.conv(source, 32, bias=False)))
    kernel = only(make.graph())

    assert kernel.type == "Conv"
    assert kernel.operators == (0, 1, 2)
    assert kernel.flops == 2 * FLOPS
    assert kernel.parameter_bytes == 32 * 16 * 9 * 4
    assert kernel.input_bytes == 16 * 64 * 4
    assert kernel.output_bytes == 32 * 64 * 4
    assert (kernel.inputs, kernel.outputs) == (("in0",), ("t2",))


def test_scales_and_shifts_per_channel_melt_into_a_convolution() -> None:
    """Caffe's Scale layer, as Mul and Add with (C, 1, 1) constants, costs nothing after a convolution."""
    make = GraphMaker()
    conv = make.norm(make.conv(make.input(1, 16, 8, 8), 16))
    scaled = make.op("Mul", conv, make.parameter(16, 1, 1))
    make.op("Relu", make.op("Add", scaled, make.parameter(16, 1, 1)))

    assert only(make.graph()).flops == 2 * FLOPS


def test_a_constant_of_another_shape_does_not_melt() -> None:
    """A constant that differs by row is an operator of its own."""
    make = GraphMaker()
    make.op("Add", make.conv(make.input(1, 16, 8, 8), 16), make.parameter(8, 1))

    assert shapes(make.graph()) == ["Conv", "Add"]


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "HardSwish"])
def test_activations_melt_into_convolutions(activation: str) -> None:
    """Each of the runtime's fusable activations joins the convolution that feeds it."""
    make = GraphMaker()
    make.op(activation, make.conv(make.input(1, 16, 8, 8), 16))

    assert shapes(make.graph()) == [f"Conv+{activation}"]


@pytest.mark.parametrize("activation", ["Gelu", "Elu", "Softplus", "Erf"])
def test_other_activations_stay_apart(activation: str) -> None:
    """An activation that the runtime's convolution does not know runs by itself."""
    make = GraphMaker()
    make.op(activation, make.conv(make.input(1, 16, 8, 8), 16))

    assert shapes(make.graph()) == ["Conv", activation]


def test_a_tensor_that_others_read_is_written() -> None:
    """What two operators read, or the graph puts out, cannot vanish inside a kernel."""
    make = GraphMaker()
    conv = make.conv(make.input(1, 16, 8, 8), 16)
    relu = make.op("Relu", conv)
    make.op("Sigmoid", conv)

    assert shapes(make.graph()) == ["Conv", "Relu", "Sigmoid"]

    make = GraphMaker()
    conv = make.conv(make.input(1, 16, 8, 8), 16)
    relu = make.op("Relu", conv)

    assert shapes(make.graph(conv, relu)) == ["Conv", "Relu"]


@pytest.mark.parametrize("addition", ["Add", "Sum"])
def test_a_residual_block_adds_inside_its_second_convolution(addition: str) -> None:
    """Conv+Relu, then Conv+addition+Relu: two kernels, the second reads both the first's result and the block's input."""
    make = GraphMaker()
    start = make.op("Relu", make.conv(make.input(1, 16, 8, 8), 16))
    first = make.op("Relu", make.conv(start, 16))
    second = make.conv(first, 16)
    make.op("Relu", make.op(addition, second, start))
    graph = make.graph()

    assert shapes(graph) == ["Conv+Relu", "Conv+Relu", f"Conv+{addition}+Relu"]
    last = fuse(graph)[-1]
    assert set(last.inputs) == {"t1", "t3"}
    assert last.input_bytes == 2 * 16 * 64 * 4


def test_a_residual_of_another_layout_stays_apart() -> None:
    """Channels that do not fill blocks leave a tensor in NCHW: the layout optimiser cannot add it inside a blocked convolution."""
    make = GraphMaker()
    source = make.input(1, 24, 8, 8)
    conv = make.conv(source, 24)
    make.op("Add", conv, make.op("Sqrt", source))

    assert shapes(make.graph()) == ["Conv", "Sqrt", "Add"]


def test_grouped_convolutions_with_narrow_groups_add_only_what_add_names() -> None:
    """Groups narrower than a block run in NCHW, where `Add` melts into the convolution and `Sum` does not."""
    for addition, expected in (("Add", "Conv+Add+Relu"), ("Sum", "Conv")):
        make = GraphMaker()
        source = make.input(1, 32, 8, 8)
        other = make.op("Sqrt", source)
        make.op("Relu", make.op(addition, make.conv(source, 32, group=8), other))

        assert expected in shapes(make.graph())


def test_convolutions_are_typed_by_what_a_weight_does() -> None:
    """Dense, pointwise, depthwise and grouped convolutions have regressors of their own."""
    make = GraphMaker()
    source = make.input(1, 32, 8, 8)
    for kernel, group in ((3, 1), (1, 1), (3, 32), (3, 2)):
        make.conv(source, 32, kernel, group)

    assert [kernel.type for kernel in fuse(make.graph())] == ["Conv", "PointwiseConv", "DepthwiseConv", "GroupedConv"]


def test_a_normalization_before_a_convolution_is_a_kernel_that_takes_its_activation() -> None:
    """DenseNet's BatchNormalization+Relu, fed by blocked tensors, is a depthwise convolution in the runtime."""
    make = GraphMaker()
    start = make.conv(make.input(1, 16, 8, 8), 16)
    both = make.op("Concat", start, make.op("Relu", start), shape=(1, 32, 8, 8), attributes={"axis": 1})
    make.conv(make.op("Relu", make.norm(both)), 16)
    graph = make.graph()

    assert "BatchNormalization+Relu" in shapes(graph)


def test_a_product_and_its_bias_are_a_gemm() -> None:
    """MatMul+Add+Relu with a constant matrix is a Gemm where it is flat; with more dimensions the activation stays apart."""
    make = GraphMaker()
    make.op("Relu", make.op("Add", make.matmul(make.input(4, 16), make.parameter(16, 32)), make.parameter(32)))

    assert only(make.graph()).type == "Gemm"

    make = GraphMaker()
    make.op("Relu", make.op("Add", make.parameter(32), make.matmul(make.input(1, 4, 16), make.parameter(16, 32))))
    graph = make.graph()

    assert shapes(graph) == ["MatMul+Add", "Relu"]
    assert fuse(graph)[0].type == "Gemm"


def test_a_product_of_two_activations_takes_transpose_and_factor() -> None:
    """Attention scores: MatMul(q, Transpose(k)) * scale is one FusedMatMul; a transpose of other dimensions is not."""
    for order, expected in (((0, 1, 3, 2), ["Transpose+MatMul+Mul", "Softmax"]), ((0, 2, 1, 3), ["Transpose", "MatMul+Mul", "Softmax"])):
        make = GraphMaker()
        query, key = make.input(1, 8, 8, 8), make.input(1, 8, 8, 8)
        scores = make.matmul(query, make.op("Transpose", key, attributes={"perm": order}))
        make.op("Softmax", make.op("Mul", scores, make.parameter()))

        assert shapes(make.graph()) == expected


def test_normalizations_that_were_taken_apart_are_put_together() -> None:
    """Layer normalization and root-mean-square normalization, as exporters write them, are one kernel each."""
    make = GraphMaker()
    source = make.input(1, 4, 16)
    centred = make.op("Sub", source, make.op("ReduceMean", source, shape=(1, 4, 1)))
    variance = make.op("ReduceMean", make.op("Pow", centred, make.parameter()), shape=(1, 4, 1))
    root = make.op("Sqrt", make.op("Add", variance, make.parameter()))
    make.op("Add", make.op("Mul", make.op("Div", centred, root), make.parameter(16)), make.parameter(16))

    assert only(make.graph()).type == "LayerNormalization"

    make = GraphMaker()
    source = make.input(1, 4, 16)
    mean = make.op("ReduceMean", make.op("Pow", source, make.parameter()), shape=(1, 4, 1))
    inverse = make.op("Div", make.parameter(), make.op("Sqrt", make.op("Add", mean, make.parameter())))
    make.op("Mul", make.parameter(16), make.op("Mul", source, inverse))

    assert only(make.graph()).type == "SimplifiedLayerNormalization"


def gelu(make: GraphMaker, source: str) -> str:
    """The exact Gelu as torch exports it."""
    erf = make.op("Erf", make.op("Div", source, make.parameter()))
    return make.op("Mul", make.op("Mul", source, make.op("Add", erf, make.parameter())), make.parameter())


def test_gelus_are_one_kernel() -> None:
    """The exact Gelu, its tanh form and x*sigmoid(x) are one kernel each; a factor in the wrong place is not recognised, as in the runtime."""
    make = GraphMaker()
    gelu(make, make.input(1, 4, 16))

    assert only(make.graph()).type == "Gelu"

    make = GraphMaker()
    source = make.input(1, 4, 16)
    cube = make.op("Add", source, make.op("Mul", make.parameter(), make.op("Pow", source, make.parameter())))
    tanh = make.op("Tanh", make.op("Mul", make.parameter(), cube))
    make.op("Mul", make.op("Mul", make.parameter(), source), make.op("Add", tanh, make.parameter()))

    assert only(make.graph()).type == "FastGelu"

    make = GraphMaker()
    source = make.input(1, 4, 16)
    make.op("Mul", source, make.op("Sigmoid", source))

    assert only(make.graph()).type == "QuickGelu"

    make = GraphMaker()
    source = make.input(1, 4, 16)
    erf = make.op("Erf", make.op("Div", source, make.parameter()))
    half = make.op("Mul", make.parameter(), make.op("Add", erf, make.parameter()))
    make.op("Mul", source, half)

    assert len(fuse(make.graph())) == 5


def test_a_runtime_that_fuses_nothing_runs_a_gelu_as_one_kernel() -> None:
    """Convolution and activation stay apart; what the exporter took apart is one operator of PyTorch; an identity is no kernel."""
    make = GraphMaker()
    activated = make.op("Relu", make.conv(make.input(1, 16, 8, 8), 32))
    make.op("Identity", gelu(make, activated))

    assert [kernel.type for kernel in unfused(make.graph())] == ["Conv", "Relu", "Gelu"]


def test_a_pattern_whose_inner_result_is_read_elsewhere_is_left_alone() -> None:
    """Sigmoid's own result is an output: nothing may swallow it."""
    make = GraphMaker()
    source = make.input(1, 4, 16)
    gate = make.op("Sigmoid", source)
    product = make.op("Mul", source, gate)

    assert shapes(make.graph(gate, product)) == ["Sigmoid", "Mul"]


def test_a_layer_normalization_takes_the_addition_before_it() -> None:
    """Skip connection and bias join a layer normalization that alone reads them; read twice, they do not."""
    make = GraphMaker()
    skip = make.op("Add", make.input(1, 4, 16), make.op("Tanh", make.input(1, 4, 16)))
    normal = make.op("LayerNormalization", skip, make.parameter(16), make.parameter(16))

    assert shapes(make.graph()) == ["Tanh", "Add+LayerNormalization"]

    make.op("Sqrt", skip)
    assert shapes(make.graph(normal, "t3")) == ["Tanh", "Add", "LayerNormalization", "Sqrt"]


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


def test_pads_melt_into_convolutions_only_where_their_value_is_known() -> None:
    """A constant pad value, or none mentioned, lets a convolution pad by itself; an empty name in its place does not."""
    for extra, expected in (((), ["Pad+Conv"]), (("",), ["Pad", "Conv"])):
        make = GraphMaker()
        make.conv(make.op("Pad", make.input(1, 16, 8, 8), make.parameter(8), *extra, shape=(1, 16, 10, 10)), 16)

        assert shapes(make.graph()) == expected


def test_transposes_melt_into_products_unless_another_one_reaches_them() -> None:
    """A swap of the last two dimensions is a flag of the product, but not where an earlier transpose is moved up to it and the two become another one."""
    for between, expected in (("Sqrt", ["Transpose", "Sqrt", "Transpose+MatMul"]), ("Softmax", ["Transpose", "Softmax", "Transpose", "MatMul"])):
        make = GraphMaker()
        other = make.input(1, 8, 8, 8)
        start = make.op(between, make.op("Transpose", make.input(1, 8, 8, 8), attributes={"perm": (0, 2, 1, 3)}))
        make.matmul(other, make.op("Transpose", start, attributes={"perm": (0, 1, 3, 2)}))

        assert shapes(make.graph()) == expected


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


def test_hard_swish_melts_into_blocked_convolutions_only() -> None:
    """A convolution left in NCHW has no such activation; and a flat Gemm takes the hard sigmoid, but not the hard swish."""
    for channels, expected in ((16, ["Conv+HardSwish"]), (18, ["Conv", "HardSwish"])):
        make = GraphMaker()
        make.op("HardSwish", make.conv(make.input(1, channels, 8, 8), channels))

        assert shapes(make.graph()) == expected
    for activation, count in (("HardSigmoid", 1), ("HardSwish", 2)):
        make = GraphMaker()
        make.op(activation, make.op("Gemm", make.input(4, 16), make.parameter(16, 16), make.parameter(16)))

        assert len(fuse(make.graph())) == count


def test_a_factor_reaches_a_product_through_its_transpose() -> None:
    """MatMul(Transpose(q * 0.125), k): scale and transpose are both flags of one FusedMatMul."""
    make = GraphMaker()
    query = make.op("Mul", make.op("Exp", make.input(1, 8, 8, 8)), make.parameter())
    make.matmul(make.op("Transpose", query, attributes={"perm": (0, 1, 3, 2)}), make.input(1, 8, 8, 8))

    assert shapes(make.graph()) == ["Exp", "Mul+Transpose+MatMul"]


def test_a_gelu_of_the_second_form_is_one_kernel() -> None:
    """x/2 * (1 + tanh(0.8 x * (1 + 0.045 x * x))), as BLOOM writes it."""
    make = GraphMaker()
    source = make.input(1, 4, 16)
    inner = make.op("Add", make.op("Mul", make.op("Mul", source, make.parameter()), source), make.parameter())
    tanh = make.op("Tanh", make.op("Mul", make.op("Mul", source, make.parameter()), inner))
    make.op("Mul", make.op("Mul", source, make.parameter()), make.op("Add", tanh, make.parameter()))

    assert only(make.graph()).type == "FastGelu"


def test_a_skip_joins_a_normalization_that_was_taken_apart() -> None:
    """The addition is read twice (by the mean and by the deviation), but only from inside the one normalization."""
    make = GraphMaker()
    source = make.op("Add", make.input(1, 4, 16), make.op("Tanh", make.input(1, 4, 16)))
    centred = make.op("Sub", source, make.op("ReduceMean", source, shape=(1, 4, 1)))
    variance = make.op("ReduceMean", make.op("Pow", centred, make.parameter()), shape=(1, 4, 1))
    root = make.op("Sqrt", make.op("Add", variance, make.parameter()))
    make.op("Add", make.op("Mul", make.op("Div", centred, root), make.parameter(16)), make.parameter(16))

    assert [len(kernel.operators) for kernel in fuse(make.graph())] == [1, 10]
