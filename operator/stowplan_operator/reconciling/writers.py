"""Writers: what is written to the API server, and only where it is another than before."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stowplan_fleet import logs
from stowplan_fleet.services import ServiceName

from stowplan_operator.conditions import merges
from stowplan_operator.conditions.verdicts import Verdict
from stowplan_operator.errors import ApiFailed, ForeignEdits, NameTaken
from stowplan_operator.reconciling import events, statuses
from stowplan_operator.reconciling.apis import Api
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.moments import Moment
from stowplan_operator.reconciling.views import Views
from stowplan_operator.sizing.rungs import Rung
from stowplan_operator.workloads import deployments, rollouts
from stowplan_operator.workloads.deployments import DeploymentState

logger = logging.getLogger(__name__)
# The part of the status that others judge by, or that the next process has to know; written before the pods exist.
_FACTS: Final = ("model", "ladder", "sliceClass", "predictedMilliseconds", "replicas", "selector", "rung")
# Once is a slip of the hand, and a tool that synchronises comes every few minutes: three times within ten minutes is somebody who will not stop.
_EDITS_MAX: Final = 3
_EDITS_WINDOW_S: Final = 600.0
# Events of one service that wait for the API server: as many as a few looks tell.
_UNTOLD_MAX: Final = 16
_UNAUTHORIZED: Final = 401
_CONFLICT: Final = 409
_TOO_MANY_REQUESTS: Final = 429


@dataclass(frozen=True, slots=True)
class _Applied:
    """A Deployment as it was after we applied it."""

    fingerprint: str
    """Of what was applied."""
    uid: str
    generation: int
    restarted_at: str

    def only_restarted(self, state: DeploymentState) -> bool:
        """Whether `kubectl rollout restart` is all that happened to it since."""
        return state.generation == self.generation + 1 and state.restarted_at != self.restarted_at


class Writer:
    """Writes statuses, Deployments and events of services."""

    def __init__(self, views: Views, api: Api, metrics: Metrics) -> None:
        self._views, self._api, self._metrics = views, api, metrics
        # By the service's UID. A later generation means that somebody changed the Deployment.
        self._applied: dict[str, _Applied] = {}
        # By the service's UID: the status after our last write, and those before it that the watch may still show.
        self._written: dict[str, tuple[Mapping[str, Any], list[Mapping[str, Any]]]] = {}
        # By the service's UID: when its Deployment was put right after somebody else had changed it.
        self._edits: dict[str, list[float]] = {}
        # By the service's UID: events that could not be written yet.
        self._untold: dict[str, list[dict[str, Any]]] = {}

    async def check_name(self, body: Mapping[str, Any]) -> None:
        """Makes sure that a Deployment of the service's name is its own.

        Raises:
            NameTaken: it belongs to somebody else.
            ApiFailed: the API server did not say.
        """
        metadata = body["metadata"]
        state = self._views.deployment(ServiceName(f"{metadata['namespace']}/{metadata['name']}"))
        if state is None and metadata["uid"] not in self._applied:
            # The watch may lag behind, and server-side apply would take over whatever is there.
            stored = await self._api.get_deployment(metadata["namespace"], metadata["name"])
            state = None if stored is None else deployments.state_of(stored)
        if state is not None and state.owner_uid != metadata["uid"]:
            raise NameTaken(
                f"Deployment {metadata['namespace']}/{metadata['name']} exists and is not owned by this service; "
                "delete it, or give the service another name (a service that was just deleted goes with its Deployment in a moment)"
            )

    async def apply(self, body: Mapping[str, Any], rung: Rung, now: Moment) -> None:
        """Applies the Deployment of a service on a rung, unless it is there as we left it.

        Raises:
            ForeignEdits: it was put right several times lately, and somebody changed it again.
            ApiFailed: the API server refused it or did not answer.
        """
        metadata = body["metadata"]
        state = self._views.deployment(ServiceName(f"{metadata['namespace']}/{metadata['name']}"))
        template = deployments.template_for(body, rung, "" if state is None else state.restarted_at)
        replicas = rollouts.replicas_for(state, deployments.fingerprint(template), rung.replicas)
        manifest = deployments.manifest_for(body, template, replicas)
        print_ = deployments.fingerprint(manifest)
        applied = self._applied.get(metadata["uid"])
        if applied is not None and state is not None and state.uid == applied.uid:
            # Where the service's own template names a restart, it stands, and one in the Deployment is a change like any other.
            adopted = applied.only_restarted(state) and applied.fingerprint != print_
            if state.generation > applied.generation and not adopted:
                self._note_edit(metadata, state, now)
            elif applied.fingerprint == print_:
                return
        stored = deployments.state_of(await self._api.apply_deployment(manifest))
        if stored.shared:
            # Applying takes back what others changed of ours, and leaves what they added: a container, a variable, an annotation.
            stored = deployments.state_of(await self._api.replace_deployment_spec(manifest, stored.uid))
        self._metrics.writes.labels("deployment").inc()
        self._applied[metadata["uid"]] = _Applied(print_, stored.uid, stored.generation, stored.restarted_at)

    def _note_edit(self, metadata: Mapping[str, Any], state: DeploymentState, now: Moment) -> None:
        """Counts a change by somebody else, which is about to be put right.

        Raises:
            ForeignEdits: too many lately.
        """
        who = state.foreign_manager or "somebody"
        recent = self._edits[metadata["uid"]] = [at for at in self._edits.get(metadata["uid"], ()) if now.steady_s - at < _EDITS_WINDOW_S]
        if len(recent) >= _EDITS_MAX:
            raise ForeignEdits(
                f"Deployment {metadata['namespace']}/{metadata['name']}: {who} changed it {len(recent) + 1} times within {_EDITS_WINDOW_S / 60:g} minutes, so "
                "it is left as it is for now; make that tool leave this Deployment alone, and change the InferenceService instead"
            )
        recent.append(now.steady_s)
        self._metrics.reverts.inc()
        about = logs.about("Deployment", metadata["namespace"], metadata["name"], state.uid)
        logger.warning("a Deployment was changed by somebody else; it is put right", extra={**about, "manager": who})

    async def write_facts(self, body: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Writes the part of the status that the extender needs, where it changed."""
        before = self.status_of(body)
        await self._patch(body, before, {**before, **{key: after[key] for key in _FACTS if key in after}})

    async def write_status(self, body: Mapping[str, Any], after: Mapping[str, Any], verdicts: Sequence[Verdict], now: Moment) -> None:
        """Writes the whole status where it changed, then one event for each transition."""
        before = self.status_of(body)
        generation = int(body["metadata"].get("generation") or 0)
        merged = merges.merge(before.get("conditions") or [], verdicts, generation, now.date)
        await self._patch(body, before, {**after, "conditions": merged.conditions, "observedGeneration": generation})
        metadata = body["metadata"]
        about = logs.about("InferenceService", metadata["namespace"], metadata["name"], metadata["uid"])
        for verdict in merged.transitions:
            told = {"condition": str(verdict.type), "status": str(verdict.holds), "reason": str(verdict.reason)}
            logger.info("a condition changed", extra={**about, **told})
        untold = self._untold.pop(metadata["uid"], []) + [events.event_for(body, verdict, now.date) for verdict in merged.transitions]
        await self._tell(metadata, untold[-_UNTOLD_MAX:])

    async def _tell(self, metadata: Mapping[str, Any], untold: list[dict[str, Any]]) -> None:
        """Writes events; those that could not be written are written at the next look.

        Raises:
            ApiFailed: the API server did not take one for now.
        """
        for number, event in enumerate(untold):
            try:
                await self._api.create_event(metadata["namespace"], event)
            except ApiFailed as error:
                if error.status == _CONFLICT:
                    continue  # taken before, and the answer was lost
                if 400 <= error.status < 500 and error.status not in {_UNAUTHORIZED, _TOO_MANY_REQUESTS}:
                    about = logs.about("InferenceService", metadata["namespace"], metadata["name"], metadata["uid"])
                    logger.warning("the API server takes no events of a service", extra={**about, "error": str(error)})
                    return
                self._untold[metadata["uid"]] = untold[number:]
                raise
            self._metrics.writes.labels("event").inc()

    def forget(self, uid: str) -> None:
        """Drops what is remembered of a service that is gone."""
        self._applied.pop(uid, None)
        self._written.pop(uid, None)
        self._edits.pop(uid, None)
        self._untold.pop(uid, None)

    def status_of(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The status as stored: as the watch showed it, or as we wrote it since."""
        seen: Mapping[str, Any] = body.get("status") or {}
        latest, superseded = self._written.get(body["metadata"]["uid"], (seen, []))
        if seen in superseded:
            return latest
        self._written.pop(body["metadata"]["uid"], None)
        return seen

    async def _patch(self, body: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        metadata = body["metadata"]
        patch = statuses.merge_patch(before, after)
        if not patch:
            return
        await self._api.patch_status(metadata["namespace"], metadata["name"], patch)
        self._metrics.writes.labels("status").inc()
        _, superseded = self._written.get(metadata["uid"], (before, []))
        self._written[metadata["uid"]] = (after, [*superseded, before])
