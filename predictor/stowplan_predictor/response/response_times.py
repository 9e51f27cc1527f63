"""The response time of one server process under Poisson arrivals, from its predicted service time and the measured shape of service times.

Formula: the M/G/1 queue of `queues`, one request at a time, first come first served; checked on real servers under open-loop Poisson load (the bundle's
manifest says how far off it was). Requests that are worked on at the same time, or batched, were never measured: no judgement.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from stowplan_fleet.answers import LatencyInterval, UnknownReason
from stowplan_fleet.questions import Occupant

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.throttles import longest_stop_ms
from stowplan_predictor.response.queues import PERCENTILES, ServiceShape, response_factor


@dataclass(frozen=True, slots=True)
class ResponseTable:
    """What a bundle says about requests."""

    shapes: Mapping[str, ServiceShape]
    """By slice in millicores, whole cores only; a slice that is not there takes the one of the nearest number of threads."""
    overhead_ms: float
    """What wire and server add to one request, measured."""
    serial_share: float
    """Share of that overhead during which the server works on no other request; the rest delays a request without keeping others waiting. 0 to 1."""
    interval: LogInterval
    """Of log(measured percentile / formula given the measured inference time and overhead)."""
    measured_millicores: tuple[int, ...]
    """Slices that were put under load."""
    most_load: float
    """Largest share of busy time that was measured."""
    percentiles: tuple[int, ...]
    """That were compared with measurements."""
    coverage: float


@dataclass(frozen=True, slots=True)
class Response:
    """What is said of requests."""

    interval: LatencyInterval | None
    """None where the upper bound of the service time cannot sustain the load."""
    utilization: float
    """At the upper bound of the service time, so that 1 or more means: not certainly sustainable."""
    reasons: tuple[str, ...]
    """Why this is an extrapolation; empty where it is not."""


def check_server(occupant: Occupant) -> None:
    """Refuses ways of serving that were never measured.

    Raises:
        CannotJudge: more than one request at a time, batching, or counts below one.
    """
    if occupant.max_batch != 1:
        raise CannotJudge(UnknownReason.SERVER_NOT_SUPPORTED, f"maxBatch is {occupant.max_batch}: batching servers were never measured; set it to 1")
    if occupant.concurrency != 1:
        raise CannotJudge(UnknownReason.SERVER_NOT_SUPPORTED, f"concurrency is {occupant.concurrency}: only one request at a time was measured; set it to 1")
    if occupant.payload_instances < 1:
        raise CannotJudge(UnknownReason.SERVER_NOT_SUPPORTED, f"payloadInstances is {occupant.payload_instances}; at least 1 model input makes a request")
    if not (math.isfinite(occupant.requests_per_second) and occupant.requests_per_second >= 0):
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"{occupant.requests_per_second} requests per second is no load")


def request_ms(service_ms: float, occupant: Occupant, table: ResponseTable) -> float:
    """How long one request keeps the server busy: its model inputs one after another, and the serial part of what the server adds."""
    return occupant.payload_instances * service_ms + table.serial_share * table.overhead_ms


def response(service: LatencyInterval, occupant: Occupant, slice_: SliceResources, percentile: int, table: ResponseTable) -> Response:
    """A percentile of the response time, with the service time's interval carried through the queue.

    On a fraction of a core the server is fluid at the quota's rate, and the upper bound adds the longest stop: a rate-latency server (Le Boudec and
    Thiran, "Network calculus", 2001, section 1.3); the lower bound takes a request that meets a fresh quota.

    Raises:
        CannotJudge: the server's way of working was never measured, or the percentile is not one.
    """
    check_server(occupant)
    if percentile not in PERCENTILES:
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"percentile {percentile} of the response time is not finite or not defined; ask for 1 to 99")
    shape = table.shapes[str(min((int(item) for item in table.shapes), key=lambda item: abs(item - slice_.threads * 1000)))]

    def at(service_ms: float) -> float:
        duration = request_ms(service_ms, occupant, table)
        waited = duration * response_factor(shape, occupant.requests_per_second * duration / 1000.0, percentile)
        return waited + (1.0 - table.serial_share) * table.overhead_ms

    utilization = occupant.requests_per_second * request_ms(service.upper_ms, occupant, table) / 1000.0
    reasons = _reasons(occupant, slice_, occupant.requests_per_second * request_ms(service.median_ms, occupant, table) / 1000.0, table)
    if not math.isfinite(utilization):
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"utilization is {utilization}")
    if utilization >= 1.0:
        return Response(None, utilization, reasons)
    interval = LatencyInterval(
        median_ms=at(service.median_ms),
        lower_ms=at(service.lower_ms) * slice_.share * math.exp(table.interval.lower),
        upper_ms=at(service.upper_ms) * math.exp(table.interval.upper) + longest_stop_ms(slice_),
        coverage=table.coverage,
    )
    return Response(interval, utilization, reasons)


def _reasons(occupant: Occupant, slice_: SliceResources, load: float, table: ResponseTable) -> tuple[str, ...]:
    reasons = []
    if occupant.payload_instances > 1:
        reasons.append(f"{occupant.payload_instances} model inputs in a request count as so many inferences; only 1 was measured")
    if slice_.millicores not in table.measured_millicores:
        reasons.append(f"a slice of {slice_.millicores}m was not measured under load")
    if load > table.most_load:
        reasons.append(f"a utilization of {load:.2f}: up to {table.most_load:.2f} was measured")
    return tuple(reasons)
