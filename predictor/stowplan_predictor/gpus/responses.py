"""Response time of one server process on a GPU under Poisson arrivals: the M/G/1 queue, for which no GPU server was ever put under load.

So the shape of its service times is not known. The median takes all for equally long (M/D/1), the upper end for exponential (M/M/1): a server whose times
vary more than that would be a broken one. The lower end waits for nobody.
"""

from typing import Final

import numpy as np
from stowplan_fleet.answers import LatencyInterval, UnknownReason
from stowplan_fleet.questions import Occupant

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.response.queues import PERCENTILES, response_factor, shape_of
from stowplan_predictor.response.response_times import Response, check_server

_POINTS: Final = (*np.linspace(0.0, 0.98, 50).tolist(), 0.99, 0.995, 0.999, 1.0)
_CONSTANT: Final = shape_of((0.0, 1.0), (1.0, 1.0))
# The last one stands for the tail beyond one in a thousand.
_EXPONENTIAL: Final = shape_of(_POINTS, [*(-np.log1p(-np.array(_POINTS[:-1]))).tolist(), 8.0])
UNCHECKED: Final = "the response time is that of a queue (M/G/1), and no server on a GPU was measured under load"


def response(service: LatencyInterval, occupant: Occupant, percentile: int) -> Response:
    """A percentile of the response time.

    Raises:
        CannotJudge: a way of working that was never measured, or no percentile.
    """
    check_server(occupant)
    if percentile not in PERCENTILES:
        raise CannotJudge(UnknownReason.PREDICTION_NOT_FINITE, f"percentile {percentile} of the response time is not defined; ask for 1 to 99")
    inputs, rate = occupant.payload_instances, occupant.requests_per_second
    utilization = rate * inputs * service.upper_ms / 1000.0
    if rate == 0.0 and inputs == 1:
        return Response(service, 0.0, ())
    if utilization >= 1.0:
        return Response(None, utilization, (UNCHECKED,))
    median, upper = inputs * service.median_ms, inputs * service.upper_ms
    interval = LatencyInterval(
        median_ms=median * response_factor(_CONSTANT, rate * median / 1000.0, percentile),
        lower_ms=inputs * service.lower_ms,
        upper_ms=upper * max(1.0, response_factor(_EXPONENTIAL, utilization, percentile)),
        coverage=service.coverage,
    )
    return Response(interval, utilization, (UNCHECKED,))
