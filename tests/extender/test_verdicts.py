"""Verdicts, case by case: who is refused, in which words, and whether an eviction could help."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
from stowplan_extender.decision import inquiries, placings, verdicts
from stowplan_extender.decision.occupancies import Lodger, Newcomer, NodeState, PodUid, Requests, Tenancy
from stowplan_extender.decision.reasons import Reason, Refusal
from stowplan_extender.decision.signatures import signature_of
from stowplan_extender.decision.verdicts import Acceptance, Postponement, Verdict
from stowplan_fleet.answers import Answer, Basis, UnknownReason, unknown
from stowplan_fleet.devices import Device
from stowplan_fleet.nodes import ResourceName, SliceOffer
from stowplan_fleet.questions import Question
from stowplan_fleet.services import OnUnknown, Sharing
from stowplan_fleet.slices import DeviceName, parse_slice_class
from support.harbours import GIB, cpu_class, digest, lodger, newcomer, node, service, stranger
from support.toy_predictors import ToyPredictor

TOY = ToyPredictor({digest("fast"): 10.0, digest("slow"): 100.0, digest("guest"): 10.0})


def judged(pod: Newcomer, state: NodeState, toy: ToyPredictor = TOY) -> Verdict:
    signature = signature_of(state, pod.requests.memory_bytes)
    answers = {inquiry: toy.answer(inquiry.question) for inquiry in inquiries.questions_for(pod, signature)}
    return verdicts.verdict(pod, signature, answers)


def refused(pod: Newcomer, state: NodeState, toy: ToyPredictor = TOY) -> Refusal:
    verdict = judged(pod, state, toy)
    assert isinstance(verdict, Refusal), verdict
    return verdict


def test_accepts_with_the_prediction() -> None:
    """An empty node of the right device takes a pod that meets its objective, and says what was predicted."""
    verdict = judged(newcomer(service("fast")), node("n"))
    assert isinstance(verdict, Acceptance)
    assert verdict.basis is Basis.MEASURED
    assert verdict.answer is not None
    assert verdict.answer.response is not None
    assert verdict.answer.response.median_ms == pytest.approx(10.3)
    assert verdict.score == 2  # a quarter of the node is taken then


def test_upper_bound_is_held_against_the_objective() -> None:
    """An objective between the median and the upper bound is not kept."""
    assert refused(newcomer(service("fast", slo_ms=11.0)), node("n")).reason is Reason.TOO_SLOW_ALONE


@pytest.mark.parametrize(
    ("pod", "state", "reason", "resolvable", "text"),
    [
        (newcomer(service("fast")), node("n", device="other"), Reason.SLICE_NOT_OFFERED, False, "offers no slice toy-cpu/cpu:1"),
        (newcomer(service("fast")), node("n", device=None), Reason.DEVICE_NOT_NAMED, False, "names no device"),
        (newcomer(service("fast"), millicores=8000), node("n"), Reason.SLICE_NOT_OFFERED, False, "offers no slice toy-cpu/cpu:8"),
        (newcomer(service("fast")), node("n", stranger("x", 3500)), Reason.NO_ROOM, True, "has no free slice toy-cpu/cpu:1"),
        (newcomer(service("fast"), memory_bytes=65 * GIB), node("n"), Reason.NO_ROOM, True, "has no free slice"),
        (newcomer(service("slow")), node("n"), Reason.TOO_SLOW_ALONE, False, "toy-cpu/cpu:1 is too slow even alone: p95 up to 156 ms, objective 50 ms"),
        (newcomer(service("fast", rps=200)), node("n"), Reason.OVERLOADED_ALONE, False, "cannot sustain the request rate, even alone"),
        (
            newcomer(service("fast", slo_ms=14)),
            node("n", lodger(service("guest"), "g")),
            Reason.TOO_SLOW_BESIDE,
            True,
            "too slow beside the tenants there: p95 above the objective of 14 ms",
        ),
        (
            newcomer(service("fast", slo_ms=60, rps=85)),
            node("n", lodger(service("guest", slo_ms=1000), "g")),
            Reason.OVERLOADED_BESIDE,
            True,
            "toy-cpu/cpu:1 cannot sustain the request rate beside the tenants there",
        ),
        (
            newcomer(service("fast")),
            node("n", lodger(service("guest", slo_ms=14), "g")),
            Reason.RESIDENT_OVER_SLO,
            True,
            "would push resident vision/guest over its SLO of 14 ms",
        ),
        (
            newcomer(service("fast")),
            node("n", lodger(service("guest", rps=85), "g")),
            Reason.RESIDENT_OVERLOADED,
            True,
            "would push resident vision/guest over its SLO of 50 ms: it could not sustain its load",
        ),
        (newcomer(service("fast", sharing=Sharing.DENY)), node("n", stranger("x", 200)), Reason.SHARING_DENIED, True, "denies sharing"),
        (
            newcomer(service("fast")),
            node("n", lodger(service("guest", sharing=Sharing.DENY), "g")),
            Reason.RESIDENT_DENIES_SHARING,
            True,
            "resident vision/guest denies sharing",
        ),
        (newcomer(service("fast", slice_classes=(cpu_class(2000),))), node("n"), Reason.SLICE_NOT_WANTED, False, "is not among the slice classes"),
        (
            replace(newcomer(service("fast")), requests=Requests(500)),
            node("n"),
            Reason.SLICE_NOT_REQUESTED,
            False,
            "the pod requests less cpu than a slice toy-cpu/cpu:1 takes",
        ),
    ],
)
def test_refuses_in_fixed_words(pod: Newcomer, state: NodeState, reason: Reason, text: str, *, resolvable: bool) -> None:
    """Each way to be refused has its kind, its words, and says whether somebody's departure could help."""
    refusal = refused(pod, state)
    assert refusal.reason is reason
    assert refusal.resolvable is resolvable
    assert text in refusal.text


def test_agents_are_no_tenants_but_take_room() -> None:
    """Pods that are not ours and request under 100m do not count as tenants; what they request is taken all the same."""
    pod = newcomer(service("fast", sharing=Sharing.DENY))
    assert isinstance(judged(pod, node("n", stranger("a", 99))), Acceptance)
    assert refused(pod, node("n", stranger("a", 100))).reason is Reason.SHARING_DENIED
    many = [stranger(f"a{index}", 99) for index in range(31)]
    assert refused(pod, node("n", *many)).reason is Reason.NO_ROOM


def test_own_policy_decides_what_unknown_means() -> None:
    """Where nobody can judge the newcomer, Reject refuses with the reason and Allow accepts with basis unknown and no number."""
    toy = Always(unknown(UnknownReason.KERNEL_NOT_SUPPORTED, "Conv3D", "toy@1"))
    refusal = refused(newcomer(service("fast")), node("n"), toy)
    assert (refusal.reason, refusal.resolvable) == (Reason.PREDICTION_UNKNOWN, False)
    assert refusal.text == "cannot be judged (KernelNotSupported): Conv3D"
    verdict = judged(newcomer(service("fast", on_unknown=OnUnknown.ALLOW)), node("n"), toy)
    assert isinstance(verdict, Acceptance)
    assert verdict.basis is Basis.UNKNOWN


def test_tenants_nobody_can_judge_may_leave() -> None:
    """Unknown because of the tenants is the one kind of unknown that an eviction could help; its text does not differ from node to node."""
    toy = Always(unknown(UnknownReason.TENANTS_NOT_SUPPORTED, "17 tenants", "toy@1"))
    refusal = refused(newcomer(service("fast")), node("n", stranger("x", 500)), toy)
    assert refusal.resolvable
    assert "17" not in refusal.text


def test_residents_policy_decides_for_the_resident() -> None:
    """A resident whose model nobody analysed is protected by refusing, unless it tolerates what is unknown."""
    strict = refused(newcomer(service("fast")), node("n", lodger(service("guest", analysed=False), "g")))
    assert strict.reason is Reason.RESIDENT_UNKNOWN
    assert "vision/guest" in strict.text
    tolerant = service("guest", analysed=False, on_unknown=OnUnknown.ALLOW)
    assert isinstance(judged(newcomer(service("fast")), node("n", lodger(tolerant, "g"))), Acceptance)


@pytest.mark.parametrize("policy", list(OnUnknown))
def test_missing_graph_is_never_a_matter_of_policy(policy: OnUnknown) -> None:
    """A graph the predictor has not analysed yet means: ask again, whatever the service tolerates."""
    assert isinstance(judged(newcomer(service("unheard", on_unknown=policy)), node("n")), Postponement)


def test_missing_graph_of_a_resident_postpones_only_its_node() -> None:
    """A resident whose graph is missing makes its node wait; an empty node is accepted at once."""
    pod = newcomer(service("fast"))
    assert isinstance(judged(pod, node("n", lodger(service("unheard"), "u"))), Postponement)
    assert isinstance(judged(pod, node("m")), Acceptance)


def test_silence_postpones_or_is_tolerated() -> None:
    """Without an answer the strict wait, and those who tolerate unknown are accepted without a number."""
    signature = signature_of(node("n"))
    assert isinstance(verdicts.verdict(newcomer(service("fast")), signature, {}), Postponement)
    verdict = verdicts.verdict(newcomer(service("fast", on_unknown=OnUnknown.ALLOW)), signature, {})
    assert isinstance(verdict, Acceptance)
    assert verdict.answer is None


def test_certain_harm_outweighs_waiting() -> None:
    """A resident that would surely come to harm refuses the node, even while another resident cannot be judged yet."""
    state = node("n", lodger(service("unheard"), "u"), lodger(service("guest", slo_ms=14), "g"))
    toy = ToyPredictor({**TOY.work_ms, digest("unheard"): 1.0})
    signature = signature_of(state)
    pod = newcomer(service("fast"))
    answers = {inquiry: toy.answer(inquiry.question) for inquiry in inquiries.questions_for(pod, signature)}
    missing = {inquiry: answer for inquiry, answer in answers.items() if inquiry.question.subject.graph_digest != digest("unheard")}
    verdict = verdicts.verdict(pod, signature, missing)
    assert isinstance(verdict, Refusal)
    assert verdict.reason is Reason.RESIDENT_OVER_SLO


@pytest.mark.parametrize("upper_ms", [math.nan, math.inf])
def test_numbers_that_are_none_accept_nobody(upper_ms: float) -> None:
    """NaN or infinity from a predictor counts as unknown, not as fast."""
    pod = newcomer(service("fast"))
    signature = signature_of(node("n"))
    answers = {}
    for inquiry in inquiries.questions_for(pod, signature):
        answer = TOY.answer(inquiry.question)
        assert answer.response is not None
        answers[inquiry] = replace(answer, response=replace(answer.response, upper_ms=upper_ms))
    verdict = verdicts.verdict(pod, signature, answers)
    assert isinstance(verdict, Refusal)
    assert verdict.text == "cannot be judged (PredictionNotFinite)"


class Always(ToyPredictor):
    """Gives one answer to everything."""

    def __init__(self, always: Answer) -> None:
        super().__init__({})
        self._always = always

    def answer(self, question: Question, devices: Mapping[DeviceName, Device] | None = None) -> Answer:
        """The one answer."""
        del question, devices
        return self._always


def gpu_node(name: str, text: str, resource: str, count: int, *lodgers: Lodger) -> NodeState:
    base = node(name, *lodgers, device=None)
    offer = SliceOffer(parse_slice_class(text), ResourceName(resource), count)
    return NodeState(replace(base.inventory, offers=(offer,)), lodgers)


def gpu_pod(text: str, resource: str, uid: str = "new", name: str = "fast", slo_ms: float = 50.0) -> Newcomer:
    return Newcomer(PodUid(uid), Requests(500, 0, ((ResourceName(resource), 1),)), Tenancy(service(name, slo_ms), parse_slice_class(text)))


def test_device_plugin_counts_are_kept() -> None:
    """A class of GPU slices takes as many pods as the node has slices, foreign pods included, and a pod must request the resource."""
    text, resource = "A100/mig-1g.10gb", "nvidia.com/mig-1g.10gb"
    foreign = Lodger(PodUid("x"), Requests(0, 0, ((ResourceName(resource), 1),)))
    assert isinstance(judged(gpu_pod(text, resource), gpu_node("n", text, resource, 2, foreign)), Acceptance)
    assert refused(gpu_pod(text, resource), gpu_node("n", text, resource, 1, foreign)).reason is Reason.NO_ROOM
    assert refused(gpu_pod(text, "example.com/other"), gpu_node("n", text, resource, 1)).reason is Reason.SLICE_NOT_REQUESTED
    assert refused(gpu_pod("A100/mig-2g.20gb", resource), gpu_node("n", text, resource, 1)).reason is Reason.SLICE_NOT_OFFERED


def test_shared_gpus_have_tenants_and_instances_have_none() -> None:
    """Slices of a shared GPU feel each other; MIG instances and whole GPUs do not."""
    for text, resource, asked in (
        ("A100/mps-50", "nvidia.com/gpu.shared", 1),
        ("A100/time-2", "nvidia.com/gpu.shared", 1),
        ("A100/mig-1g.10gb", "nvidia.com/mig-1g.10gb", 0),
        ("A100/full", "nvidia.com/gpu", 0),
    ):
        resident = gpu_pod(text, resource, uid="old", name="guest").lodger
        questions = inquiries.inquest(gpu_pod(text, resource), signature_of(gpu_node("n", text, resource, 4, resident)))
        assert questions.beside is not None
        assert len(questions.beside.question.tenants) == asked
        assert len(questions.residents) == asked


def test_placing_ranks_and_gives_reasons() -> None:
    """Over a whole cluster the fuller of two accepted nodes comes first, and every other node has its reason."""
    pod = newcomer(service("fast"))
    nodes = [node("empty"), node("half", lodger(service("guest"), "g")), node("foreign", device="other")]
    answers = {inquiry: TOY.answer(inquiry.question) for inquiry in placings.inquire(pod, nodes)}
    placing = placings.place(pod, nodes, answers)
    assert [name for name, _ in placing.accepted] == ["half", "empty"]
    assert placing.texts == {"foreign": "offers no slice toy-cpu/cpu:1"}
    assert DeviceName("other") == nodes[2].inventory.cpu_device


@pytest.mark.parametrize(("millicores", "resolvable"), [(3_500, True), (4_500, False)])
def test_a_node_that_is_too_small_as_a_whole_is_not_worth_an_eviction(millicores: int, *, resolvable: bool) -> None:
    """A pod whose side containers ask for more than the whole node has finds no room there, whoever leaves."""
    pod = newcomer(service("fast"))
    large = Newcomer(pod.uid, Requests(millicores), pod.tenancy)
    found = refused(large, node("n", stranger("x", 1_000)))
    assert (found.reason, found.resolvable) == (Reason.NO_ROOM, resolvable)
