"""Offers: what the cluster has for a service, and in which words it is told that this is nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.slices import SliceClass

# Problems and slice classes named in one message.
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Offer:
    """What the cluster has for a service."""

    runtime: str
    nodes: int
    """That may take its pods."""
    wanted: Sequence[SliceClass] = ()
    """Pinned by its author."""
    found: Sequence[SliceClass] = ()
    """That those nodes have for the runtime."""
    problems: Sequence[str] = ()
    """What could not be read of nodes and descriptors."""


def why_no_rung(offer: Offer) -> str:
    """Why a service has no rung at all, and what to do about it."""
    return "".join((_why(offer), *(f"; {problem}" for problem in offer.problems[:_SHOWN])))


def _why(offer: Offer) -> str:
    if not offer.nodes:
        return "no node may take its pods: each is cordoned, not ready, tainted, or not selected by spec.template.spec.nodeSelector"
    who = f"the {offer.nodes} nodes that may take its pods offer" if offer.nodes > 1 else "the one node that may take its pods offers"
    if offer.wanted and offer.found:
        return f"spec.placement.sliceClasses names {_listed(offer.wanted)}, which none of them offers; {who} {_listed(offer.found)}"
    if offer.runtime.endswith("-cpu"):
        return f"{who} no CPU slice: nothing is known of their CPUs; run stowplan device there and label them stowplan.dev/device=NAME"
    cure = "nodes tell their GPUs by the labels of NVIDIA's GPU feature discovery"
    return f"{who} no GPU slice, which runtime {offer.runtime} takes; {cure}, and onnxruntime-cpu is a runtime of CPUs"


def _listed(classes: Sequence[SliceClass]) -> str:
    more = len(classes) - _SHOWN
    return ", ".join(map(str, classes[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
