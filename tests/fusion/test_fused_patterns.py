"""Normalizations and activations that exporters took apart are put together as ONNX Runtime does."""

from stowplan_predictor.fusion.rules import fuse, unfused
from support.fused_graphs import gelu, only, shapes
from support.opgraphs import GraphMaker


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
