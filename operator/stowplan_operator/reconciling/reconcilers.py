"""Reconcilers: one look at one service.

The order of the writes matters to others and not to us: first the facts that the extender needs to judge the pods (model, replicas), then the Deployment,
then conditions and events. After a crash between any two of them the next look does what is missing.
"""

import copy
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from stowplan_fleet import logs
from stowplan_fleet.errors import MessageRefused, PredictorUnavailable, ValueRefused
from stowplan_fleet.manifests.decoding import from_plain
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.manifests.services import service_of
from stowplan_fleet.predictors import Predictors
from stowplan_fleet.reasons import ConditionReason, ConditionType
from stowplan_fleet.services import Service, ServiceName

from stowplan_operator.conditions import verdicts
from stowplan_operator.conditions.verdicts import Holds, Verdict
from stowplan_operator.errors import ApiFailed, ForeignEdits, ModelRejected, NameTaken
from stowplan_operator.reconciling import refusals, statuses
from stowplan_operator.reconciling.analyses import Analyses
from stowplan_operator.reconciling.apis import Api
from stowplan_operator.reconciling.inquiries import Inquiry, Sources, inquire
from stowplan_operator.reconciling.judges import PodJudge
from stowplan_operator.reconciling.looks import Look
from stowplan_operator.reconciling.metrics import Metrics
from stowplan_operator.reconciling.moments import Moment
from stowplan_operator.reconciling.surveys import Surveys
from stowplan_operator.reconciling.tenures import Tenures
from stowplan_operator.reconciling.views import Views
from stowplan_operator.reconciling.writers import Writer
from stowplan_operator.settings import OperatorSettings
from stowplan_operator.sizing import climbs
from stowplan_operator.sizing.climbs import Choice, Move
from stowplan_operator.sizing.prices import parse_prices
from stowplan_operator.workloads import checks

logger = logging.getLogger(__name__)
FOREVER: Final = float("inf")
_INTERNAL_ERROR: Final = "the operator failed on this service in a way that it did not expect; it tries again, and its log tells what happened"


class Reconciler:
    """Brings services to where they shall be, one look at a time."""

    def __init__(self, views: Views, api: Api, predictor: Predictors, *, settings: OperatorSettings, now: Callable[[], Moment], metrics: Metrics) -> None:
        self._views, self._settings, self._now, self._metrics = views, settings, now, metrics
        self._analyses = Analyses(views, api, predictor, settings.models)
        self._tenures = Tenures(settings.patience)
        self._sources = Sources(views, Surveys(views), predictor, self._analyses, parse_prices(settings.sizing.prices))
        self._pods = PodJudge(views, self._tenures)
        self._writer = Writer(views, api, metrics)
        self._uids: dict[ServiceName, str] = {}
        for outcome in ("retried", "done"):
            # Told as zero from the start: an alert compares the two, and nothing compares with what is not there.
            metrics.reconciliations.labels(outcome)

    async def reconcile(self, name: ServiceName) -> float | None:
        """Looks at a service.

        Returns:
            After how many seconds to look again; None: as soon as the back-off allows; infinity: only when something happens.
        """
        body = self._views.service(name)
        uid = str(body["metadata"]["uid"]) if body is not None else ""
        if self._uids.get(name, uid) != uid:
            self._forget(name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return FOREVER
        self._uids[name] = uid
        delay_s: float | None = None
        try:
            with self._metrics.reconcile_seconds.time():
                delay_s = await self._look_or_say(body)
        except ApiFailed as error:
            metadata = body["metadata"]
            about = logs.about("InferenceService", str(metadata["namespace"]), str(metadata["name"]), uid)
            logger.warning("the API server did not do its part; the service is looked at again", extra={**about, "error": str(error)})
        self._metrics.reconciliations.labels("retried" if delay_s is None else "done").inc()
        return delay_s

    async def _look_or_say(self, body: Mapping[str, Any]) -> float | None:
        try:
            return await self._look(body)
        except ApiFailed:
            raise
        except Exception:
            metadata = body["metadata"]
            about = logs.about("InferenceService", str(metadata["namespace"]), str(metadata["name"]), str(metadata["uid"]))
            logger.exception("unexpected error while looking at a service; it is tried again", extra=about)
            # No details: a text that varies would be written again and again.
            verdict = Verdict(ConditionType.READY, Holds.UNKNOWN, ConditionReason.INTERNAL_ERROR, _INTERNAL_ERROR)
            await self._writer.write_status(body, copy.deepcopy(dict(self._writer.status_of(body))), [verdict], self._now())
            return None

    async def _look(self, body: Mapping[str, Any]) -> float | None:
        now, after = self._now(), copy.deepcopy(dict(self._writer.status_of(body)))
        try:
            manifest = from_plain(body, InferenceServiceManifest, f"InferenceService {body['metadata']['name']}")
            service = service_of(manifest)
            checks.check(manifest.spec.template)
        except ValueRefused as error:
            refused = Verdict(ConditionType.READY, Holds.FALSE, ConditionReason.SPEC_REFUSED, str(error))
            await self._writer.write_status(body, after, [refused], now)
            return FOREVER
        look = Look(body, manifest, now, after)
        for verdict in verdicts.not_observed():
            look.say(verdict)
        inquiry = await self._inquire(look, service)
        replicas, choice = await self._stand(look, inquiry) if inquiry is not None else (look.manifest.status.replicas, None)
        waiting_s = self._pods.judge(look, replicas, stuck=choice is not None and choice.move is Move.STUCK)
        await self._writer.write_status(look.body, look.after, list(look.verdicts.values()), look.now)
        if look.retry:
            return None
        resync_s = self._settings.reconciling.resync_s
        if waiting_s is None or waiting_s >= self._settings.patience.climb_after_s:
            return resync_s
        return min(resync_s, self._settings.patience.climb_after_s - waiting_s)

    async def _inquire(self, look: Look, service: Service) -> Inquiry | None:
        """Analysis and ladder; None where there is none now, with the conditions that say why."""
        name = str(service.name)
        analyzed = False
        try:
            summary = await self._analyses.summary_of(look.manifest)
            analyzed = True
            inquiry = await inquire(look.manifest, service, summary, self._sources)
        except ModelRejected as error:
            look.say(Verdict(ConditionType.MODEL_ANALYZED, Holds.FALSE, error.reason, str(error)))
            look.say(Verdict(ConditionType.PLACEABLE, Holds.UNKNOWN, ConditionReason.NOT_ANALYZED, "the model was not analysed"))
            return None
        except (PredictorUnavailable, MessageRefused) as error:
            self._metrics.predictor_failures.inc()
            logger.warning("the predictor did not answer; asked again later", extra={**look.about, "error": str(error)})
            message = f"the predictor does not answer ({error}); it is asked again"
            if not analyzed:
                look.say(Verdict(ConditionType.MODEL_ANALYZED, Holds.UNKNOWN, ConditionReason.PREDICTOR_UNAVAILABLE, message))
            look.say(Verdict(ConditionType.PLACEABLE, Holds.UNKNOWN, ConditionReason.PREDICTOR_UNAVAILABLE, message))
            look.retry = True
            return None
        found = inquiry.summary
        message = f"{found.operators} operators, {found.kernels} kernels, {found.flops} floating-point operations"
        look.say(Verdict(ConditionType.MODEL_ANALYZED, Holds.TRUE, ConditionReason.ANALYZED, message))
        look.after["model"] = statuses.model(found)
        logger.debug("ladder made", extra={**look.about, "service": name, "rungs": len(inquiry.ladder)})
        return inquiry

    async def _stand(self, look: Look, inquiry: Inquiry) -> tuple[int, Choice]:
        """Chooses a rung and applies the Deployment; a service that runs already keeps running where no rung is allowed."""
        uid, present = look.manifest.metadata.uid, look.present
        waiting_s = self._pods.placement_of(look, present).unschedulable_s
        tenure = self._tenures.tenure_of(uid, waiting_s, look.now)
        choice = climbs.choose(inquiry.ladder, tenure, self._settings.patience)
        self._tenures.note(uid, tenure, choice, look.now)
        blocked = self._tenures.blocked(uid, look.now)
        look.after["ladder"] = statuses.ladder(inquiry.ladder, climbs.skips(inquiry.ladder, choice.rung, blocked))
        look.say(verdicts.placeable(inquiry.ladder, choice.rung, inquiry.offer))
        if choice.move not in {Move.KEPT, Move.NONE, Move.STUCK}:
            self._metrics.moves.labels(str(choice.move)).inc()
        rung = choice.rung
        if rung is None:
            look.after.pop("predictedMilliseconds", None)
            return int(look.after.get("replicas") or 0), choice
        look.after["sliceClass"] = str(rung.candidate.slice_class)
        self._pods.remember(look)
        look.after["replicas"] = rung.replicas
        look.after["selector"] = statuses.selector(look.manifest.metadata.name)
        if rung.predicted_ms is None:
            look.after.pop("predictedMilliseconds", None)
        else:
            look.after["predictedMilliseconds"] = statuses.rounded(rung.predicted_ms)
        try:
            await self._writer.check_name(look.body)
            await self._writer.write_facts(look.body, look.after)
            await self._writer.apply(look.body, rung, look.now)
        except NameTaken as error:
            look.say(Verdict(ConditionType.READY, Holds.FALSE, ConditionReason.NAME_TAKEN, str(error)))
        except ForeignEdits as error:
            look.say(Verdict(ConditionType.READY, Holds.FALSE, ConditionReason.FOREIGN_EDITS, str(error)))
        except ApiFailed as error:
            reason = refusals.reason_of(error, made=self._views.deployment(look.name) is not None)
            if reason is None:
                raise
            look.say(Verdict(ConditionType.READY, Holds.FALSE, reason, f"the API server does not take the Deployment made from spec.template: {error.said}"))
            look.retry = True
        return rung.replicas, choice

    async def close(self) -> None:
        """Closes what was opened to fetch models."""
        await self._analyses.close()

    def _forget(self, name: ServiceName) -> None:
        uid = self._uids.pop(name)
        self._analyses.forget(uid)
        self._tenures.forget(uid)
        self._writer.forget(uid)
