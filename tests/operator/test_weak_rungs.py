"""A rung whose prediction rests on a basis too weak for the service is unknown to it: skipped with that reason, or last where unknown is allowed."""

from stowplan_fleet import slices
from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.nodes import NodeInventory, NodeName
from stowplan_fleet.reasons import ConditionReason
from stowplan_fleet.services import GraphDigest, Load, OnUnknown, PlacementPolicy, Service, ServiceName, Slo
from stowplan_fleet.slices import DeviceName
from stowplan_operator.conditions import verdicts
from stowplan_operator.conditions.offers import Offer
from stowplan_operator.reconciling import statuses
from stowplan_operator.sizing import climbs, ladders
from stowplan_operator.sizing.candidates import candidates
from stowplan_operator.sizing.climbs import Patience, Skip, Tenure
from stowplan_operator.sizing.rungs import Rung

ONE, TWO = slices.parse_slice_class("x/cpu:1"), slices.parse_slice_class("x/cpu:2")


def service(on_unknown: OnUnknown = OnUnknown.REJECT, minimum: Basis = Basis.UNVALIDATED) -> Service:
    policy = PlacementPolicy(on_unknown, minimum_basis=minimum)
    return Service(ServiceName("a/b"), "onnxruntime-cpu", Slo(50), Load(100), graph_digest=GraphDigest("sha256:" + "0" * 64), placement=policy)


def answer(basis: Basis, upper_ms: float) -> Answer:
    return Answer(basis, response=LatencyInterval(upper_ms / 2, upper_ms / 4, upper_ms, 0.9), utilization=0.5)


def ladder(of: Service, *answers: Answer) -> tuple[Rung, ...]:
    return ladders.ladder(of, candidates([NodeInventory(NodeName("n"), 2000, 1 << 30, DeviceName("x"))], of.placement, of.runtime), answers)


def test_the_cheap_rung_nobody_measured_is_skipped_with_its_reason() -> None:
    """The ladder names basis and field, shows no number as if it counted, and the service stands on the dearer rung that was measured."""
    found = ladder(service(OnUnknown.REJECT, Basis.MEASURED), answer(Basis.EXTRAPOLATED, 10), answer(Basis.MEASURED, 20))
    choice = climbs.choose(found, None, Patience())
    assert choice.rung is not None
    assert choice.rung.candidate.slice_class == TWO
    status = {item["sliceClass"]: item for item in statuses.ladder(found, climbs.skips(found, choice.rung, frozenset()))}
    assert status["x/cpu:1"] == {
        "sliceClass": "x/cpu:1",
        "replicas": 1,
        "basis": "extrapolated",
        "meetsSLO": False,
        "reason": "cannot be judged (BasisTooWeak): the prediction is extrapolated, and spec.placement.minimumBasis is measured",
        "cost": 1.0,
        "costBasis": "share",
        "skipped": "BasisTooWeak",
    }
    assert "skipped" not in status["x/cpu:2"]


def test_the_same_ladder_is_climbed_from_below_by_who_takes_less() -> None:
    """Without the field the extrapolated rung is the cheapest that does."""
    choice = climbs.choose(ladder(service(), answer(Basis.EXTRAPOLATED, 10), answer(Basis.MEASURED, 20)), None, Patience())
    assert choice.rung is not None
    assert choice.rung.candidate.slice_class == ONE


def test_who_allows_unknown_takes_it_after_all_that_is_known_to_do() -> None:
    """A known rung comes first though it is dearer; without one the weak rung is taken, whatever its number says, and it carries none."""
    allowing = service(OnUnknown.ALLOW, Basis.EXTRAPOLATED)
    known_first = climbs.choose(ladder(allowing, answer(Basis.UNVALIDATED, 10), answer(Basis.MEASURED, 20)), None, Patience())
    alone = climbs.choose(ladder(allowing, answer(Basis.UNVALIDATED, 10_000), answer(Basis.MEASURED, 60)), None, Patience())
    assert known_first.rung is not None
    assert (known_first.rung.candidate.slice_class, known_first.rung.meets_slo) == (TWO, True)
    assert alone.rung is not None
    assert (alone.rung.candidate.slice_class, alone.rung.meets_slo, alone.rung.predicted_ms) == (ONE, False, None)


def test_a_service_that_begins_to_want_more_leaves_its_rung() -> None:
    """The rung it stands on is not allowed any more, so that it moves at once."""
    found = ladder(service(OnUnknown.REJECT, Basis.MEASURED), answer(Basis.EXTRAPOLATED, 10), answer(Basis.MEASURED, 20))
    choice = climbs.choose(found, Tenure(ONE, held_s=1.0), Patience())
    assert choice.rung is not None
    assert choice.rung.candidate.slice_class == TWO


def test_nothing_strong_enough_anywhere_is_prediction_unknown() -> None:
    """Placeable is False with PredictionUnknown and the field in its message; one rung that was judged and misses makes it NoRungMeetsSLO."""
    strict = service(OnUnknown.REJECT, Basis.MEASURED)
    nothing = ladder(strict, answer(Basis.EXTRAPOLATED, 10), unknown(UnknownReason.KERNEL_NOT_SUPPORTED, "Conv3D"))
    some = ladder(strict, answer(Basis.EXTRAPOLATED, 10), answer(Basis.MEASURED, 60))
    verdict = verdicts.placeable(nothing, None, Offer("onnxruntime-cpu", 1))
    assert verdict.reason is ConditionReason.PREDICTION_UNKNOWN
    assert "spec.placement.minimumBasis" in verdict.message
    assert climbs.skips(nothing, None, frozenset()) == {ONE: Skip.BASIS_TOO_WEAK, TWO: Skip.PREDICTION_UNKNOWN}
    assert verdicts.placeable(some, None, Offer("onnxruntime-cpu", 1)).reason is ConditionReason.NO_RUNG_MEETS_SLO
