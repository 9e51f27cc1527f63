"""The scheduler's messages to the letter: what kube-scheduler sends is read, and what we write is what Go's structs decode."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_extender import wire
from stowplan_extender.errors import RequestRefused
from stowplan_extender.wire import ExtenderBindingResult, ExtenderFilterResult, HostPriority

# As k8s.io/kube-scheduler/extender/v1 marshals it: no JSON tags, hence PascalCase; the pod inside in its own camelCase.
FILTER = json.dumps(
    {
        "Pod": {
            "metadata": {"name": "p", "namespace": "vision", "uid": "u", "labels": {"stowplan.dev/inference-service": "ant"}, "managedFields": [{}]},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "stowplan.dev/slo": "1"}}}], "priority": 0},
            "status": {"phase": "Pending", "qosClass": "Burstable"},
        },
        "Nodes": None,
        "NodeNames": ["n1", "n2"],
    }
).encode()


def test_reads_what_the_scheduler_sends() -> None:
    """Pod and node names arrive; fields nobody here knows are skipped."""
    args = wire.read_args(FILTER)
    assert args.pod.metadata.full_name == "vision/p"
    assert args.names == ["n1", "n2"]


def test_whole_nodes_are_refused_with_the_remedy() -> None:
    """A scheduler configured to send whole nodes is told which setting to change."""
    args = wire.read_args(b'{"Pod":{"metadata":{}},"Nodes":{"metadata":{},"items":[]},"NodeNames":null}')
    with pytest.raises(RequestRefused, match="nodeCacheCapable: true"):
        _ = args.names


def test_reads_a_binding_request() -> None:
    """`PodUID` has its own capitals."""
    args = wire.read_binding_args(b'{"PodName":"p","PodNamespace":"vision","PodUID":"u","Node":"n1"}')
    assert (args.pod_name, args.pod_namespace, args.pod_uid, args.node) == ("p", "vision", "u", "n1")


def test_writes_filter_results() -> None:
    """All five keys, in Go's names."""
    result = ExtenderFilterResult(node_names=["n1"], failed_nodes={"n2": "no"}, failed_and_unresolvable_nodes={"n3": "never"})
    assert wire.write(result) == (b'{"Nodes":null,"NodeNames":["n1"],"FailedNodes":{"n2":"no"},"FailedAndUnresolvableNodes":{"n3":"never"},"Error":""}')
    assert json.loads(wire.write(ExtenderFilterResult(error="later")))["Error"] == "later"


def test_writes_priorities_as_a_bare_array_of_integers() -> None:
    """A score with a decimal point would lose all scores in Go, without a word."""
    assert wire.write([HostPriority(host="n1", score=7)]) == b'[{"Host":"n1","Score":7}]'
    assert wire.write([]) == b"[]"


def test_writes_binding_results_with_a_body() -> None:
    """An empty body is an error to the scheduler, so success has one too."""
    assert wire.write(ExtenderBindingResult()) == b'{"Error":""}'


@given(
    st.binary(max_size=200) | st.sampled_from([b"[" * 100_000, b'{"Pod":' * 50_000, b'{"Pod":{"spec":{"containers":[{"resources":{"requests":{"cpu":[]}}}]}}}'])
)
def test_anything_else_is_a_named_error(body: bytes) -> None:
    """Whatever arrives is a message or a RequestRefused, never another exception."""
    for read in (wire.read_args, wire.read_binding_args):
        with pytest.raises(RequestRefused):
            read(body)
