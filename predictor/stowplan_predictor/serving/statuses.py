"""Statuses: what a caller is told of an error, by what the caller can do."""

import grpc
from stowplan_fleet.errors import GraphRefused, MessageRefused

from stowplan_predictor.errors import BundleNotFound, GraphTooLarge, PredictorError
from stowplan_predictor.serving.admissions import NotAdmitted
from stowplan_predictor.serving.pools import DeadlinePassed, PoolFull


class StillLoading(PredictorError):
    """The bundles are not there yet."""


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Status and details."""
    # Order matters: a graph that is too large is a refused graph too.
    statuses: tuple[tuple[type[Exception], grpc.StatusCode], ...] = (
        (GraphTooLarge, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (GraphRefused, grpc.StatusCode.INVALID_ARGUMENT),
        (MessageRefused, grpc.StatusCode.INVALID_ARGUMENT),
        (NotAdmitted, grpc.StatusCode.PERMISSION_DENIED),
        (PoolFull, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (DeadlinePassed, grpc.StatusCode.DEADLINE_EXCEEDED),
        (StillLoading, grpc.StatusCode.UNAVAILABLE),
        (BundleNotFound, grpc.StatusCode.NOT_FOUND),
    )
    for kind, code in statuses:
        if isinstance(error, kind):
            return code, str(error)[:2048]
    return grpc.StatusCode.INTERNAL, f"the predictor failed ({type(error).__name__}); its log says more"
