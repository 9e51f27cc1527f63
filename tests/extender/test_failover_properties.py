"""Two extenders, one Lease, one cluster: whatever is lost, late, stale, killed or asked twice, no place is given twice and nobody is over their objective."""

import asyncio
import copy
import json
from typing import Any

import hypothesis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from stowplan_extender.apiserver.connections import ApiConnection
from stowplan_extender.binding.leaderships import LeaseLeadership
from stowplan_extender.cluster.lodgings import lodger_of, record_of
from stowplan_extender.decision import inquiries
from stowplan_extender.decision.occupancies import Newcomer, NodeState, PodUid
from stowplan_extender.decision.signatures import signature_of
from stowplan_extender.errors import ApiUnreachable, ExtenderError
from stowplan_extender.metrics import Metrics
from stowplan_extender.settings import LeaseSettings
from stowplan_extender.wire import ExtenderBindingArgs
from stowplan_fleet.manifests import decoding, nodes
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.nodes import NodeManifest
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.manifests.services import service_of
from stowplan_fleet.services import Sharing
from support.harbours import node_json, pod_json, service_json
from support.quays import MemoryPodCalls, Quay
from support.virtual_clocks import HandClock

NODES = {"one": 1, "two": 2, "three": 2}
PODS = {f"p{index}": ("ant", "bee", "cat")[index % 3] for index in range(9)}
# An ant beside an ant, or beside two bees, is over its objective by the toy law; bees and cats bear anything, but a cat shares with nobody.
OBJECTIVES = {"ant": 14, "bee": 500, "cat": 500}
SHIPS = ("a", "b")
TAKEOVER_S = 2.0
# What the wait after a takeover is longer than: how old a look at the Lease may be, a request of ours that is on its way, and then the watch that shows
# what came of it.
FRESH_S, REQUEST_S, WATCH_S = 0.4, 1.0, 0.5


class LeaseConnection(ApiConnection):
    """Answers with the Lease as it is."""

    def __init__(self) -> None:
        super().__init__("nowhere")
        self.holder, self.transitions, self.reachable = "a", 0, True

    async def request(self, *_: Any, **__: Any) -> bytes:
        """Reads the Lease."""
        await asyncio.sleep(0)
        if not self.reachable:
            raise ApiUnreachable("made by a test")
        return json.dumps({"spec": {"holderIdentity": f"{self.holder}_1", "leaseTransitions": self.transitions}}).encode()

    def move(self) -> None:
        """To the other one."""
        self.holder = "b" if self.holder == "a" else "a"
        self.transitions += 1


class Calls(MemoryPodCalls):
    """One extender's way to the pods that both see; what it carries out is an event that watches show later."""

    def __init__(self, fleet: "Fleet") -> None:
        super().__init__(pods=fleet.pods)
        self.fleet = fleet

    def carry_out(self, args: ExtenderBindingArgs, annotations: dict[str, str]) -> None:
        """Binds, for good."""
        super().carry_out(args, annotations)
        self.fleet.happened(args.pod_name)


class Fleet:
    """The cluster as it really is, and two extenders that see it late."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.lease = LeaseConnection()
        self.pods: dict[str, dict[str, Any]] = {}
        self.events: list[tuple[float, str, dict[str, Any] | None]] = []
        self.seen = dict.fromkeys(SHIPS, 0)
        self.orphans: list[Calls] = []
        """Requests of processes that are no more: under way all the same."""
        self.ships = {name: self._ship(name) for name in SHIPS}
        for name, of in PODS.items():
            self.pods[f"vision/{name}"] = pod_json(name, of)
            self.happened(name)

    def _ship(self, name: str) -> Quay:
        lease = LeaseSettings(name="x", namespace="x", pod_name=name, cache_s=0.5, fresh_s=FRESH_S, takeover_s=TAKEOVER_S)
        ship = Quay(LeaseLeadership(self.lease, lease, 1.0, self.clock, Metrics()), ant=10.0, bee=8.0, cat=8.0)
        ship.calls = Calls(self)
        ship.binder._calls = ship.calls
        for part in (ship, ship.predictions, ship.judge, ship.view.reservations):
            setattr(part, "clock" if part is ship else "_clock", self.clock)
        for node, cores in NODES.items():
            ship.node(node, cores)
        for service, slo_ms in OBJECTIVES.items():
            plain = service_json(service, slo_ms)
            plain["spec"]["placement"] = {"sharing": "Deny" if service == "cat" else "Allow"}
            ship.view.put_service(service_of(decoding.from_plain(plain, InferenceServiceManifest)))
        return ship

    def kill(self, name: str) -> None:
        """A process ends in the middle of whatever it did, and another begins with a list; what it had sent is still on its way."""
        calls = self.ships[name].calls
        if isinstance(calls, Calls) and calls.late:
            self.orphans.append(calls)
        self.ships[name] = self._ship(name)
        self.seen[name] = len(self.events)
        for pod in self.pods.values():
            self.ships[name].view.put_pod(record_of(decoding.from_plain(pod, PodManifest)))

    def happened(self, name: str) -> None:
        """The API server's state of a pod changed."""
        self.events.append((self.clock.now, name, copy.deepcopy(self.pods.get(f"vision/{name}"))))

    def show(self, ship: str, count: int) -> None:
        """A watch shows its next events."""
        for _, name, plain in self.events[self.seen[ship] : self.seen[ship] + count]:
            if plain is None:
                self.ships[ship].view.drop_pod(PodUid(f"uid-{name}"))
            else:
                self.ships[ship].view.put_pod(record_of(decoding.from_plain(plain, PodManifest)))
        self.seen[ship] = min(self.seen[ship] + count, len(self.events))

    def advance(self, seconds: float) -> None:
        """Time passes, in steps so small that nothing is later than it may be."""
        while seconds > 0:
            self.clock.now += min(seconds, 0.1)
            seconds -= 0.1
            for calls in (*self.orphans, *(ship.calls for ship in self.ships.values())):
                if self.late_since(calls) <= self.clock.now - REQUEST_S:
                    calls.arrive()
            for name in SHIPS:
                due = sum(at <= self.clock.now - WATCH_S for at, _, _ in self.events[self.seen[name] :])
                self.show(name, due)

    def late_since(self, calls: MemoryPodCalls) -> float:
        """When the oldest delayed request was made."""
        return getattr(calls, "since", float("inf")) if calls.late else float("inf")

    def states(self) -> dict[str, NodeState]:
        """Every node with those who really stand there."""
        found = {}
        service = self.ships["a"].view.service
        for node, cores in NODES.items():
            inventory = nodes.inventory_of(decoding.from_plain(node_json(node, cores), NodeManifest))
            here = [pod for pod in self.pods.values() if pod["spec"].get("nodeName") == node]
            found[node] = NodeState(inventory, tuple(lodger_of(record_of(decoding.from_plain(pod, PodManifest)), service) for pod in here))
        return found


ships = st.sampled_from(SHIPS)
pods = st.sampled_from(sorted(PODS))
places = st.sampled_from(sorted(NODES))


class FailOver(RuleBasedStateMachine):
    """Everything that may happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.fleet = Fleet()

    def teardown(self) -> None:
        """Closes what was opened."""
        self.loop.close()

    @rule(ship=ships, pod=pods, node=places, mode=st.sampled_from(["ok", "ok", "ok", "lost", "dropped", "late", "away", "500"]))
    def bind(self, ship: str, pod: str, node: str, mode: str) -> None:
        """A scheduler asks its extender to bind, and the API server is well or not."""
        self.loop.run_until_complete(self._bind(ship, pod, node, mode))

    @rule(asked=st.lists(st.tuples(ships, pods, places), min_size=2, max_size=5), moves_after=st.none() | st.integers(0, 12))
    def race(self, asked: list[tuple[str, str, str]], moves_after: int | None) -> None:
        """Several are asked at once, of both extenders, and the Lease may change hands in the middle."""

        async def all_at_once() -> None:
            async def move() -> None:
                for _ in range(moves_after or 0):
                    await asyncio.sleep(0)
                if moves_after is not None:
                    self.fleet.lease.move()

            await asyncio.gather(move(), *(self._bind(*one, "ok") for one in asked))

        self.loop.run_until_complete(all_at_once())

    @rule(ship=ships, pod=pods)
    def ask(self, ship: str, pod: str) -> None:
        """A filter, perhaps once more, changes nothing."""
        quay = self.fleet.ships[ship]
        if f"vision/{pod}" in self.fleet.pods:
            before = len(quay.view.reservations)

            async def twice() -> list[Any]:
                return [await quay.verbs.filter(quay.args(pod, *NODES)) for _ in range(2)]

            first, second = self.loop.run_until_complete(twice())
            assert first == second
            assert len(quay.view.reservations) <= before

    @rule(ship=ships, count=st.integers(1, 4))
    def watch(self, ship: str, count: int) -> None:
        """A watch catches up a little."""
        self.fleet.show(ship, count)

    @rule(seconds=st.sampled_from([0.3, 1.0, 2.5, 70.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.fleet.advance(seconds)

    @rule()
    def fail_over(self) -> None:
        """The Lease changes hands."""
        self.fleet.lease.move()

    @rule(ship=ships, pod=pods, other=pods, node=places, mode=st.sampled_from(["late", "lost", "ok"]))
    def kill(self, ship: str, pod: str, other: str, node: str, mode: str) -> None:
        """An extender is killed while it binds, and started again beside a scheduler that keeps the Lease and asks for somebody else."""
        self.loop.run_until_complete(self._bind(ship, pod, node, mode))
        self.fleet.kill(ship)
        self.loop.run_until_complete(self._bind(ship, other, node, "ok"))

    @rule(reachable=st.booleans())
    def lease_reachable(self, reachable: bool) -> None:  # noqa: FBT001 -- named by hypothesis
        """The Lease can be read, or cannot."""
        self.fleet.lease.reachable = reachable

    @rule(pod=pods)
    def delete(self, pod: str) -> None:
        """A pod goes; one of the same name may come."""
        if f"vision/{pod}" in self.fleet.pods:
            del self.fleet.pods[f"vision/{pod}"]
            self.fleet.happened(pod)

    @invariant()
    def nothing_is_promised_twice_and_nobody_is_over_their_objective(self) -> None:
        """What really stands on the nodes fits there, and keeps every objective by the law that was asked."""
        toy = self.fleet.ships["a"].toy
        for name, state in self.fleet.states().items():
            assert len(state.lodgers) <= NODES[name], f"{len(state.lodgers)} pods on {name}"
            alone = any(held.tenancy is not None and held.tenancy.service.placement.sharing is Sharing.DENY for held in state.lodgers)
            assert len(state.lodgers) == 1 or not alone, f"a cat shares {name}"
            for held in state.lodgers:
                assert held.tenancy is not None
                anew = Newcomer(held.uid, held.requests, held.tenancy)
                question = inquiries.inquest(anew, signature_of(state.without(held.uid))).beside
                assert question is not None
                answer = toy.answer(question.question)
                assert answer.response is not None
                assert answer.response.upper_ms <= held.tenancy.service.slo.latency_ms, f"{held.uid} on {name}: {answer.response.upper_ms}"

    async def _bind(self, ship: str, pod: str, node: str, mode: str) -> None:
        quay = self.fleet.ships[ship]
        quay.calls.mode = mode
        try:
            await quay.bind(pod, node)
        except ExtenderError:
            pass
        finally:
            if mode == "late" and quay.calls.late:
                quay.calls.__dict__.setdefault("since", self.fleet.clock.now)
            if not quay.calls.late:
                quay.calls.__dict__.pop("since", None)
            quay.calls.mode = "ok"


FailOver.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
TestFailOver = FailOver.TestCase
