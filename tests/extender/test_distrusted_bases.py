"""What a service distrusts counts as unknown: its own policy decides then, for itself as a newcomer and for itself as a resident."""

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from stowplan_extender import bindings, recordings
from stowplan_extender.decision import inquiries, placings, verdicts
from stowplan_extender.decision.occupancies import Newcomer, NodeState
from stowplan_extender.decision.reasons import Reason, Refusal
from stowplan_extender.decision.signatures import signature_of
from stowplan_extender.decision.verdicts import Acceptance, Postponement, Verdict
from stowplan_extender.errors import ExtenderError
from stowplan_extender.recorders import CURRENT
from stowplan_extender.settings import RecordingSettings
from stowplan_fleet import keys
from stowplan_fleet.answers import Answer, Basis
from stowplan_fleet.questions import Question
from stowplan_fleet.services import OnUnknown, ServiceName
from support.harbours import digest, lodger, newcomer, node, service
from support.quays import Quay
from support.toy_predictors import ToyPredictor

EXTRAPOLATED = (Basis.EXTRAPOLATED,)
TEXT = "cannot be judged (TreatedAsUnknown): the prediction is extrapolated, which spec.placement.treatAsUnknown names"
# Nobody measured the far one's kind of slice.
TOY = ToyPredictor({digest("near"): 10.0, digest("far"): 10.0}, bases={digest("far"): Basis.EXTRAPOLATED})


def judged(pod: Newcomer, state: NodeState, toy: ToyPredictor = TOY) -> Verdict:
    signature = signature_of(state)
    return verdicts.verdict(pod, signature, {inquiry: toy.answer(inquiry.question) for inquiry in inquiries.questions_for(pod, signature)})


def test_nothing_is_distrusted_that_is_not_named() -> None:
    """Without the field, and with another basis in it, an extrapolated prediction places the pod."""
    for named in ((), (Basis.UNVALIDATED,)):
        verdict = judged(newcomer(service("far", treat_as_unknown=named)), node("n"))
        assert isinstance(verdict, Acceptance)
        assert verdict.basis is Basis.EXTRAPOLATED
    assert isinstance(judged(newcomer(service("near", treat_as_unknown=EXTRAPOLATED)), node("n")), Acceptance)


def test_what_is_distrusted_is_refused_with_its_own_reason() -> None:
    """However good the number: the reason names the basis and the field, and no eviction could help."""
    verdict = judged(newcomer(service("far", slo_ms=60_000, treat_as_unknown=EXTRAPOLATED)), node("n"))
    assert verdict == Refusal(Reason.TREATED_AS_UNKNOWN, TEXT, resolvable=False)


@pytest.mark.parametrize("slo_ms", [60_000.0, 1.0])
def test_who_allows_unknown_is_placed_without_a_number(slo_ms: float) -> None:
    """A number nobody goes by neither admits nor refuses: whatever it says, the pod is placed, and carries basis unknown and no prediction."""
    pod = newcomer(service("far", slo_ms=slo_ms, on_unknown=OnUnknown.ALLOW, treat_as_unknown=EXTRAPOLATED))
    verdict = judged(pod, node("n"))
    assert isinstance(verdict, Acceptance)
    assert verdict.basis is Basis.UNKNOWN
    written = bindings.annotations(pod, verdict)
    assert written[keys.BASIS_ANNOTATION] == "unknown"
    assert keys.PREDICTED_MS_ANNOTATION not in written


def test_a_node_where_it_can_be_judged_comes_first() -> None:
    """Who allows unknown still goes where a prediction that it trusts was made, though another node is fuller."""

    class NearWhereCrowded(ToyPredictor):
        def answer(self, question: Question, devices: object = None) -> Answer:
            del devices
            return dataclasses.replace(super().answer(question), basis=Basis.EXTRAPOLATED if question.tenants else Basis.MEASURED)

    toy = NearWhereCrowded(TOY.work_ms)
    pod = newcomer(service("far", on_unknown=OnUnknown.ALLOW, treat_as_unknown=EXTRAPOLATED))
    nodes = [node("crowded", lodger(service("near"), "x")), node("empty")]
    placing = placings.place(pod, nodes, {inquiry: toy.answer(inquiry.question) for inquiry in placings.inquire(pod, nodes)})
    assert [(name, acceptance.basis) for name, acceptance in placing.accepted] == [("empty", Basis.MEASURED), ("crowded", Basis.UNKNOWN)]
    # What its tenants make unsure, their departure makes sure again.
    strict = newcomer(service("far", treat_as_unknown=EXTRAPOLATED))
    assert judged(strict, nodes[0], toy) == Refusal(Reason.TREATED_AS_UNKNOWN, TEXT, resolvable=True)


def test_a_resident_is_protected_by_its_own_policy() -> None:
    """Beside a resident that distrusts what is predicted of it nobody is put, unless it allows what is unknown; the newcomer's policy has no say in it."""
    strict = judged(newcomer(service("near")), node("n", lodger(service("far", treat_as_unknown=EXTRAPOLATED), "f")))
    assert strict == Refusal(Reason.RESIDENT_UNKNOWN, f"resident vision/far beside it {TEXT}", resolvable=True)
    tolerant = service("far", slo_ms=1.0, on_unknown=OnUnknown.ALLOW, treat_as_unknown=EXTRAPOLATED)
    assert isinstance(judged(newcomer(service("near")), node("n", lodger(tolerant, "f"))), Acceptance)
    distrustful = newcomer(service("near", treat_as_unknown=EXTRAPOLATED))
    assert isinstance(judged(distrustful, node("n", lodger(service("far"), "f"))), Acceptance)


def test_a_missing_graph_still_waits() -> None:
    """What is unknown only because the predictor forgot the graph is asked again, not decided."""
    assert isinstance(judged(newcomer(service("unheard", treat_as_unknown=EXTRAPOLATED)), node("n")), Postponement)


def test_the_policy_tells_newcomers_and_signatures_apart() -> None:
    """Verdicts are remembered by newcomer and signature: services that differ in nothing but what they distrust share none."""
    trusting, strict = service("far"), service("far", treat_as_unknown=EXTRAPOLATED)
    assert newcomer(trusting) != newcomer(strict)
    assert signature_of(node("n", lodger(trusting, "f"))) != signature_of(node("n", lodger(strict, "f")))


def a_quay(folder: Path) -> Quay:
    quay = Quay(None, recording=RecordingSettings(str(folder), 1000, 1 << 20), far=10.0)
    quay.toy.bases = TOY.bases
    quay.service("far")
    quay.node("one")
    quay.pod("p", "far")
    return quay


def distrust(quay: Quay, *bases: Basis) -> None:
    found = quay.view.service(ServiceName("vision/far"))
    assert found is not None
    quay.view.put_service(dataclasses.replace(found, placement=dataclasses.replace(found.placement, treat_as_unknown=bases)))


async def test_binding_decides_by_the_policy_of_that_moment(tmp_path: Path) -> None:
    """A service that begins to distrust between filter and bind is not bound; what was remembered for it before does not count."""
    quay = a_quay(tmp_path)
    assert (await quay.verbs.filter(quay.args("p", "one"))).node_names == ["one"]
    distrust(quay, Basis.EXTRAPOLATED)
    with pytest.raises(ExtenderError, match="TreatedAsUnknown"):
        await quay.bind("p", "one")
    refused = await quay.verbs.filter(quay.args("p", "one"))
    assert refused.node_names == []
    assert refused.failed_and_unresolvable_nodes == {"one": TEXT}
    assert [record.verdicts[0].reason for record in _records(tmp_path)][-1] == "TreatedAsUnknown"
    assert [difference for record in _records(tmp_path) for difference in _replayed(record)] == []


def test_records_from_before_the_field_replay(tmp_path: Path) -> None:
    """A record without the field reads as one of a service that trusts every prediction."""
    quay = a_quay(tmp_path)
    asyncio.run(quay.verbs.filter(quay.args("p", "one")))
    plain = json.loads((tmp_path / CURRENT).read_bytes())
    assert plain["newcomer"]["tenancy"]["service"]["placement"].pop("treat_as_unknown") == []
    assert _replayed(recordings.read(json.dumps(plain).encode(), "here")) == []


def _records(folder: Path) -> list[recordings.Record]:
    return [recordings.read(line, "here") for line in (folder / CURRENT).read_bytes().splitlines()]


def _replayed(record: recordings.Record) -> list[str]:
    return recordings.replay(record, recordings.answers_of(record))
