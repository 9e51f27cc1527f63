"""The scheduler's verbs: filter, prioritize, bind. The first two are pure; only bind changes anything."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping

from stowplan_fleet.manifests import pods
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.nodes import NodeName

from stowplan_extender.binding.backlogs import Backlog
from stowplan_extender.binding.bindings import Binder
from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.decision.occupancies import Newcomer, PodUid
from stowplan_extender.decision.reasons import Refusal
from stowplan_extender.errors import NotYet, PodRefused
from stowplan_extender.judging.judgements import Judge, Ruling
from stowplan_extender.metrics import Metrics
from stowplan_extender.recording.recorders import Recorder
from stowplan_extender.wire import ExtenderArgs, ExtenderBindingArgs, ExtenderFilterResult, HostPriority

_log = logging.getLogger(__name__)


class Verbs:
    """What the scheduler can ask."""

    def __init__(
        self,
        view: ClusterView,
        judge: Judge,
        binder: Binder,
        check_view: Callable[[], None],
        *,
        best_k: int,
        metrics: Metrics,
        filtered: Callable[[PodUid, bool], None] = lambda uid, refused: None,  # noqa: ARG005 - nobody listens
        recorder: Recorder | None = None,
        backlog: Backlog | None = None,
    ) -> None:
        """`check_view` raises ViewNotReady; `best_k`: how many nodes a filter returns at most, 0 for all; `filtered` hears who was refused everywhere."""
        self._recorder = recorder
        self._backlog = backlog or Backlog(0, 0.0, metrics)
        self._filtered = filtered
        self._view = view
        self._judge = judge
        self._binder = binder
        self._check_view = check_view
        self._best_k = best_k
        self._metrics = metrics

    async def filter(self, args: ExtenderArgs) -> ExtenderFilterResult:
        """Which nodes may run the pod, and why the others may not.

        Raises:
            NotYet: no node may, and on at least one that is only because something is missing now, and not of a resident there.
            RequestRefused: the scheduler sent whole nodes.
            ManifestRefused: the pod's requests cannot be read.
        """
        await self._backlog.room()
        self._check_view()
        try:
            newcomer = self._newcomer(args.pod)
        except PodRefused as error:
            self._metrics.nodes_judged.labels("PodRefused").inc(len(args.names))
            return ExtenderFilterResult(node_names=[], failed_and_unresolvable_nodes=dict.fromkeys(args.names, str(error)))
        ruling = await self._judge.rule(newcomer, args.names)
        self._count(ruling)
        self._filtered(newcomer.uid, not ruling.fits)
        # Who states no preference has nothing to choose by. Of a single node there is nothing to score: the scheduler asks for no priorities then.
        # A claim that cannot be provided on the best node would be tried there for ever.
        chooses = pods.states_preferences(args.pod) or pods.waits_for_claims(args.pod)
        best_k = self._best_k if chooses else min(self._best_k, 1)
        returned: list[str] = [*ruling.best(best_k)]
        if self._recorder is not None and ruling.grounds is not None:
            self._recorder.record(ruling.grounds, verb="filter", pod=args.pod.metadata.full_name, best_k=best_k, returned=returned)
        if not ruling.fits and ruling.cause:
            raise NotYet(ruling.cause)
        refused = ruling.refused
        return ExtenderFilterResult(
            node_names=returned,
            failed_nodes=_texts(refused, resolvable=True) | {str(name): postponement.text for name, postponement in ruling.postponed.items()},
            failed_and_unresolvable_nodes=_texts(refused, resolvable=False),
        )

    async def prioritize(self, args: ExtenderArgs) -> list[HostPriority]:
        """How well each node would be packed. A node that would no longer be accepted gets the lowest score; bind refuses it then.

        Raises:
            As `filter`, and PodRefused.
        """
        self._check_view()
        ruling = await self._judge.rule(self._newcomer(args.pod), args.names)
        scores = {name: acceptance.score for name, acceptance in ruling.accepted}
        return [HostPriority(host=name, score=scores.get(NodeName(name), 0)) for name in args.names]

    async def bind(self, args: ExtenderBindingArgs) -> None:
        """Binds the pod. Raises as `Binder.bind` does."""
        self._check_view()
        with self._backlog:
            await self._binder.bind(args)
        # Not for every day: the pod carries all of it, and a line takes a twentieth of a pod's processor time.
        _log.debug("bound", extra={"pod": f"{args.pod_namespace}/{args.pod_name}", "node": args.node})

    def _newcomer(self, pod: PodManifest) -> Newcomer:
        return lodgings.newcomer_of(lodgings.record_of(pod), self._view.service)

    def _count(self, ruling: Ruling) -> None:
        kinds = Counter[str]()
        for number, refusal in ruling.refusals.items():
            kinds[refusal.reason.value] += ruling.counts[number]
        kinds["Accepted"] = sum(map(ruling.counts.__getitem__, ruling.acceptances))
        kinds["Postponed"] = sum(map(ruling.counts.__getitem__, ruling.postponements))
        for kind, count in kinds.items():
            if count:
                self._metrics.nodes_judged.labels(kind).inc(count)


def _texts(refused: Mapping[NodeName, Refusal], *, resolvable: bool) -> dict[str, str]:
    return {name: refusal.text for name, refusal in refused.items() if refusal.resolvable is resolvable}
