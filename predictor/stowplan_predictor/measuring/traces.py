"""ONNX Runtime's profiler events to one time a kernel.

The profiler writes whole microseconds, rounded down, and its own cost (about a microsecond) lies inside each time. Medians are therefore taken of grouped
data (the rounding undone), and what the profiler adds is left in: `kernels_sum` against the unprofiled median tells it.
"""

import statistics
from collections.abc import Sequence
from typing import Any, Final

# Runs at the start of a profile that are thrown away: arenas grow and caches fill in them.
WARM_UP_RUNS: Final = 3
# Runs of a profile at most: medians of 200 are steady, and a trace of 1000 nodes is then 60 MB.
MAX_RUNS: Final = 200
_SUFFIX: Final = "_kernel_time"


def _quietest(runs: Sequence[tuple[float, float]], bursts: Sequence[int]) -> Sequence[tuple[float, float]]:
    """Of runs in bursts of the given lengths, the burst with the least median duration."""
    parts, began = [], 0
    for length in bursts:
        parts.append(runs[began : began + length])
        began += length
    return min(parts, key=lambda part: statistics.median(ended - started for started, ended in part))


def summarize(events: Sequence[dict[str, Any]], bursts: Sequence[int] = ()) -> dict[str, Any]:
    """Kernels in order of execution with median times, from a trace of at least `WARM_UP_RUNS + 1` runs.

    `bursts` are the numbers of runs, after those that warm up, that were made in a row: only the quietest of them counts then.

    Raises:
        ValueError: the trace holds too few runs.
    """
    runs = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event.get("cat") == "Session" and event.get("name") == "model_run")
    if len(runs) <= WARM_UP_RUNS:
        raise ValueError(f"the profile holds {len(runs)} runs; more than {WARM_UP_RUNS} are needed")
    counted = _quietest(runs[WARM_UP_RUNS:], bursts) if bursts else runs[WARM_UP_RUNS:]
    times: dict[tuple[str, str], list[int]] = {}
    first: dict[tuple[str, str], dict[str, Any]] = {}
    for event in sorted((e for e in events if e.get("cat") == "Node" and e["name"].endswith(_SUFFIX)), key=lambda e: e["ts"]):
        if not counted[0][0] <= event["ts"] < counted[-1][1]:
            continue
        key = (event["name"].removesuffix(_SUFFIX), event["args"].get("node_index", ""))
        times.setdefault(key, []).append(event["dur"])
        first.setdefault(key, event["args"])
    kernels = []
    for key, durations in times.items():
        quarters = statistics.quantiles(durations, n=4) if len(durations) > 1 else [durations[0]] * 3
        kernels.append(
            {
                "node": key[0],
                "op_type": first[key].get("op_name", ""),
                "provider": first[key].get("provider", ""),
                # A time of d whole microseconds lies between d and d + 1; grouped medians expect the middle of the class.
                "median_us": statistics.median_grouped([duration + 0.5 for duration in durations], interval=1.0),
                "p25_us": quarters[0] + 0.5,
                "p75_us": quarters[2] + 0.5,
                "runs": len(durations),
            }
        )
    return {"kernels": kernels, "runs": len(counted)}
