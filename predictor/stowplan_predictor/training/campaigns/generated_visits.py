"""What rows about generated graphs have in common: which graph, which visit, and what the machine did around it."""

from typing import Any

from stowplan_predictor.measuring.batches import Visit
from stowplan_predictor.training.campaigns.plans import Task


def visit_fields(visit: Visit, task: Task, threads: int, *, family: str, digest: str) -> dict[str, Any]:
    """The fields of a `GeneratedRow`."""
    return {
        "network": visit.name,
        "family": family,
        "digest": digest,
        "slice": task.slice,
        "repeat": visit.repeat,
        "threads": threads,
        "runs": visit.runs,
        "cv": visit.cv,
        "foreign_share": visit.foreign_share,
        "steal_share": visit.steal_share,
        "product_slowdown": visit.product_slowdown,
        "copy_slowdown": visit.copy_slowdown,
        "noisy": visit.noisy,
        "measured_at": visit.measured_at,
    }
