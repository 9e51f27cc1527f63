"""A prediction on a basis too weak for its service counts as unknown: its own policy decides, for itself as a newcomer and for itself as a resident."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_extender.binding import bindings
from stowplan_extender.decision import inquiries, placings, verdicts
from stowplan_extender.decision.occupancies import Newcomer, NodeState
from stowplan_extender.decision.reasons import Reason, Refusal
from stowplan_extender.decision.signatures import signature_of
from stowplan_extender.decision.verdicts import Acceptance, Postponement, Verdict
from stowplan_extender.errors import ExtenderError
from stowplan_extender.recording import recordings
from stowplan_extender.recording.recorders import CURRENT
from stowplan_extender.settings import RecordingSettings
from stowplan_fleet import keys
from stowplan_fleet.answers import Answer, Basis
from stowplan_fleet.questions import Question
from stowplan_fleet.services import OnUnknown, Service, ServiceName
from support.harbours import digest, lodger, newcomer, node, service
from support.quays import Quay
from support.toy_predictors import ToyPredictor

TEXT = "cannot be judged (BasisTooWeak): the prediction is extrapolated, and spec.placement.minimumBasis is measured"
MINIMA = [Basis.MEASURED, Basis.EXTRAPOLATED, Basis.UNVALIDATED]
# Nobody measured the far one's kind of slice.
BASES = {digest("far"): Basis.EXTRAPOLATED, digest("formula"): Basis.UNVALIDATED}
TOY = ToyPredictor(dict.fromkeys(map(digest, ("near", "far", "formula")), 10.0), bases=BASES)


def judged(pod: Newcomer, state: NodeState, toy: ToyPredictor = TOY) -> Verdict:
    signature = signature_of(state)
    return verdicts.verdict(pod, signature, {inquiry: toy.answer(inquiry.question) for inquiry in inquiries.questions_for(pod, signature)})


@pytest.mark.parametrize("basis", MINIMA)
@pytest.mark.parametrize("minimum", MINIMA)
def test_a_prediction_counts_on_its_basis_or_a_surer_one(basis: Basis, minimum: Basis) -> None:
    """Measured is surer than extrapolated, and that than unvalidated; who says nothing takes all three."""
    toy = ToyPredictor(TOY.work_ms, bases={digest("far"): basis})
    verdict = judged(newcomer(service("far", minimum_basis=minimum)), node("n"), toy)
    assert isinstance(verdict, Acceptance) == (MINIMA.index(basis) <= MINIMA.index(minimum))
    assert isinstance(judged(newcomer(service("far")), node("n"), toy), Acceptance)


def test_what_is_too_weak_is_refused_with_its_own_reason() -> None:
    """However good the number: the text names both bases and the field, and no eviction could help."""
    verdict = judged(newcomer(service("far", slo_ms=60_000, minimum_basis=Basis.MEASURED)), node("n"))
    assert verdict == Refusal(Reason.BASIS_TOO_WEAK, TEXT, resolvable=False)


@pytest.mark.parametrize("slo_ms", [60_000.0, 1.0])
def test_who_allows_unknown_is_placed_without_a_number(slo_ms: float) -> None:
    """A number nobody goes by neither admits nor refuses: whatever it says, the pod is placed, and carries basis unknown and no prediction."""
    pod = newcomer(service("far", slo_ms=slo_ms, on_unknown=OnUnknown.ALLOW, minimum_basis=Basis.MEASURED))
    verdict = judged(pod, node("n"))
    assert isinstance(verdict, Acceptance)
    assert verdict.basis is Basis.UNKNOWN
    written = bindings.annotations(pod, verdict)
    assert written[keys.BASIS_ANNOTATION] == "unknown"
    assert keys.PREDICTED_MS_ANNOTATION not in written


SERVICES = st.builds(
    service,
    st.sampled_from(["near", "far", "formula"]),
    st.sampled_from([13.0, 30.0, 500.0]),
    st.sampled_from([1.0, 40.0]),
    on_unknown=st.sampled_from(list(OnUnknown)),
    minimum_basis=st.sampled_from(MINIMA),
)


@given(SERVICES, st.lists(SERVICES, max_size=2))
def test_who_wants_surer_predictions_gets_no_place_more(of: Service, residents: list[Service]) -> None:
    """Where unknown is rejected, what is refused to who takes every prediction is refused to who wants more, and what is accepted is as sure as wanted."""
    state = node("n", *(lodger(resident, str(number)) for number, resident in enumerate(residents)))
    wanting = [replace(of, placement=replace(of.placement, on_unknown=OnUnknown.REJECT, minimum_basis=basis)) for basis in MINIMA]
    found = [judged(newcomer(each), state) for each in wanting]
    accepted = [isinstance(verdict, Acceptance) for verdict in found]
    assert accepted == sorted(accepted)
    for each, verdict in zip(wanting, found, strict=True):
        assert not isinstance(verdict, Acceptance) or not verdict.basis.weaker_than(each.placement.minimum_basis)


def test_a_node_where_it_can_be_judged_comes_first() -> None:
    """Who allows unknown still goes where a prediction that counts was made, though another node is fuller."""

    class NearWhereCrowded(ToyPredictor):
        def answer(self, question: Question, devices: object = None) -> Answer:
            del devices
            return replace(super().answer(question), basis=Basis.EXTRAPOLATED if question.tenants else Basis.MEASURED)

    toy = NearWhereCrowded(TOY.work_ms)
    pod = newcomer(service("far", on_unknown=OnUnknown.ALLOW, minimum_basis=Basis.MEASURED))
    nodes = [node("crowded", lodger(service("near"), "x")), node("empty")]
    placing = placings.place(pod, nodes, {inquiry: toy.answer(inquiry.question) for inquiry in placings.inquire(pod, nodes)})
    assert [(name, acceptance.basis) for name, acceptance in placing.accepted] == [("empty", Basis.MEASURED), ("crowded", Basis.UNKNOWN)]
    # What its tenants make unsure, their departure makes sure again.
    strict = newcomer(service("far", minimum_basis=Basis.MEASURED))
    assert judged(strict, nodes[0], toy) == Refusal(Reason.BASIS_TOO_WEAK, TEXT, resolvable=True)


def test_a_resident_is_protected_by_its_own_policy() -> None:
    """Beside a resident whose prediction is too weak for it nobody is put, unless it allows what is unknown; the newcomer's policy has no say in it."""
    strict = judged(newcomer(service("near")), node("n", lodger(service("far", minimum_basis=Basis.MEASURED), "f")))
    assert strict == Refusal(Reason.RESIDENT_UNKNOWN, f"resident vision/far beside it {TEXT}", resolvable=True)
    tolerant = service("far", slo_ms=1.0, on_unknown=OnUnknown.ALLOW, minimum_basis=Basis.MEASURED)
    assert isinstance(judged(newcomer(service("near")), node("n", lodger(tolerant, "f"))), Acceptance)
    exacting = newcomer(service("near", minimum_basis=Basis.MEASURED))
    assert isinstance(judged(exacting, node("n", lodger(service("far"), "f"))), Acceptance)


def test_a_missing_graph_still_waits() -> None:
    """What is unknown only because the predictor forgot the graph is asked again, not decided."""
    assert isinstance(judged(newcomer(service("unheard", minimum_basis=Basis.MEASURED)), node("n")), Postponement)


def test_the_policy_tells_newcomers_and_signatures_apart() -> None:
    """Verdicts are remembered by newcomer and signature: services that differ in nothing but what they rely on share none."""
    trusting, strict = service("far"), service("far", minimum_basis=Basis.MEASURED)
    assert newcomer(trusting) != newcomer(strict)
    assert signature_of(node("n", lodger(trusting, "f"))) != signature_of(node("n", lodger(strict, "f")))


def a_quay(folder: Path) -> Quay:
    quay = Quay(None, recording=RecordingSettings(str(folder), 1000, 1 << 20), far=10.0)
    quay.toy.bases = TOY.bases
    quay.service("far")
    quay.node("one")
    quay.pod("p", "far")
    return quay


def want(quay: Quay, minimum: Basis) -> None:
    found = quay.view.service(ServiceName("vision/far"))
    assert found is not None
    quay.view.put_service(replace(found, placement=replace(found.placement, minimum_basis=minimum)))


async def test_binding_decides_by_the_policy_of_that_moment(tmp_path: Path) -> None:
    """A service that begins to want more between filter and bind is not bound; what was remembered for it before does not count."""
    quay = a_quay(tmp_path)
    assert (await quay.verbs.filter(quay.args("p", "one"))).node_names == ["one"]
    want(quay, Basis.MEASURED)
    with pytest.raises(ExtenderError, match="BasisTooWeak"):
        await quay.bind("p", "one")
    refused = await quay.verbs.filter(quay.args("p", "one"))
    assert refused.node_names == []
    assert refused.failed_and_unresolvable_nodes == {"one": TEXT}
    assert [record.verdicts[0].reason for record in _records(tmp_path)][-1] == "BasisTooWeak"
    assert [difference for record in _records(tmp_path) for difference in _replayed(record)] == []


def test_records_from_before_the_field_replay(tmp_path: Path) -> None:
    """A record without the field reads as one of a service that takes every prediction."""
    quay = a_quay(tmp_path)
    asyncio.run(quay.verbs.filter(quay.args("p", "one")))
    plain = json.loads((tmp_path / CURRENT).read_bytes())
    assert plain["newcomer"]["tenancy"]["service"]["placement"].pop("minimum_basis") == "unvalidated"
    assert _replayed(recordings.read(json.dumps(plain).encode(), "here")) == []


def _records(folder: Path) -> list[recordings.Record]:
    return [recordings.read(line, "here") for line in (folder / CURRENT).read_bytes().splitlines()]


def _replayed(record: recordings.Record) -> list[str]:
    return recordings.replay(record, recordings.answers_of(record))
