"""Figures of several runs: median, least and most, what is wanted of them, and what they depend on."""

import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

Figures = dict[str, float]
# What is wanted of a figure: a bound, and whether it is an upper one.
WANTED = {
    "cold_ms": ("<=", 1000.0),
    "warm_ms": ("<=", 100.0),
    "transformer_ms": ("<=", 3000.0),
    "cached_p50_ms": ("<=", 1.0),
    "cached_p99_ms": ("<=", 5.0),
    "batch_cached_questions_per_s": (">=", 5000.0),
    "batch_new_questions_per_s": (">=", 5000.0),
    "peak_with_reader_mb": ("<=", 400.0),
}


def table(runs: Sequence[Figures]) -> list[dict[str, object]]:
    """Median, least and most of the runs, and whether the median is what is wanted."""
    rows: list[dict[str, object]] = []
    for name in runs[0]:
        values = [run[name] for run in runs]
        row: dict[str, object] = {"figure": name, "median": round(statistics.median(values), 4), "least": round(min(values), 4), "most": round(max(values), 4)}
        if name in WANTED:
            sign, bound = WANTED[name]
            row |= {"wanted": f"{sign} {bound:g}", "holds": statistics.median(values) <= bound if sign == "<=" else statistics.median(values) >= bound}
        rows.append(row)
    return rows


def percentile(ascending: Sequence[float], percent: int) -> float:
    """By rank."""
    return ascending[min(len(ascending) - 1, len(ascending) * percent // 100)]


def facts(bundle: str, load: float) -> dict[str, object]:
    """What the figures depend on."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": {"cpu": names[0] if names else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(), "loadAverageAtStart": round(load, 2)},
        # With `chrt -f` before the command others that run on the same cores wait, and take only caches and memory bandwidth.
        "scheduling": "real-time" if os.sched_getscheduler(0) in {os.SCHED_FIFO, os.SCHED_RR} else "normal",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("grpcio", "protobuf", "numpy", "onnx", "onnxruntime")}},
        "bundle": bundle,
    }
