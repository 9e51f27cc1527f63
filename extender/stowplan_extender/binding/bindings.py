"""Bindings: the one thing here that changes the cluster.

A filter may be old when its pod is bound, and other pods may be on their way. So binding decides again, under a lock per node, against the view
and the reservations, and promises the place before anything else waits; looks whether the scheduler's Lease still names our pod, and only then writes.
Everything worth knowing goes into the Binding's annotations, which the API server merges into the pod in the transaction that sets its node.
"""

import asyncio
import hashlib
import logging
from functools import lru_cache
from typing import Final
from weakref import WeakValueDictionary

from stowplan_fleet import keys
from stowplan_fleet.manifests.pods import PodManifest
from stowplan_fleet.nodes import NodeName

from stowplan_extender.apiserver.podcalls import PodCalls
from stowplan_extender.binding.leaderships import Leadership
from stowplan_extender.cluster import lodgings
from stowplan_extender.cluster.lodgings import PodRecord
from stowplan_extender.cluster.views import ClusterView
from stowplan_extender.decision.inquiries import Inquiry
from stowplan_extender.decision.occupancies import Newcomer, PodUid
from stowplan_extender.decision.verdicts import Acceptance
from stowplan_extender.errors import ApiError, ApiRefused, ApiUnreachable, NotLeading, NotYet, PlaceLost, PodRefused
from stowplan_extender.judging.judgements import Judge
from stowplan_extender.metrics import Metrics
from stowplan_extender.recording.recorders import Recorder
from stowplan_extender.wire import ExtenderBindingArgs

_log = logging.getLogger(__name__)

# How often to decide again when the node changed while the predictor was asked; a node that changes faster is better left alone.
_ATTEMPTS: Final = 3
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_SERVER_ERROR: Final = 500


class Binder:
    """Binds pods to nodes."""

    def __init__(self, view: ClusterView, judge: Judge, calls: PodCalls, leadership: Leadership, *, metrics: Metrics, recorder: Recorder | None = None) -> None:
        self._view = view
        self._judge = judge
        self._calls = calls
        self._leadership = leadership
        self._recorder = recorder
        self._metrics = metrics
        self._locks: WeakValueDictionary[NodeName, asyncio.Lock] = WeakValueDictionary()

    async def bind(self, args: ExtenderBindingArgs) -> None:
        """Binds a pod, or finds that it is bound there already.

        Raises:
            NotYet: not now; the scheduler shall ask again.
            PodRefused: the pod is gone, bound elsewhere, or not as it must be written.
            ApiError: the API server refused, or did not answer and the pod is not seen bound.
        """
        await self._leadership.check()
        node = NodeName(args.node)
        record = self._view.pod(PodUid(args.pod_uid)) or await self._look(args)
        if record.node is not None:
            self._check_bound(record.node, node)
            return
        newcomer, acceptance = await self._promise(record, node, f"{args.pod_namespace}/{args.pod_name}")
        try:
            # With the place promised and nothing left to wait for but the request itself; not under the lock, or pods for one node would queue for it.
            await self._leadership.confirm()
        except NotLeading:
            self._view.reservations.release(newcomer.uid, node)
            raise
        await self._write(args, newcomer, acceptance)

    async def _promise(self, record: PodRecord, node: NodeName, name: str) -> tuple[Newcomer, Acceptance]:
        """Decides once more and promises the place, with nothing awaited between the two."""
        lock = self._locks.setdefault(node, asyncio.Lock())
        async with lock:
            for _ in range(_ATTEMPTS):
                self._view.settle()
                newcomer = lodgings.newcomer_of(record, self._view.service)
                signature = self._view.signature_for(newcomer, node)
                if signature is None:
                    raise PlaceLost(f"node {node} is not in the extender's view")
                verdict, grounds = await self._judge.judge(newcomer, node, signature)
                self._view.settle()
                service = newcomer.tenancy.service
                if self._view.signature_for(newcomer, node) != signature or self._view.service(service.name) != service:
                    continue
                if self._recorder is not None:
                    self._recorder.record(grounds, verb="bind", pod=name, returned=[node] if isinstance(verdict, Acceptance) else [])
                if not isinstance(verdict, Acceptance):
                    raise PlaceLost(f"node {node} can no longer take the pod: {verdict.text}")
                self._view.reservations.promise(node, newcomer.lodger, name)
                return newcomer, verdict
            raise PlaceLost(f"node {node} or the service changes faster than it can be judged")

    async def _write(self, args: ExtenderBindingArgs, newcomer: Newcomer, acceptance: Acceptance) -> None:
        node = NodeName(args.node)
        try:
            await self._calls.bind(args, annotations(newcomer, acceptance))
            self._view.reservations.written(newcomer.uid, node)
        except ApiRefused as error:
            if error.status == _CONFLICT or error.status >= _SERVER_ERROR:
                await self._resolve(args, newcomer, error)
                return
            # Any other refusal is final for this attempt: nothing was written.
            self._view.reservations.release(newcomer.uid, node)
            if error.status == _NOT_FOUND:
                raise PodRefused(f"pod {args.pod_namespace}/{args.pod_name} or node {node} is gone") from error
            raise
        except ApiUnreachable as error:
            await self._resolve(args, newcomer, error)

    async def _resolve(self, args: ExtenderBindingArgs, newcomer: Newcomer, error: ApiError) -> None:
        """The answer was lost, or somebody bound the pod before us: the pod itself knows."""
        try:
            record = await self._look(args)
        except ApiUnreachable as unreachable:
            # The promise stays until its time is over: the binding may have happened.
            self._metrics.doubtful_bindings.labels("unknown").inc()
            raise NotYet(f"whether the pod was bound is not known: {error}") from unreachable
        except PodRefused:
            self._metrics.doubtful_bindings.labels("gone").inc()
            raise
        found = "not bound" if record.node is None else "bound" if record.node == args.node else "elsewhere"
        self._metrics.doubtful_bindings.labels(found).inc()
        if record.node is None:
            # The promise stays here too: a request that was only delayed may still be carried out.
            raise NotYet(f"the pod was not bound: {error}") from error
        if record.node != args.node:
            # It stands where an earlier attempt of ours, given up on, or somebody else put it; the watch may not have shown that yet.
            self._view.reservations.release(newcomer.uid, NodeName(args.node))
            self._view.reservations.promise(record.node, newcomer.lodger, record.name)
        self._view.reservations.written(newcomer.uid, record.node)
        self._check_bound(record.node, NodeName(args.node))
        _log.info("the pod was bound although the answer said otherwise", extra={"pod": record.name, "node": args.node, "answer": str(error)})

    async def _look(self, args: ExtenderBindingArgs) -> PodRecord:
        """The pod as the API server has it now.

        Raises:
            PodRefused: it is gone; one of the same name may be in its place.
        """
        pod: PodManifest | None
        try:
            pod = await self._calls.get(args.pod_namespace, args.pod_name)
        except ApiRefused as error:
            if error.status != _NOT_FOUND:
                raise
            pod = None
        if pod is None or (args.pod_uid and pod.metadata.uid != args.pod_uid):
            self._view.reservations.release(PodUid(args.pod_uid))
            raise PodRefused(f"pod {args.pod_namespace}/{args.pod_name} with UID {args.pod_uid} is gone")
        return lodgings.record_of(pod)

    def _check_bound(self, where: NodeName, wanted: NodeName) -> None:
        if where != wanted:
            raise PodRefused(f"the pod is bound to node {where} already, not to {wanted}")


def annotations(newcomer: Newcomer, acceptance: Acceptance) -> dict[str, str]:
    """What the pod shall carry of the decision. Where nobody could judge there is no number, only the basis that says so."""
    written = {keys.BOUND_SLICE_ANNOTATION: str(newcomer.tenancy.slice_class), keys.BASIS_ANNOTATION: acceptance.basis.value}
    answer, inquiry = acceptance.answer, acceptance.inquiry
    if answer is not None and inquiry is not None:
        if answer.response is not None:
            # The bound that was held against the objective, as everywhere else that says "predicted milliseconds".
            written[keys.PREDICTED_MS_ANNOTATION] = f"{answer.response.upper_ms:.3f}"
        if answer.bundle:
            written[keys.BUNDLE_ANNOTATION] = answer.bundle
        written[keys.PREDICTION_ID_ANNOTATION] = _prediction_id(answer.bundle, inquiry)
    return written


# The text of a question with its tenants takes longer to make than the decision; replicas share it.
@lru_cache(1024)
def _prediction_id(bundle: str, inquiry: Inquiry) -> str:
    """The same question to the same bundle has the same id: pods that share it were judged alike."""
    return hashlib.sha256(f"{bundle}\n{inquiry!r}".encode()).hexdigest()[:16]
