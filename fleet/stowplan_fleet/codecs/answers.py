"""Answers as messages: what an analysis found, and what was predicted. Numbers are believed only where they are durations."""

import math
from typing import Final

from stowplan.predictor.v1 import predictor_pb2 as pb

from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason, unknown
from stowplan_fleet.errors import MessageRefused
from stowplan_fleet.predictors import GraphSummary
from stowplan_fleet.services import GraphDigest

_BASES: Final = {
    Basis.MEASURED: pb.BASIS_MEASURED,
    Basis.EXTRAPOLATED: pb.BASIS_EXTRAPOLATED,
    Basis.UNVALIDATED: pb.BASIS_UNVALIDATED,
    Basis.UNKNOWN: pb.BASIS_UNKNOWN,
}
_BASES_BACK: Final = {number: basis for basis, number in _BASES.items()}
_REASONS: Final = {reason: pb.UnknownReason.Value(f"UNKNOWN_REASON_{reason.name}") for reason in UnknownReason}
_REASONS_BACK: Final = {number: reason for reason, number in _REASONS.items()}


def answer_to_message(value: Answer) -> pb.Answer:
    """The message of an answer; the bundle's name stands beside it, once for all answers."""
    return pb.Answer(
        basis=_BASES[value.basis],
        unknown_reason=_REASONS[value.unknown_reason] if value.unknown_reason else pb.UNKNOWN_REASON_UNSPECIFIED,
        message=value.message,
        isolated=_interval_to_message(value.isolated),
        colocated=_interval_to_message(value.colocated),
        response=_interval_to_message(value.response),
        utilization=value.utilization,
    )


def answer_from_message(message: pb.Answer, bundle: str = "") -> Answer:
    """The answer of a message. One whose numbers are none becomes an unknown answer that says so.

    Raises:
        MessageRefused: a basis or a reason this version does not know, or one without the other.
    """
    basis = _BASES_BACK.get(message.basis)
    if basis is None:
        raise MessageRefused(f"answer.basis: {message.basis} is no basis this version knows")
    if basis is Basis.UNKNOWN:
        reason = _REASONS_BACK.get(message.unknown_reason)
        if reason is None:
            raise MessageRefused(f"answer.unknown_reason: {message.unknown_reason} is no reason this version knows")
        return unknown(reason, message.message, bundle)
    if not _is_sound(message):
        return unknown(UnknownReason.PREDICTION_NOT_FINITE, "the predictor sent numbers that are no durations", bundle)
    return Answer(
        basis=basis,
        message=message.message,
        isolated=_interval_from_message(message.isolated) if message.HasField("isolated") else None,
        colocated=_interval_from_message(message.colocated) if message.HasField("colocated") else None,
        response=_interval_from_message(message.response) if message.HasField("response") else None,
        utilization=message.utilization if message.HasField("utilization") else None,
        bundle=bundle,
    )


def answers_from_message(message: pb.PredictResponse) -> list[Answer]:
    """The answers, in the order of the questions.

    Raises:
        MessageRefused: as `answer_from_message`.
    """
    return [answer_from_message(answer, message.bundle) for answer in message.answers]


def summary_to_message(value: GraphSummary) -> pb.AnalyzeGraphResponse:
    """The message of an analysis."""
    return pb.AnalyzeGraphResponse(
        graph_digest=value.graph_digest,
        model_digest=value.model_digest,
        operators=value.operators,
        kernels=value.kernels,
        flops=value.flops,
        parameters=value.parameters,
        parameter_bytes=value.parameter_bytes,
    )


def summary_from_message(message: pb.AnalyzeGraphResponse) -> GraphSummary:
    """The analysis of a message."""
    return GraphSummary(
        graph_digest=GraphDigest(message.graph_digest),
        model_digest=message.model_digest,
        operators=message.operators,
        kernels=message.kernels,
        flops=message.flops,
        parameters=message.parameters,
        parameter_bytes=message.parameter_bytes,
    )


def _interval_to_message(value: LatencyInterval | None) -> pb.LatencyInterval | None:
    if value is None:
        return None
    return pb.LatencyInterval(median_ms=value.median_ms, lower_ms=value.lower_ms, upper_ms=value.upper_ms, coverage=value.coverage)


def _interval_from_message(message: pb.LatencyInterval) -> LatencyInterval:
    return LatencyInterval(message.median_ms, message.lower_ms, message.upper_ms, message.coverage)


def _is_sound(message: pb.Answer) -> bool:
    intervals = [getattr(message, name) for name in ("isolated", "colocated", "response") if message.HasField(name)]
    ordered = all(math.isfinite(item.upper_ms) and 0 <= item.lower_ms <= item.median_ms <= item.upper_ms for item in intervals)
    covered = all(0 < item.coverage <= 1 for item in intervals)
    busy = not message.HasField("utilization") or (math.isfinite(message.utilization) and message.utilization >= 0)
    return ordered and covered and busy
