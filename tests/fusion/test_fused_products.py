"""What melts into a matrix product on CPU does so by our rules: biases, transposes, factors."""

from stowplan_predictor.fusion.rules import fuse
from support.fused_graphs import only, shapes
from support.opgraphs import GraphMaker


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


def test_transposes_melt_into_products_unless_another_one_reaches_them() -> None:
    """A swap of the last two dimensions is a flag of the product, but not where an earlier transpose is moved up to it and the two become another one."""
    for between, expected in (("Sqrt", ["Transpose", "Sqrt", "Transpose+MatMul"]), ("Softmax", ["Transpose", "Softmax", "Transpose", "MatMul"])):
        make = GraphMaker()
        other = make.input(1, 8, 8, 8)
        start = make.op(between, make.op("Transpose", make.input(1, 8, 8, 8), attributes={"perm": (0, 2, 1, 3)}))
        make.matmul(other, make.op("Transpose", start, attributes={"perm": (0, 1, 3, 2)}))

        assert shapes(make.graph()) == expected


def test_a_factor_reaches_a_product_through_its_transpose() -> None:
    """MatMul(Transpose(q * 0.125), k): scale and transpose are both flags of one FusedMatMul."""
    make = GraphMaker()
    query = make.op("Mul", make.op("Exp", make.input(1, 8, 8, 8)), make.parameter())
    make.matmul(make.op("Transpose", query, attributes={"perm": (0, 1, 3, 2)}), make.input(1, 8, 8, 8))

    assert shapes(make.graph()) == ["Exp", "Mul+Transpose+MatMul"]
