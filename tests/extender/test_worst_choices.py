"""Which of a node's GPUs a pod gets is the kubelet's choice: what is accepted holds for the worst one, and no worse than that is assumed."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_extender.decision import inquiries, verdicts
from stowplan_extender.decision.inquiries import Inquest
from stowplan_extender.decision.occupancies import Lodger, Newcomer, NodeState, PodUid, Requests, Tenancy
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import signature_of
from stowplan_extender.decision.verdicts import Acceptance
from stowplan_fleet.answers import Answer, Basis, LatencyInterval
from stowplan_fleet.nodes import NodeName, ResourceName, read_inventory
from stowplan_fleet.questions import Occupant, Question
from stowplan_fleet.slices import SliceClass
from support import gpu_nodes
from support.gpu_nodes import GpuNode
from support.harbours import service

SHARED = ResourceName("nvidia.com/gpu.shared")
# How much each tenant slows its neighbours on the same GPU, by the name of its service. Made up, apart enough for every sum to differ.
WEIGHTS = {"light": 0.125, "middling": 0.25, "heavy": 0.5, "heaviest": 1.0}
ALONE_MS = 10.0


def law(question: Question, digests: dict[str, str]) -> Answer:
    """Alone 10 ms; each tenant on the GPU adds its weight; of more tenants than can be there at once the heaviest are."""
    weights = sorted((WEIGHTS[digests[item.graph_digest]] for item in question.tenants if isinstance(item, Occupant)), reverse=True)
    at_most = len(weights) if question.tenants_at_once is None else question.tenants_at_once
    took_ms = ALONE_MS * (1 + sum(weights[:at_most]))
    interval = LatencyInterval(took_ms, took_ms, took_ms, 0.9)
    return Answer(Basis.UNVALIDATED, isolated=interval, colocated=interval, response=interval, utilization=0.1)


def lodged(name: str, uid: str, part: SliceClass, slo_ms: float = 1000.0) -> Lodger:
    return Lodger(PodUid(uid), Requests(500, 0, ((SHARED, 1),)), Tenancy(service(name, slo_ms), part))


def scene(node: GpuNode, names: list[str]) -> tuple[NodeState, SliceClass]:
    inventory = read_inventory("n", node.full_labels, {"cpu": "64", "memory": "256Gi", **node.resources})
    part = next(offer.slice_class for offer in inventory.offers if offer.resource == SHARED)
    return NodeState(replace(inventory, name=NodeName("n")), tuple(lodged(name, f"{name}-{index}", part) for index, name in enumerate(names))), part


def inquest_of(state: NodeState, part: SliceClass, slo_ms: float = 1000.0) -> tuple[Newcomer, Inquest]:
    arriving = lodged("light", "new", part, slo_ms)
    assert arriving.tenancy is not None
    pod = Newcomer(arriving.uid, arriving.requests, arriving.tenancy)
    return pod, inquiries.inquest(pod, signature_of(state))


@given(
    st.integers(1, 4),
    st.sampled_from([2, 3, 4]),
    st.lists(st.sampled_from(list(WEIGHTS)), max_size=7),
    st.floats(ALONE_MS, 60.0),
)
def test_what_is_accepted_holds_wherever_the_kubelet_puts_the_pod(gpus: int, replicas: int, names: list[str], slo_ms: float) -> None:
    """Held against every way to seat the tenants on the GPUs: accepted exactly where the worst of them keeps the objective."""
    names = names[: gpus * replicas - 1]
    state, part = scene(gpu_nodes.mps("NVIDIA-L4", gpus, replicas, 23034), names)
    pod, inquest = inquest_of(state, part, slo_ms)
    digests = {str(service(name).graph_digest): name for name in WEIGHTS}
    answers = {inquiry: law(inquiry.question, digests) for inquiry in inquest.inquiries}
    found = verdicts.verdict(pod, signature_of(state), answers)

    # Who is on the pod's GPU: any of the tenants that leave the others enough seats elsewhere.
    seats_elsewhere = (gpus - 1) * replicas
    beside = [chosen for size in range(replicas) for chosen in itertools.combinations(names, size) if len(names) - size <= seats_elsewhere]
    worst_ms = max(ALONE_MS * (1 + sum(WEIGHTS[name] for name in chosen)) for chosen in beside)
    assert isinstance(found, Acceptance if worst_ms <= slo_ms else Refusal)


def test_a_question_says_how_many_can_be_there_at_once_only_where_it_matters() -> None:
    """Five tenants on two GPUs in three each: two of them at most; with two tenants, or with one GPU, all of them."""
    two = gpu_nodes.mps("NVIDIA-L4", 2, 3, 23034)
    questions = [inquest_of(*scene(node, names))[1].beside for node, names in (
        (two, ["light"] * 3 + ["heavy"] * 2), (two, ["heavy"] * 2), (gpu_nodes.TIME_SLICED, ["heavy"] * 3),
    )]  # fmt: skip

    assert [inquiry.question.tenants_at_once for inquiry in questions if inquiry] == [2, None, None]
    assert [len(inquiry.question.tenants) for inquiry in questions if inquiry] == [5, 2, 3]


def test_residents_are_asked_about_in_the_same_way() -> None:
    """A resident meets the newcomer only in the worst case, and no more tenants at once than its GPU has room for."""
    state, part = scene(gpu_nodes.mps("NVIDIA-L4", 2, 3, 23034), ["light", "middling", "heavy"])

    _, inquest = inquest_of(state, part)
    residents = [entry.inquiry.question for entry in inquest.residents if entry.inquiry]
    assert {question.tenants_at_once for question in residents} == {2}
    assert {len(question.tenants) for question in residents} == {3}


@pytest.mark.parametrize(("slo_ms", "words"), [(12.0, "the kubelet picks the GPU; its worst choice counts")])
def test_the_reason_says_that_the_worst_choice_counts(slo_ms: float, words: str) -> None:
    """People see why a node with a free GPU is refused."""
    state, part = scene(gpu_nodes.mps("NVIDIA-L4", 2, 2, 23034), ["heaviest"])
    pod, inquest = inquest_of(state, part, slo_ms)
    digests = {str(service(name).graph_digest): name for name in WEIGHTS}
    found = verdicts.verdict(pod, signature_of(state), {inquiry: law(inquiry.question, digests) for inquiry in inquest.inquiries})

    assert isinstance(found, Refusal)
    assert words in found.text
