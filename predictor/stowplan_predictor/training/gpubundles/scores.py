"""Scores of held-out families, beside trivial baselines and the noise"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stowplan_predictor.training.gpubundles.outcomes import Outcome
from stowplan_predictor.training.gpubundles.predictions import NetworkPrediction, PairPrediction


@dataclass(frozen=True, slots=True)
class Row:
    """A system over some cases."""

    system: str
    mape: float
    """Percent."""
    median: float
    """Of the absolute percentage error."""
    cases: int


def row(system: str, measured: Sequence[float], predicted: Sequence[float]) -> Row:
    """Over some cases."""
    errors = 100.0 * np.abs(np.array(predicted) / np.array(measured) - 1.0)
    return Row(system, float(errors.mean()), float(np.median(errors)), len(errors))


def whole(rows: Sequence[NetworkPrediction]) -> list[Row]:
    """Networks on the whole GPU, the served system last."""
    some = [one for one in rows if one.partition == "full"]
    measured = [one.measured_ms for one in some]
    return [
        row("mean of the networks that taught", measured, [one.mean_ms or 0.0 for one in some]),
        row("line through FLOPs", measured, [one.linear_ms or 0.0 for one in some]),
        row("public bundle as it is", measured, [one.public_ms for one in some]),
        row("served: kernels of this GPU, weighed by networks", measured, [one.predicted_ms for one in some]),
    ]


def parts(rows: Sequence[NetworkPrediction]) -> list[Row]:
    """Networks on parts of the GPU; the baselines are given what the network took on the whole GPU, the served system is not."""
    some = [one for one in rows if one.whole_ms is not None]
    if not some:
        return []
    measured = [one.measured_ms for one in some]
    return [
        row("as on the whole GPU (measured there)", measured, [one.whole_ms or 0.0 for one in some]),
        row("in proportion to multiprocessors (measured on the whole GPU)", measured, [(one.whole_ms or 0.0) / one.share for one in some]),
        row("public bundle as it is", measured, [one.public_ms for one in some]),
        row("served", measured, [one.predicted_ms for one in some]),
    ]


def beside(rows: Sequence[PairPrediction], kind: str) -> list[Row]:
    """Slowdowns beside a neighbour under one way of sharing."""
    some = [one for one in rows if one.sharing.startswith(kind)]
    if not some:
        return []
    measured = [one.measured for one in some]
    return [
        row("no slowdown", measured, [1.0] * len(some)),
        row("published law", measured, [one.law for one in some]),
        row("served: the law, scaled by other pairs", measured, [one.predicted for one in some]),
    ]


def noise(values: Sequence[float]) -> float:
    """Middle one, in percent."""
    return 100.0 * float(np.median(values))


def summary(found: Outcome) -> dict[str, Any]:
    """For the manifest."""
    tables = {
        "networks": whole(found.networks),
        "parts": parts(found.networks),
        "pairs_mps": beside(found.pairs, "mps"),
        "pairs_time": beside(found.pairs, "time"),
    }
    return {
        name: {one.system: {"mape_percent": round(one.mape, 2), "median_percent": round(one.median, 2), "cases": one.cases} for one in rows}
        for name, rows in tables.items()
        if rows
    } | {"noise": {"networks_percent": round(noise([one.noise for one in found.networks]), 2)}}  # fmt: skip
