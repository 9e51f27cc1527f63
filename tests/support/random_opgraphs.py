"""Random operator graphs, as a Hypothesis strategy."""

from hypothesis import strategies as st
from stowplan_predictor.graphs.opgraphs import OpGraph
from support.opgraphs import GraphMaker

_UNARY = ["Relu", "Sigmoid", "Tanh", "Clip", "HardSwish", "Identity", "Dropout", "Cast", "Erf", "Sqrt", "Softmax", "Transpose", "Pad", "Slice"]
_BINARY = ["Add", "Sum", "Mul", "Div", "Sub", "Concat", "MatMul"]
_WEIGHTED = ["Conv", "BatchNormalization", "ConstantAdd", "ConstantMul", "LayerNormalization", "MatMulWeight"]


@st.composite
def graphs(draw: st.DrawFn) -> OpGraph:
    """Random graphs of 16-channel square images, built from what the rules look at."""
    make = GraphMaker()
    names = [make.input(1, 16, 16, 16), make.input(1, 16, 16, 16)]
    for _ in range(draw(st.integers(1, 25))):
        kind = draw(st.sampled_from(_UNARY + _BINARY + _WEIGHTED))
        # The latest results are the likeliest inputs: chains are what rules fuse.
        source = names[-1 - draw(st.integers(0, min(3, len(names) - 1)))]
        other = names[-1 - draw(st.integers(0, len(names) - 1))]
        shape = (1, 16, 16, 16)
        if kind == "Conv":
            names.append(make.conv(source, 16, group=draw(st.sampled_from([1, 2, 16]))))
        elif kind == "BatchNormalization":
            names.append(make.norm(source))
        elif kind.startswith("Constant"):
            constant = make.parameter(*draw(st.sampled_from([(), (16,), (16, 1, 1), (1, 16, 16, 16)])))
            names.append(make.op(kind.removeprefix("Constant"), source, constant, shape=shape))
        elif kind == "LayerNormalization":
            names.append(make.op(kind, source, make.parameter(16), make.parameter(16)))
        elif kind == "MatMulWeight":
            names.append(make.matmul(source, make.parameter(16, 16)))
        elif kind in _BINARY:
            names.append(make.op(kind, source, other, shape=shape, attributes={"axis": 1} if kind == "Concat" else {}))
        else:
            names.append(make.op(kind, source, shape=shape, attributes={"perm": (0, 1, 3, 2)} if kind == "Transpose" else {}))
    read = {name for op in make.operators for name in op.inputs}
    ends = [name for op in make.operators for name in op.outputs if name not in read]
    extra = draw(st.lists(st.sampled_from(names[2:]), max_size=2))
    return make.graph(*dict.fromkeys([*ends, *extra]))
