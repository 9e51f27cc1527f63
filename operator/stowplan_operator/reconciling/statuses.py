"""Statuses: what is written of a service, and the smallest patch that gets there."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from stowplan_fleet import keys
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.slices import SliceClass

from stowplan_operator.sizing.climbs import Skip
from stowplan_operator.sizing.rungs import Rung

# The custom resource definition's bounds.
LADDER_MAX: Final = 64
REASON_MAX: Final = 512


def model(summary: GraphSummary) -> dict[str, Any]:
    """`status.model`."""
    return {
        "digest": summary.model_digest,
        "graphDigest": summary.graph_digest,
        "operators": summary.operators,
        "kernels": summary.kernels,
        "flops": summary.flops,
        "parameters": summary.parameters,
    }


def ladder(rungs: Sequence[Rung], skips: Mapping[SliceClass, Skip]) -> list[dict[str, Any]]:
    """`status.ladder`: the first rungs in order of preference, the chosen one among them in any case, with why each other one was skipped."""
    shown = list(rungs[:LADDER_MAX])
    chosen = next((rung for rung in rungs[LADDER_MAX:] if rung.candidate.slice_class not in skips), None)
    if chosen is not None:
        shown[-1] = chosen
    return [
        {
            "sliceClass": str(rung.candidate.slice_class),
            "replicas": rung.replicas,
            **({} if rung.predicted_ms is None else {"predictedMilliseconds": rounded(rung.predicted_ms)}),
            "basis": str(rung.basis),
            "meetsSLO": rung.meets_slo,
            "reason": rung.reason[:REASON_MAX],
            "cost": rounded(float(rung.cost)),
            "costBasis": "price" if rung.candidate.cost.priced else "share",
            **({"skipped": str(skips[name])} if (name := rung.candidate.slice_class) in skips else {}),
        }
        for rung in shown
    ]


def needs(written: object, present: SliceClass, replicas: int) -> dict[str, int]:
    """How many servers of each slice class meet the objective, as a written ladder says; what somebody else wrote there is as if it were not there.

    Args:
        written: `status.ladder`.
        present: the rung that the service stands on.
        replicas: of that one.
    """
    found = {}
    for rung in written if isinstance(written, Sequence) else ():
        if isinstance(rung, Mapping) and rung.get("meetsSLO") is True and isinstance(count := rung.get("replicas"), int) and count > 0:
            found[str(rung.get("sliceClass"))] = count
    return found | {str(present): replicas}


def selector(name: str) -> str:
    """`status.selector` of a service, for the scale subresource."""
    return f"{keys.SERVICE_LABEL}={name}"


def rounded(milliseconds: float) -> float:
    """Three significant digits: no prediction is better than that, and a status shall not change for less."""
    return float(f"{milliseconds:.3g}")


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) from one object to another; empty where they are equal."""
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            inner = merge_patch(old, value)
            if inner:
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch
