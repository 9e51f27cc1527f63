"""What holds for every cluster: order does not matter, residents are safe, nothing is promised twice."""

from hypothesis import given
from hypothesis import strategies as st
from stowplan_extender.decision import inquiries, placings, verdicts
from stowplan_extender.decision.occupancies import Lodger, Newcomer, NodeState
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.decision.signatures import signature_of
from stowplan_extender.decision.verdicts import Acceptance, Answers, Postponement, Verdict
from stowplan_fleet.answers import Answer, Basis
from stowplan_fleet.nodes import NodeName
from stowplan_fleet.services import OnUnknown, Service, Sharing
from support.harbours import digest, lodger, newcomer, node, service, stranger
from support.toy_predictors import ToyPredictor

_NAMES = ("ant", "bee", "cat", "dog")
TOY = ToyPredictor({digest(name): 8.0 * (index + 1) for index, name in enumerate(_NAMES[:3])}, bases={digest("bee"): Basis.EXTRAPOLATED})

services = st.builds(
    service,
    st.sampled_from(_NAMES),  # nobody analysed the dog
    st.sampled_from([12.0, 30.0, 60.0, 500.0]),
    st.sampled_from([1.0, 20.0, 60.0]),
    sharing=st.sampled_from([Sharing.ALLOW] * 4 + [Sharing.DENY]),
    on_unknown=st.sampled_from(list(OnUnknown)),
    minimum_basis=st.sampled_from([Basis.UNVALIDATED, Basis.EXTRAPOLATED, Basis.MEASURED]),
)


@st.composite
def states(draw: st.DrawFn, name: str = "n") -> NodeState:
    """A node with up to four pods on it."""
    size = draw(st.integers(0, 4))
    lodgers: list[Lodger] = []
    for index in range(size):
        uid = f"{name}-{index}"
        lodgers.append(lodger(draw(services), uid) if draw(st.booleans()) else stranger(uid, draw(st.integers(0, 2500))))
    return node(name, *lodgers, cores=draw(st.integers(1, 6)), device=draw(st.sampled_from(["toy-cpu", "toy-cpu", "other", None])))


def answered(pod: Newcomer, nodes: list[NodeState]) -> Answers:
    return {inquiry: TOY.answer(inquiry.question) for inquiry in placings.inquire(pod, nodes)}


@given(services, st.tuples(states("a"), states("b"), states("c")))
def test_verdicts_do_not_depend_on_order(of: Service, nodes: tuple[NodeState, ...]) -> None:
    """Neither the order of the nodes nor that of the pods on them changes any verdict."""
    pod = newcomer(of)
    turned = [NodeState(state.inventory, tuple(reversed(state.lodgers))) for state in reversed(nodes)]
    assert placings.place(pod, list(nodes), answered(pod, list(nodes))) == placings.place(pod, turned, answered(pod, turned))


@given(states())
def test_names_do_not_matter(state: NodeState) -> None:
    """Nodes that differ in name, and pods that differ in UID, have one signature."""
    renamed = NodeState(state.inventory, tuple(Lodger(type(item.uid)(f"x{item.uid}"), item.requests, item.tenancy) for item in state.lodgers))
    assert signature_of(state) == signature_of(renamed)
    assert hash(signature_of(state)) == hash(signature_of(renamed))


@given(services, states())
def test_refusals_stay_refusals(of: Service, state: NodeState) -> None:
    """Who was refused is refused again on the same inputs, in the same words; and on the same node with yet another pod there."""
    pod = newcomer(of)
    verdict = verdicts.verdict(pod, signature_of(state), answered(pod, [state]))
    assert verdict == verdicts.verdict(pod, signature_of(state), answered(pod, [state]))
    if isinstance(verdict, Refusal):
        crowded = state.with_lodger(lodger(service("ant", 5000.0, on_unknown=OnUnknown.ALLOW), "another"))
        again = verdicts.verdict(pod, signature_of(crowded), answered(pod, [crowded]))
        assert not isinstance(again, Acceptance) or of.placement.on_unknown is OnUnknown.ALLOW


@given(services, states())
def test_accepted_means_everyone_holds(of: Service, state: NodeState) -> None:
    """Once accepted, nobody of those who do not tolerate unknown is over their objective by the very law that was asked, and there is room."""
    pod = newcomer(of)
    verdict = verdicts.verdict(pod, signature_of(state), answered(pod, [state]))
    if not isinstance(verdict, Acceptance):
        return
    after = state.with_lodger(pod.lodger)
    assert signature_of(after).cpu_left_millicores >= 0
    assert 0 <= verdict.score <= 10
    for held in after.lodgers:
        if held.tenancy is None or held.tenancy.service.placement.on_unknown is OnUnknown.ALLOW:
            continue
        alone = Newcomer(held.uid, held.requests, held.tenancy)
        question = inquiries.inquest(alone, signature_of(after.without(held.uid))).beside
        assert question is not None
        answer = TOY.answer(question.question)
        assert answer.response is not None
        assert answer.response.upper_ms <= held.tenancy.service.slo.latency_ms
        assert not answer.basis.weaker_than(held.tenancy.service.placement.minimum_basis)


@given(services, st.lists(states(), min_size=1, max_size=3))
def test_eviction_never_helps_where_it_is_said_not_to(of: Service, nodes: list[NodeState]) -> None:
    """A refusal that is not resolvable stands on the emptied node too."""
    pod = newcomer(of)
    for state in nodes:
        verdict = verdicts.verdict(pod, signature_of(state), answered(pod, [state]))
        empty = node("n", cores=state.inventory.cpu_millicores // 1000, device=state.inventory.cpu_device)
        if isinstance(verdict, Refusal) and not verdict.resolvable:
            assert isinstance(verdicts.verdict(pod, signature_of(empty), answered(pod, [empty])), Refusal)


_acceptances = st.builds(Acceptance, st.integers(0, 10), st.none(), st.none() | st.builds(Answer, st.sampled_from(list(Basis))))


NO = Postponement("not yet")
_nodes = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 3)), max_size=40, unique_by=lambda pair: pair[0])


@given(st.lists(_acceptances, min_size=1, max_size=4), _nodes, st.integers(0, 12))
def test_the_best_are_those_that_sorting_would_put_first(kinds: list[Acceptance], drawn: list[tuple[int, int]], count: int) -> None:
    """Whatever nodes share an acceptance, whichever differ by name only, and whoever refuses between them."""
    possible: list[Verdict] = [*kinds, NO]
    judged = [(NodeName(f"node-{number}"), possible[kind % len(possible)]) for number, kind in drawn]
    numbers = [kind % len(possible) for _, kind in drawn]
    accepted = [(name, verdict) for name, verdict in judged if isinstance(verdict, Acceptance)]
    wanted = accepted if not count or len(accepted) <= count else sorted(accepted, key=placings.rank)[:count]
    assert placings.best([name for name, _ in judged], numbers, dict(enumerate(kinds)), count) == [name for name, _ in wanted]
