"""Standings: how each server that runs in a cluster is predicted to fare, beside those on its node."""

from collections.abc import Sequence
from dataclasses import dataclass

from stowplan_extender.decision import inquiries
from stowplan_extender.decision.inquiries import Inquest
from stowplan_extender.decision.occupancies import Newcomer, NodeState, PodUid
from stowplan_extender.decision.signatures import signature_of
from stowplan_fleet.answers import Answer
from stowplan_fleet.nodes import NodeName
from stowplan_fleet.services import Service
from stowplan_fleet.slices import SliceClass

from stowplan_cli.simulating.simulations import Cluster


@dataclass(frozen=True, slots=True)
class Standing:
    """A server on its node."""

    node: NodeName
    pod: PodUid
    service: Service
    slice_class: SliceClass
    beside: Answer | None
    """Beside its neighbours; None where nobody can be asked: its model is not here."""
    alone: Answer | None

    @property
    def too_weak(self) -> bool:
        """Whether the prediction rests on a basis too weak for its service, so that it counts as none."""
        return self.beside is not None and self.service.placement.too_weak(self.beside.basis)

    @property
    def headroom_ms(self) -> float | None:
        """What is left to the objective at the upper end of the prediction, below zero where it is broken; None where it is unknown or on too weak a basis."""
        if self.beside is None or self.beside.response is None or self.too_weak:
            return None
        return self.service.slo.latency_ms - self.beside.response.upper_ms


async def standings(cluster: Cluster, nodes: Sequence[NodeState]) -> list[Standing]:
    """Every server of ours on those nodes, in the nodes' order."""
    found: list[tuple[NodeState, Newcomer, Inquest]] = []
    for state in nodes:
        for lodger in state.lodgers:
            if lodger.tenancy is not None:
                tenant = Newcomer(lodger.uid, lodger.requests, lodger.tenancy)
                found.append((state, tenant, inquiries.inquest(tenant, signature_of(state.without(lodger.uid)))))
    asked = dict.fromkeys(inquiry for _, _, inquest in found for inquiry in (inquest.beside, inquest.alone) if inquiry is not None)
    answers = await cluster.answers(list(asked)) if asked else {}
    return [
        Standing(
            state.inventory.name, tenant.uid, tenant.tenancy.service, tenant.tenancy.slice_class,
            answers.get(inquest.beside) if inquest.beside else None, answers.get(inquest.alone) if inquest.alone else None,
        )
        for state, tenant, inquest in found
    ]  # fmt: skip
