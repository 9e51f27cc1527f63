"""Products: what a matrix product takes in: a bias, constant factors, transposes of its operands.

Each function is one of ONNX Runtime's graph transformers; `rules` calls them in the runtime's order.
"""

from stowplan_predictor.fusion.flows import Flow
from stowplan_predictor.graphs.opgraphs import Operator

# What TransposeOptimizer moves a transpose past.
_PASSED_BY_TRANSPOSES = frozenset({"Transpose", "Split", "Slice", "Gather", "Squeeze", "Unsqueeze", "Mul", "Div", "Add", "Neg", "Concat", "Softmax"})


def bias_into_products(flow: Flow) -> None:
    """MatMulAddFusion: a matrix product with a constant right side and a bias vector is a Gemm."""
    for op in flow.operators():
        if op.op_type != "Add" or not flow.single(op):
            continue
        inputs = flow.inputs(op)
        if len(inputs) != 2:
            continue
        for name, bias in (inputs, inputs[::-1]):
            product = flow.producer(name)
            if product is None or product.op_type != "MatMul" or not flow.single(product) or not flow.private(name):
                continue
            left, right = (flow.shape(item) for item in flow.inputs(product))
            # A product of more than two dimensions is reshaped around the Gemm, which needs a constant matrix and a constant bias.
            flat = len(left) == 2 or (flow.parameter(flow.inputs(product)[1]) and flow.parameter(bias))
            if len(right) == 2 and flat and flow.shape(bias) in {(right[1],), (1, right[1])}:
                flow.join(flow.groups[product.index], op)
                flow.groups[product.index].type = "Gemm"
                break


def scale_products(flow: Flow) -> None:
    """MatMulScaleFusion: constant factors before and after a matrix product become its `alpha`."""
    for op in flow.operators():
        if op.op_type != "MatMul" or flow.groups[op.index].type == "Gemm":
            continue
        group = flow.groups[op.index]
        for name in flow.inputs(op):
            factor, read = flow.producer(name), name
            if factor is not None and factor.op_type == "Transpose" and flow.groups[factor.index] is group:
                read = flow.inputs(factor)[0]
                factor = flow.producer(read)
            if factor is not None and flow.private(read) and _factor(flow, factor):
                flow.absorb(group, factor)
        if flow.private(group.end):
            factor = flow.graph.operators[flow.readers[group.end][0]]
            if _factor(flow, factor):
                flow.join(group, factor)


def _factor(flow: Flow, op: Operator) -> bool:
    inputs = flow.inputs(op)
    if op.op_type not in {"Mul", "Div"} or not flow.single(op) or len(inputs) != 2:
        return False
    constants = [name for name in (inputs if op.op_type == "Mul" else inputs[1:]) if flow.parameter(name)]
    return len(constants) == 1 and flow.graph.tensors[constants[0]].elements == 1


def transpose_into_products(flow: Flow) -> None:
    """MatmulTransposeFusion: a transpose of the last two dimensions becomes `transA` or `transB`."""
    for op in flow.operators():
        if op.op_type != "MatMul" or flow.groups[op.index].type == "Gemm":
            continue
        for name in flow.inputs(op):
            source = flow.producer(name)
            if (
                source is not None
                and source.op_type == "Transpose"
                and flow.private(name)
                and flow.single(source)
                and _swaps_last(source)
                and not _follows_transpose(flow, source)
            ):
                flow.absorb(flow.groups[op.index], source)


def _swaps_last(op: Operator) -> bool:
    order = op.attributes.get("perm", ())
    if not isinstance(order, tuple) or len(order) < 2:
        return False
    rank = len(order)
    return tuple(order) == (*range(rank - 2), rank - 1, rank - 2)


def _follows_transpose(flow: Flow, op: Operator) -> bool:
    """True where another transpose comes before, past cuts and factors: TransposeOptimizer merges the two, and the result no longer swaps just the last.

    It moves a transpose past an operator only where all of the operator's activations come transposed.
    """
    before = [flow.producer(name) for name in flow.activations(op)]
    while before:
        producer = before.pop()
        if producer is None or producer.op_type not in _PASSED_BY_TRANSPOSES:
            return False
        if producer.op_type != "Transpose":
            before.extend(flow.producer(name) for name in flow.activations(producer))
    return True
