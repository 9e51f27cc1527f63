"""What a CPU quota does to a service time.

The kernel's CPU bandwidth control grants `quota` of CPU time a period and stops the group when it is spent (Linux, Documentation/scheduler/sched-bwc.rst);
Kubernetes writes quota = limit x period with a period of 100 ms (kubelet default `cpuCFSQuotaPeriod`).
"""

from typing import Final

from stowplan_predictor.kernels.resources import SliceResources

PERIOD_MS: Final = 100.0


def sustained_ms(unthrottled_ms: float, slice_: SliceResources) -> float:
    """Mean service time under the quota when request follows request: the slice runs `share` of the time.

    All `threads` count as running while a request is worked on: the runtime's idle threads spin, which the quota counts too.
    """
    return unthrottled_ms / slice_.share


def longest_stop_ms(slice_: SliceResources) -> float:
    """How long at most one stop lasts: what is left of the period when all threads spent the quota at full speed from its start; 0 for whole cores."""
    return PERIOD_MS * (1.0 - slice_.share)
