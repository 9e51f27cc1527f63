"""One question to one answer, from runs that are already known: co-location, then the queue, then the basis."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from stowplan_fleet.answers import Answer, Basis, LatencyInterval, UnknownReason
from stowplan_fleet.questions import Occupant, Question, UnknownOccupant

from stowplan_predictor.bundles.loading import Bundle
from stowplan_predictor.colocation.degradations import Neighbourhood, check_room, extrapolations, log_slowdown
from stowplan_predictor.colocation.demands import Pressure, pressure
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.pipelines.cpu_runs import Run
from stowplan_predictor.response.response_times import check_server, request_ms, response

RunOf = Callable[[Occupant], Run]
"""The run of an occupant; raises CannotJudge where there is none."""


@dataclass(frozen=True, slots=True)
class _Beside:
    interval: LatencyInterval
    reasons: tuple[str, ...]


def _tenant_pressure(tenant: Occupant, run: Run, bundle: Bundle) -> Pressure:
    """Its demand, for the share of the time that its load keeps it busy; the quota caps that share."""
    try:
        check_server(tenant)
    except CannotJudge as error:
        raise CannotJudge(UnknownReason.TENANTS_NOT_SUPPORTED, f"tenant {tenant.graph_digest}: {error.message}") from error
    busy_ms = request_ms(run.isolated.busy_ms, tenant, bundle.response)
    share = min(run.slice_.share, tenant.requests_per_second * busy_ms / 1000.0)
    return pressure(run.demand, share, run.slice_.threads)


def _neighbourhood(question: Question, run_of: RunOf, bundle: Bundle) -> Neighbourhood:
    total = Pressure()
    slices: list[int] = []
    strangers = [tenant for tenant in question.tenants if isinstance(tenant, UnknownOccupant)]
    for stranger in strangers:
        if stranger.cpu_millicores < 0:
            raise CannotJudge(UnknownReason.TENANTS_NOT_SUPPORTED, f"a tenant asks for {stranger.cpu_millicores}m cores")
        total += bundle.colocation.unknown_per_core.scaled(stranger.cpu_millicores / 1000)
    for tenant in question.tenants:
        if isinstance(tenant, Occupant):
            if tenant.slice_class.device != question.subject.slice_class.device:
                raise CannotJudge(UnknownReason.TENANTS_NOT_SUPPORTED, f"a tenant on {tenant.slice_class} is not on the subject's device")
            total += _tenant_pressure(tenant, run_of(tenant), bundle)
            slices.append(tenant.slice_class.slice.cpu_millicores)
    asked = sum(slices) + sum(stranger.cpu_millicores for stranger in strangers)
    return Neighbourhood(total, asked, tuple(slices), len(strangers))


def _colocated(question: Question, run: Run, run_of: RunOf, bundle: Bundle) -> _Beside:
    alone = run.isolated
    if not question.tenants:
        return _Beside(alone.interval.of(alone.median_ms, bundle.networks.coverage), ())
    table = bundle.colocation
    neighbours = _neighbourhood(question, run_of, bundle)
    check_room(run.slice_.millicores, neighbours, run.device.cores, str(run.device.name))
    slower = log_slowdown(run.demand, neighbours.pressure, table)
    reasons = extrapolations(run.slice_.millicores, neighbours, table)
    # Beyond the measured pairs the slowdown itself may be wrong by as much as it says.
    interval = alone.interval.around(table.interval).widened(slower if reasons else 0.0)
    try:
        median_ms = alone.median_ms * math.exp(slower)
    except OverflowError as error:
        raise CannotJudge(UnknownReason.TENANTS_NOT_SUPPORTED, "the tenants' pressure is beyond all measure") from error
    return _Beside(interval.of(median_ms, table.coverage), reasons)


def _finite(*intervals: LatencyInterval | None) -> bool:
    return all(
        math.isfinite(item.upper_ms) and 0 <= item.lower_ms <= item.median_ms <= item.upper_ms for item in intervals if item is not None
    )  # fmt: skip


def judge(question: Question, run_of: RunOf, bundle: Bundle) -> Answer:
    """The answer to a question.

    Raises:
        CannotJudge: no honest number exists; carries the reason.
    """
    subject = question.subject
    run = run_of(subject)
    alone = run.isolated
    isolated = alone.interval.of(alone.median_ms, bundle.networks.coverage)
    beside = _colocated(question, run, run_of, bundle)
    served = response(beside.interval, subject, run.slice_, question.percentile, bundle.response)
    if not _finite(isolated, beside.interval, served.interval):
        raise CannotJudge(
            UnknownReason.PREDICTION_NOT_FINITE, f"graph {subject.graph_digest} on {subject.slice_class}: an interval is not finite or not in order"
        )
    reasons = (*alone.reasons, *beside.reasons, *served.reasons)
    return Answer(
        basis=Basis.EXTRAPOLATED if reasons else Basis.MEASURED,
        message="; ".join(reasons),
        isolated=isolated,
        colocated=beside.interval,
        response=served.interval,
        utilization=served.utilization,
        bundle=bundle.label,
    )
