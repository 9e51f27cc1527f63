"""Inquiries: the ladder of a service, from the nodes that are there and the predictor's answers."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stowplan_fleet.answers import Answer, UnknownReason
from stowplan_fleet.devices import Device, merged_gpus
from stowplan_fleet.errors import PredictorUnavailable
from stowplan_fleet.manifests.inferenceservices import InferenceServiceManifest
from stowplan_fleet.nodes import NodeInventory
from stowplan_fleet.predictors import GraphSummary, Predictors
from stowplan_fleet.services import PlacementPolicy, Service
from stowplan_fleet.slices import DeviceName

from stowplan_operator.conditions.offers import Offer
from stowplan_operator.reconciling.analyses import Analyses
from stowplan_operator.reconciling.surveys import Surveys
from stowplan_operator.reconciling.views import Views
from stowplan_operator.sizing import ladders
from stowplan_operator.sizing.candidates import candidates
from stowplan_operator.sizing.prices import Prices
from stowplan_operator.sizing.rungs import Rung


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What was found out about a service."""

    summary: GraphSummary
    ladder: tuple[Rung, ...]
    offer: Offer
    """What the ladder was made of."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom to ask."""

    views: Views
    surveys: Surveys
    predictor: Predictors
    analyses: Analyses
    prices: Prices
    """The administrator's; they win over what nodes tell."""


async def inquire(manifest: InferenceServiceManifest, service: Service, summary: GraphSummary, sources: Sources) -> Inquiry:
    """The ladder of an analysed service; a model that a predictor has forgotten is pushed again, once.

    Raises:
        PredictorUnavailable: nobody answered, or the graph is forgotten as soon as it is pushed.
        ModelRejected, ApiFailed: as `Analyses.summary_of`, while pushing again.
    """
    predictor, survey = sources.predictor, sources.surveys.of(manifest.spec.template)
    described, problems = sources.views.devices()
    found = candidates(survey.inventories, service.placement, service.runtime, sources.prices.over(survey.prices))
    service = dataclasses.replace(service, graph_digest=summary.graph_digest)
    questions = ladders.questions_for(service, found)
    devices = _devices(survey.inventories, described)
    answers = await predictor.predict(questions, devices, service.runtime) if questions else ()
    if _forgotten(answers) or (questions and await predictor.anywhere_forgotten(questions[0], devices, service.runtime)):
        summary = await sources.analyses.summary_of(manifest, again=True)
        service = dataclasses.replace(service, graph_digest=summary.graph_digest)
        questions = ladders.questions_for(service, found)
        answers = await predictor.predict(questions, devices, service.runtime)
        if _forgotten(answers):
            raise PredictorUnavailable(f"the predictor has forgotten the graph of {service.name} right after it was pushed; is its cache large enough?")
    # What else there is matters to a ladder without rungs only.
    there = () if found else tuple(item.slice_class for item in candidates(survey.inventories, PlacementPolicy(), service.runtime))
    offer = Offer(service.runtime, len(survey.inventories), service.placement.slice_classes, there, (*survey.problems, *problems))
    return Inquiry(summary, ladders.ladder(service, found, answers), offer)


def _forgotten(answers: Sequence[Answer]) -> bool:
    return any(answer.unknown_reason is UnknownReason.GRAPH_NOT_FOUND for answer in answers)


def _devices(inventories: Sequence[NodeInventory], described: Mapping[DeviceName, Device]) -> dict[DeviceName, Device]:
    named = {item.cpu_device for item in inventories}
    devices: dict[DeviceName, Device] = {name: device for name, device in described.items() if name in named}
    return devices | merged_gpus(gpu for item in inventories for gpu in item.gpus)
