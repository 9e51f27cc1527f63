"""A graph the predictor lost is told apart: the newcomer's own makes the pod wait, a resident's only rules its node out."""

import pytest
from stowplan_extender.errors import NotYet
from support import harbours
from support.quays import Quay


def a_quay(**work_ms: float) -> Quay:
    quay = Quay(None, 0, None, **work_ms)
    quay.node("n")
    for name in ("ant", "lost"):
        quay.service(name)
    quay.pod("new", "ant")
    quay.pod("old", "lost")
    quay.calls.pods["vision/old"]["spec"]["nodeName"] = "n"
    quay.watch("old")
    return quay


async def test_a_missing_graph_of_a_resident_refuses_its_node_only() -> None:
    """Where only a resident's graph is missing, its node is refused by the resident's name, and the pod as a whole meets no error."""
    quay = a_quay(ant=10.0)
    result = await quay.verbs.filter(quay.args("new", "n"))
    assert result.node_names == []
    assert result.failed_nodes == {"n": "the model of resident vision/lost is not analysed (yet)"}
    quay.toy.work_ms[harbours.digest("lost")] = 1.0
    assert (await quay.verbs.filter(quay.args("new", "n"))).node_names == ["n"]


async def test_a_missing_graph_of_the_newcomer_lets_the_pod_wait() -> None:
    """Where the newcomer's own graph is missing, the scheduler is told to ask again, whatever else is missing."""
    for quay in (a_quay(lost=10.0), a_quay(other=10.0)):
        with pytest.raises(NotYet, match="the predictor has not analysed the model yet"):
            await quay.verbs.filter(quay.args("new", "n"))
