"""Inputs that once went wrong, shrunken: each ends in an answer or in a refusal by name."""

import pytest
from onnx import AttributeProto, helper
from stowplan_predictor.errors import ModelUnreadable
from stowplan_predictor.graphs.loading import load_graph
from stowplan_predictor.pipelines import cuts
from stowplan_predictor.pipelines.analyses import reading_here
from stowplan_predictor.pipelines.cuts import first_outputs_named
from stowplan_predictor.serving import reading
from stowplan_predictor.serving.reading import Request, Rules
from stowplan_predictor.serving.settings import Analysis
from support.onnx_models import ints, model, zeros


def test_a_first_output_that_nobody_reads_has_kernels() -> None:
    """The places of the largest values may be read without the values: two operators, two kernels or fewer."""
    nodes = [helper.make_node("TopK", ["x", "k"], ["values", "places"], axis=-1), helper.make_node("Abs", ["places"], ["y"])]
    proto = model(nodes, {"x": (9, 2)}, constants={"k": ints(1)})

    found = reading_here()(proto.SerializeToString(), {})

    assert found.summary.operators == 2
    assert 1 <= found.summary.kernels <= 2


def test_the_name_of_an_unread_output_is_nobody_elses() -> None:
    """Even where the model uses the name that it would get."""
    nodes = [helper.make_node("TopK", ["unread 0", "k"], ["values", "places"], axis=-1), helper.make_node("Abs", ["places"], ["y"])]
    graph = load_graph(model(nodes, {"unread 0": (9, 2)}, constants={"k": ints(1)}).SerializeToString())

    named = first_outputs_named(graph)

    assert graph.operators[0].outputs[0] == ""
    assert named.operators[0].outputs[0] not in {"", *graph.tensors}
    assert named.tensors[named.operators[0].outputs[0]].shape == (9, 1)
    assert first_outputs_named(named) is named


@pytest.mark.parametrize("domain", ["", "com.microsoft", "local"])
def test_an_opset_beyond_all_integers_is_refused(domain: str) -> None:
    """ONNX's bindings take 32 bits; the file is refused as unreadable, and the number is named as the trouble."""
    proto = model([helper.make_node("Add", ["x", "w"], ["y"], domain=domain)], {"x": (3,)}, constants={"w": zeros(3)})
    del proto.opset_import[:]
    proto.opset_import.extend([helper.make_opsetid(domain, 2**40)])

    with pytest.raises(ModelUnreadable, match=r"opset|larger than ONNX can hold"):
        reading_here()(proto.SerializeToString(), {})


@pytest.mark.parametrize("equation", [b"bij,jk-", b"bij,jk?", b"b.ij,jk->b", b"bij,jk-\xff", b"....,jk"])
def test_an_equation_that_onnx_never_returns_from_is_refused(equation: bytes) -> None:
    """Before ONNX sees it, in the graph as in a function's caller; sound equations are read as before."""
    node = helper.make_node("Einsum", ["x", "z"], ["y"])
    node.attribute.append(AttributeProto(name="equation", type=AttributeProto.STRING, s=equation))
    with pytest.raises(ModelUnreadable, match="no equation"):
        reading_here()(model([node], {"x": (3, 6, 8), "z": (8, 8)}).SerializeToString(), {})
    node.attribute[0].s = b"...ij, jk -> ...ik"
    assert reading_here()(model([node], {"x": (3, 6, 8), "z": (8, 8)}).SerializeToString(), {}).summary.operators == 1


def test_a_domain_that_is_no_text_is_refused() -> None:
    """Also among the opsets of a function, which are read where it is called."""
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("qqqq", 1)]
    function = helper.make_function("local", "Twice", ["a"], ["b"], [helper.make_node("Exp", ["a"], ["b"])], imports)
    proto = model([helper.make_node("Twice", ["x"], ["y"], domain="local")], {"x": (3,)}, functions=[function])
    proto.opset_import.append(helper.make_opsetid("local", 1))

    with pytest.raises(ModelUnreadable, match="no text"):
        reading_here()(proto.SerializeToString().replace(b"qqqq", b"q\xefqq"), {})


def test_a_fault_of_ours_ends_no_process(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever reading a file raises becomes a refusal that says whose fault it is, with the trace in the log."""

    def failing(*_: object, **__: object) -> None:
        raise KeyError("made by a test")

    monkeypatch.setattr(reading, "analysed", failing)
    reply, body = reading._answer(Request({}), bytearray(b"any"), Rules(Analysis().limits, 1 << 30, cuts.RULES), cuts.Cuts())

    assert (reply.refused, body) == ("ModelUnreadable", b"")
    assert "a fault of Stowplan" in reply.message
    assert "KeyError" in reply.message
    assert "made by a test" in caplog.text
