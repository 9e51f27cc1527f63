"""Refusals: what it takes to refuse files that should cost nobody much."""

import time

from stowplan_fleet.errors import GraphRefused
from stowplan_predictor.serving.readers import Readers
from stowplan_predictor.serving.settings import Analysis
from support import hostile_models


def hostile() -> list[dict[str, object]]:
    """Time and memory of each refusal, one fresh process for each file."""
    return [_row(name) for name in hostile_models.HOSTILE]


def _row(name: str) -> dict[str, object]:
    make, wanted = hostile_models.HOSTILE[name]
    file = make()
    readers = Readers(Analysis(), 1)
    try:
        readers.await_ready()
        started = time.perf_counter()
        refused = _refused(readers, file)
        seconds = time.perf_counter() - started
        if refused != wanted:
            raise RuntimeError(f"{name}: {refused or 'accepted'}, not {wanted}")
        peak = round(readers.peak_bytes / 1e6, 1)
        return {"file": name, "megabytes": len(file) / 1e6, "refused": refused, "seconds": round(seconds, 4), "peakMegabytes": peak}
    finally:
        readers.close()


def _refused(readers: Readers, file: bytes) -> str:
    try:
        readers(file, {})
    except GraphRefused as refusal:
        return type(refusal).__name__
    return ""
