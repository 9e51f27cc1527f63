"""Binding decides again, promises before it writes, and finds out what became of a lost answer."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_extender.decision.occupancies import PodUid
from stowplan_extender.errors import ApiError, ApiRefused, NotYet, PlaceLost, PodRefused
from stowplan_fleet import keys
from stowplan_fleet.services import ServiceName
from support.quays import Quay


def a_quay() -> Quay:
    quay = Quay(ant=10.0, bee=10.0)
    quay.service("ant")
    quay.service("bee")
    quay.node("one", cores=1)
    quay.node("two", cores=2)
    return quay


async def test_writes_the_whole_decision_at_once() -> None:
    """A Binding carries slice class, prediction, basis, bundle and prediction id, and the place is taken from that moment."""
    quay = a_quay()
    quay.pod("p", "ant")
    await quay.bind("p", "one")
    [(name, node, annotations)] = quay.calls.written
    assert (name, node) == ("p", "one")
    assert annotations[keys.BOUND_SLICE_ANNOTATION] == "toy-cpu/cpu:1"
    assert annotations[keys.PREDICTED_MS_ANNOTATION] == "12.360"
    assert annotations[keys.BASIS_ANNOTATION] == "measured"
    assert annotations[keys.BUNDLE_ANNOTATION] == "toy@1"
    assert len(annotations[keys.PREDICTION_ID_ANNOTATION]) == 16
    assert quay.left("one") == 0


@pytest.mark.parametrize("first", [0, 1])
async def test_two_pods_race_for_one_slice(first: int) -> None:
    """Two pods that both passed the filter are bound at the same time to the last slice: exactly one gets it, the other may ask again."""
    quay = a_quay()
    pods = ["p", "q"] if first == 0 else ["q", "p"]
    for name in pods:
        quay.pod(name, "ant")
        result = await quay.verbs.filter(quay.args(name, "one"))
        assert result.node_names == ["one"]
    outcomes = await asyncio.gather(*(quay.bind(name, "one") for name in pods), return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["NoneType", "PlaceLost"]
    assert len(quay.calls.written) == 1


async def test_a_filter_sees_what_is_promised() -> None:
    """Between a binding and the watch that shows it, no other pod is offered the place."""
    quay = a_quay()
    quay.pod("p", "ant")
    quay.pod("q", "bee")
    await quay.bind("p", "one")
    result = await quay.verbs.filter(quay.args("q", "one", "two"))
    assert result.node_names == ["two"]
    assert result.failed_nodes == {"one": "has no free slice toy-cpu/cpu:1"}


async def test_binding_again_is_fine() -> None:
    """A pod that is bound to that node already counts as bound, with or without the watch; to another node it is refused."""
    quay = a_quay()
    quay.pod("p", "ant")
    await quay.bind("p", "one")
    await quay.bind("p", "one")
    quay.watch("p")
    await quay.bind("p", "one")
    with pytest.raises(PodRefused, match="bound to node one already"):
        await quay.bind("p", "two")
    assert len(quay.calls.written) == 1


async def test_a_lost_answer_is_looked_up() -> None:
    """Where the binding happened and its answer was lost, the pod shows it, and binding succeeds."""
    quay = a_quay()
    quay.pod("p", "ant")
    quay.calls.mode = "lost"
    await quay.bind("p", "one")
    assert quay.left("one") == 0


async def test_doubt_keeps_the_place() -> None:
    """Where nobody can tell whether the binding happened, the scheduler may ask again and the place stays promised until its time is over."""
    quay = a_quay()
    quay.pod("p", "ant")
    quay.calls.mode = "away"
    with pytest.raises(NotYet, match="not known"):
        await quay.bind("p", "one")
    assert quay.left("one") == 0
    quay.clock.now = 61.0
    assert quay.left("one") == 1000


async def test_a_delayed_binding_takes_nobodys_place() -> None:
    """A binding given up on, which the API server carries out later all the same, finds its place still kept, though the pod was tried elsewhere."""
    quay = a_quay()
    quay.pod("p", "ant")
    quay.pod("q", "bee")
    quay.calls.mode = "late"
    with pytest.raises(NotYet):
        await quay.bind("p", "one")
    quay.calls.mode = "ok"
    quay.calls.arrive()
    with pytest.raises(PodRefused, match="bound to node one already"):
        await quay.bind("p", "two")
    with pytest.raises(PlaceLost):
        await quay.bind("q", "one")
    quay.watch("p")
    assert (quay.left("one"), quay.left("two")) == (0, 2000)


@pytest.mark.parametrize("status", ["403", "429", "404"])
async def test_a_refusal_frees_the_place(status: str) -> None:
    """Where the API server says no, nothing was written, and the place is free at once."""
    quay = a_quay()
    quay.pod("p", "ant")
    quay.calls.mode = status
    with pytest.raises((ApiRefused, PodRefused)):
        await quay.bind("p", "one")
    assert quay.left("one") == 1000


async def test_a_pod_of_the_same_name_is_another_pod() -> None:
    """A pod that was deleted and made again has another UID, and is not bound by a request about the first."""
    quay = a_quay()
    quay.pod("p", "ant", seen=False)
    quay.calls.pods["vision/p"]["metadata"]["uid"] = "another"
    with pytest.raises(PodRefused, match="is gone"):
        await quay.bind("p", "one")
    assert not quay.calls.written


async def test_an_unseen_pod_is_read() -> None:
    """A pod that the watch has not shown yet is read from the API server and bound."""
    quay = a_quay()
    quay.pod("p", "ant", seen=False)
    await quay.bind("p", "one")
    assert len(quay.calls.written) == 1


async def test_bind_refuses_what_became_wrong_since_the_filter() -> None:
    """A node that was fine when filtered but would now break a resident's objective is refused with that reason."""
    quay = a_quay()
    quay.pod("p", "ant")
    assert (await quay.verbs.filter(quay.args("p", "two"))).node_names == ["two"]
    quay.service("bee", slo_ms=14)
    quay.pod("q", "bee")
    await quay.bind("q", "two")
    with pytest.raises(PlaceLost, match="would push resident vision/bee over its SLO of 14 ms"):
        await quay.bind("p", "two")


@pytest.mark.parametrize("change", ["objective", "gone"])
async def test_bind_decides_on_the_service_as_it_is(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An objective that is tightened while the predictor is asked, or a service that is deleted then, is what counts."""
    quay = a_quay()
    quay.pod("p", "ant")
    asked = quay.toy.predict

    async def slow(*arguments: Any) -> Any:
        answers = await asked(*arguments)
        if change == "objective":
            quay.service("ant", slo_ms=2)
        else:
            quay.view.drop_service(ServiceName("vision/ant"))
        return answers

    monkeypatch.setattr(quay.toy, "predict", slow)
    with pytest.raises(NotYet, match="too slow" if change == "objective" else "is not known"):
        await quay.bind("p", "two")
    assert not quay.calls.written


steps = st.lists(
    st.one_of(
        st.tuples(st.just("bind"), st.integers(0, 5), st.sampled_from(["one", "two"]), st.sampled_from(["ok", "ok", "lost", "dropped", "late", "away", "500"])),
        st.tuples(st.just("race"), st.integers(0, 5), st.integers(0, 5), st.sampled_from(["one", "two"])),
        st.tuples(st.just("filter"), st.integers(0, 5)),
        st.tuples(st.just("watch"), st.integers(0, 5)),
        st.tuples(st.just("arrive")),
        st.tuples(st.just("delete"), st.integers(0, 5)),
    ),
    max_size=25,
)


async def try_to_bind(quay: Quay, name: str, node: str, mode: str) -> None:
    quay.calls.mode = mode
    try:
        await quay.bind(name, node)
    except (NotYet, PodRefused, ApiError):
        pass
    finally:
        quay.calls.mode = "ok"


async def filter_and_check(quay: Quay, name: str) -> None:
    result = await quay.verbs.filter(quay.args(name, "one", "two"))
    assert set(result.node_names or ()) | set(result.failed_nodes) | set(result.failed_and_unresolvable_nodes) == {"one", "two"}


async def play(quay: Quay, step: tuple[object, ...]) -> None:
    here = quay.calls.pods
    match step:
        case ("bind", int(index), str(node), str(mode)):
            await try_to_bind(quay, f"p{index}", node, mode)
        case ("race", int(one), int(other), str(node)):
            await asyncio.gather(quay.bind(f"p{one}", node), quay.bind(f"p{other}", node), return_exceptions=True)
        case ("filter", int(index)) if f"vision/p{index}" in here:
            await filter_and_check(quay, f"p{index}")
        case ("watch", int(index)) if f"vision/p{index}" in here:
            quay.watch(f"p{index}")
        case ("arrive",):
            quay.calls.arrive()
        case ("delete", int(index)) if f"vision/p{index}" in here:
            # A watch that is late with this only keeps the place longer, so it tells at once here.
            del here[f"vision/p{index}"]
            quay.view.drop_pod(PodUid(f"uid-p{index}"))


async def play_all(history: list[tuple[object, ...]]) -> None:
    quay = a_quay()
    for index in range(6):
        quay.pod(f"p{index}", "ant" if index % 2 else "bee")
    for step in history:
        await play(quay, step)
        for node, cores in (("one", 1), ("two", 2)):
            really = sum(pod["spec"].get("nodeName") == node for pod in quay.calls.pods.values())
            assert really <= cores, f"{really} pods on a node of {cores} cores after {step}"


@settings(max_examples=150, deadline=None)
@given(steps)
def test_no_slice_is_promised_twice(history: list[tuple[object, ...]]) -> None:
    """Whatever the order of filters, bindings, lost and late answers, slow watches and deletions: no node ever holds more than it has."""
    asyncio.run(play_all(history))
