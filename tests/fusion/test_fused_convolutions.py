"""What melts into a convolution on CPU does so by our rules: normalizations, constants, activations, additions, pads; and nothing else."""

import pytest
from stowplan_predictor.fusion.rules import fuse
from support.fused_graphs import only, shapes
from support.opgraphs import FLOPS, GraphMaker


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


def test_pads_melt_into_convolutions_only_where_their_value_is_known() -> None:
    """A constant pad value, or none mentioned, lets a convolution pad by itself; an empty name in its place does not."""
    for extra, expected in (((), ["Pad+Conv"]), (("",), ["Pad", "Conv"])):
        make = GraphMaker()
        make.conv(make.op("Pad", make.input(1, 16, 8, 8), make.parameter(8), *extra, shape=(1, 16, 10, 10)), 16)

        assert shapes(make.graph()) == expected


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
