"""Profiler events become one time a kernel."""

from typing import Any

import pytest
from stowplan_predictor.measuring import traces


def _run(start: int, durations: list[int]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"cat": "Session", "name": "model_run", "ts": start, "dur": 900}]
    for index, duration in enumerate(durations):
        arguments = {"node_index": str(index), "op_name": "Conv", "provider": "CPUExecutionProvider"}
        events.append({"cat": "Node", "name": f"node{index}_kernel_time", "ts": start + 1 + index * 100, "dur": duration, "args": arguments})
    return events


def test_warm_up_runs_do_not_count() -> None:
    """The first runs, however slow, leave no trace in the medians."""
    events = [event for run in range(traces.WARM_UP_RUNS) for event in _run(run * 1000, [90, 90])]
    events += [event for run in range(9) for event in _run((run + traces.WARM_UP_RUNS) * 1000, [10, 20])]
    summary = traces.summarize(events)

    assert summary["runs"] == 9
    assert [kernel["node"] for kernel in summary["kernels"]] == ["node0", "node1"]
    assert [kernel["runs"] for kernel in summary["kernels"]] == [9, 9]
    # Ten whole microseconds, rounded down, are between ten and eleven.
    assert [kernel["median_us"] for kernel in summary["kernels"]] == [pytest.approx(10.5), pytest.approx(20.5)]


def test_rounding_is_undone_between_classes() -> None:
    """A kernel that reads 2 us as often as 3 us takes about 3.0 us, not 2.5."""
    events = [event for run in range(traces.WARM_UP_RUNS) for event in _run(run * 1000, [9])]
    events += [event for run in range(20) for event in _run((run + traces.WARM_UP_RUNS) * 1000, [2 + run % 2])]

    assert traces.summarize(events)["kernels"][0]["median_us"] == pytest.approx(3.0)


def test_only_the_quietest_burst_counts() -> None:
    """Of runs in bursts, those of the burst whose runs were fastest make the medians: the machine was slow during the others."""
    durations = [90] * traces.WARM_UP_RUNS + [40, 40, 40] + [10, 10] + [30, 30, 30]
    events = []
    for position, duration in enumerate(durations):
        run = _run(position * 1000, [duration])
        run[0]["dur"] = duration + 100
        events += run
    summary = traces.summarize(events, [3, 2, 3])

    assert summary["runs"] == 2
    assert summary["kernels"][0]["median_us"] == pytest.approx(10.5)


def test_too_short_a_trace_is_refused() -> None:
    """A profile of warm-up runs only is no profile."""
    with pytest.raises(ValueError, match=f"more than {traces.WARM_UP_RUNS} are needed"):
        traces.summarize(_run(0, [1]))
