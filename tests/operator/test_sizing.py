"""Right-sizing as a pure function: the ladder, the cheapest rung, climbing and descending."""

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet import slices
from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.nodes import NodeInventory, NodeName, ResourceName, SliceOffer
from stowplan_fleet.services import GraphDigest, Load, OnUnknown, PlacementPolicy, Service, ServiceName, Slo
from stowplan_fleet.slices import DeviceName
from stowplan_operator.sizing import climbs, ladders
from stowplan_operator.sizing.candidates import Candidate, candidates
from stowplan_operator.sizing.climbs import Move, Patience, Tenure
from stowplan_operator.sizing.prices import Cost
from stowplan_operator.sizing.rungs import Rung

PATIENCE = Patience(climb_after_s=60, descend_after_s=600, retry_after_s=600)


def service(low: int = 1, high: int = 3, on_unknown: OnUnknown = OnUnknown.REJECT, *pinned: str) -> Service:
    policy = PlacementPolicy(on_unknown=on_unknown, slice_classes=tuple(map(slices.parse_slice_class, pinned)))
    digest = GraphDigest("sha256:" + "0" * 64)
    return Service(ServiceName("a/b"), "onnxruntime-cpu", Slo(50), Load(100), graph_digest=digest, replicas_min=low, replicas_max=high, placement=policy)


def node(name: str, device: str | None, cores: int, *offers: SliceOffer) -> NodeInventory:
    return NodeInventory(NodeName(name), cores, 1 << 30, DeviceName(device) if device else None, offers)


def offer(text: str, resource: str) -> SliceOffer:
    return SliceOffer(slices.parse_slice_class(text), ResourceName(resource), 2)


def answered(upper_ms: float, utilization: float = 0.5) -> Answer:
    interval = LatencyInterval(upper_ms / 2, upper_ms / 4, upper_ms, 0.9)
    return Answer(Basis.MEASURED, response=interval if utilization < 1 else None, utilization=utilization)


ANSWERS = st.one_of(
    st.builds(answered, st.floats(0.1, 200), st.floats(0, 1.5)),
    st.just(unknown(UnknownReason.KERNEL_NOT_SUPPORTED, "never measured")),
)


def some_candidates(*nodes: NodeInventory, policy: PlacementPolicy | None = None, runtime: str = "onnxruntime-cpu") -> tuple[Candidate, ...]:
    return candidates(nodes, policy or PlacementPolicy(), runtime)


def names(found: tuple[Candidate, ...]) -> list[str]:
    return [str(candidate.slice_class) for candidate in found]


def test_cpu_candidates_are_whole_cores_that_some_node_has() -> None:
    """A CPU size is a candidate where a node of that device has so many cores to give, up to eight; unlabelled nodes offer nothing."""
    found = some_candidates(node("a", "x", 1930), node("b", "x", 2500), node("c", "big", 64_000), node("d", None, 8000))
    assert names(found) == [f"big/cpu:{cores}" for cores in range(1, 9)] + ["x/cpu:1", "x/cpu:2"]


def test_pinned_cpu_sizes_become_candidates_where_they_fit() -> None:
    """A pinned half core is a candidate though none is enumerated; a pinned size that no node has is none."""
    policy = PlacementPolicy(slice_classes=tuple(map(slices.parse_slice_class, ("x/cpu:500m", "x/cpu:12", "y/cpu:1"))))
    assert names(some_candidates(node("a", "x", 4000), policy=policy)) == ["x/cpu:500m"]


def test_gpu_runtimes_see_gpu_slices_only() -> None:
    """A runtime that is not of CPUs gets the offered GPU slices, priced by their share of the device."""
    mig, shared = offer("NVIDIA-A100/mig-1g.10gb", "nvidia.com/mig-1g.10gb"), offer("NVIDIA-T4/time-4", "nvidia.com/gpu.shared")
    found = some_candidates(node("a", "x", 4000, mig), node("b", None, 4000, shared), runtime="tensorrt")
    assert [(str(item.slice_class), item.resource, item.cost.amount) for item in found] == [
        ("NVIDIA-A100/mig-1g.10gb", "nvidia.com/mig-1g.10gb", Fraction(1, 7)),
        ("NVIDIA-T4/time-4", "nvidia.com/gpu.shared", Fraction(1, 4)),
    ]


@given(st.data(), st.integers(1, 3), st.integers(0, 4), st.sampled_from(OnUnknown))
def test_chosen_rung_is_never_dearer_than_another_that_meets_the_objective(data: st.DataObject, low: int, more: int, on_unknown: OnUnknown) -> None:
    """Whatever the predictor answers: the chosen rung meets the objective where any does, at the least cost and with the fewest replicas of its class."""
    asked = service(low, low + more, on_unknown)
    found = some_candidates(node("a", "x", 3000), node("b", "y", 2000))
    questions = ladders.questions_for(asked, found)
    answers = data.draw(st.lists(ANSWERS, min_size=len(questions), max_size=len(questions)))

    choice = climbs.choose(ladders.ladder(asked, found, answers), None, PATIENCE)

    meeting = [
        (candidate.cost.amount * count)
        for index, candidate in enumerate(found)
        for offset, count in enumerate(range(low, low + more + 1))
        if (response := answers[index * (more + 1) + offset].response) is not None and response.upper_ms <= asked.slo.latency_ms
    ]
    if meeting:
        assert choice.rung is not None
        assert choice.rung.meets_slo
        assert choice.rung.cost == min(meeting)
        assert low <= choice.rung.replicas <= low + more
    elif on_unknown is OnUnknown.ALLOW and any(answer.basis is Basis.UNKNOWN for answer in answers):
        assert choice.rung is not None
        assert choice.rung.basis is Basis.UNKNOWN
    else:
        assert (choice.rung, choice.move) == (None, Move.NONE)


@given(st.integers(1, 1000), st.integers(0, 999), st.integers(1, 200))
def test_questions_stay_few_and_cover_both_ends(low: int, more: int, classes: int) -> None:
    """However many replicas are allowed, the fewest and the most are asked for, ascending, and a call holds at most so many questions."""
    counts = ladders.replica_counts(dataclasses.replace(service(), replicas_min=low, replicas_max=low + more), classes)
    assert counts[0] == low
    assert counts[-1] == low + more
    assert list(counts) == sorted(set(counts))
    assert len(counts) * classes <= ladders.QUESTIONS_MAX + 2 * classes


def test_questions_spread_the_load_over_the_replicas() -> None:
    """Each question carries the share of the load that one replica sees."""
    (candidate,) = some_candidates(node("a", "x", 1000))
    assert [question.subject.requests_per_second for question in ladders.questions_for(service(1, 4), [candidate])] == [100, 50, 100 / 3, 25]


def test_unknown_graph_is_no_judgement() -> None:
    """A graph that the predictor does not know is never taken for a model that cannot be judged, whatever the service allows."""
    found = some_candidates(node("a", "x", 1000))
    with pytest.raises(ValueError, match="analyse the model"):
        ladders.ladder(service(1, 1, OnUnknown.ALLOW), found, [unknown(UnknownReason.GRAPH_NOT_FOUND, "")])


def test_reasons_name_the_class_and_both_numbers() -> None:
    """A rung that does not do says how long it would take and what was wanted; an overloaded one says so."""
    found = some_candidates(node("a", "x", 2000))
    slow, overloaded = sorted(ladders.ladder(service(1, 1), found, [answered(80), answered(1, 1.2)]), key=lambda rung: rung.cost)
    assert slow.reason == "x/cpu:1 is too slow even alone: p95 up to 80 ms, objective 50 ms"
    assert overloaded.reason == "x/cpu:2 cannot sustain the request rate"
    assert overloaded.predicted_ms is None


def ladder_of(*classes: str) -> tuple[Rung, ...]:
    found = [Candidate(slices.parse_slice_class(text), ResourceName("cpu"), Cost(Fraction(index), priced=False)) for index, text in enumerate(classes, 1)]
    return tuple(Rung(candidate, 1, 10.0, Basis.MEASURED, meets_slo=True, allowed=True, reason="") for candidate in found)


def stand(text: str, held_s: float, unschedulable_s: float | None = None, blocked: str = "") -> Tenure:
    return Tenure(slices.parse_slice_class(text), held_s, unschedulable_s, frozenset(map(slices.parse_slice_class, blocked.split())))


LADDER = ladder_of("x/cpu:1", "x/cpu:2", "x/cpu:4")


@pytest.mark.parametrize(
    ("tenure", "move", "expected"),
    [
        (None, Move.CHOSEN, "x/cpu:1"),
        (stand("x/cpu:1", 10, 59), Move.KEPT, "x/cpu:1"),
        (stand("x/cpu:1", 10, 60), Move.CLIMBED, "x/cpu:2"),
        (stand("x/cpu:2", 60, 60, "x/cpu:1"), Move.CLIMBED, "x/cpu:4"),
        (stand("x/cpu:4", 60, 60, "x/cpu:1 x/cpu:2"), Move.STUCK, "x/cpu:4"),
        (stand("x/cpu:2", 599), Move.KEPT, "x/cpu:2"),
        (stand("x/cpu:2", 600), Move.DESCENDED, "x/cpu:1"),
        (stand("x/cpu:2", 600, blocked="x/cpu:1"), Move.KEPT, "x/cpu:2"),
        (stand("x/cpu:4", 600, blocked="x/cpu:1"), Move.DESCENDED, "x/cpu:2"),
        (stand("x/cpu:8", 1), Move.CHOSEN, "x/cpu:1"),
        (stand("x/cpu:8", 1, blocked="x/cpu:1"), Move.CHOSEN, "x/cpu:2"),
    ],
)
def test_moves(tenure: Tenure | None, move: Move, expected: str) -> None:
    """Up after the stated wait and past what is blocked; down only after holding on; a rung that is gone is left at once."""
    choice = climbs.choose(LADDER, tenure, PATIENCE)
    assert choice.rung is not None
    assert (choice.move, str(choice.rung.candidate.slice_class)) == (move, expected)
