"""What pairs and loads are worth, as plain JSON for the manifest: errors on held-out families beside trivial floors."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stowplan_predictor.training.judgements.scores import score
from stowplan_predictor.training.sharing.load_fits import LoadCase
from stowplan_predictor.training.sharing.pair_fits import PairFit


def _scored(measured: Sequence[float], predicted: Sequence[float], families: Sequence[str]) -> dict[str, Any]:
    return asdict(score(measured, predicted, families))


def colocation(fit: PairFit) -> dict[str, Any]:
    """Slowdowns of pairs whose families were held out."""
    ratios = [pair.row.ratio for pair in fit.pairs]
    families = [pair.families[0] for pair in fit.pairs]
    inside = [
        fit.table.interval.lower <= np.log(pair.row.beside_ms / (pair.isolated_ms * ratio)) <= fit.table.interval.upper
        for pair, ratio in zip(fit.pairs, fit.predicted_ratios, strict=True)
    ]
    return {
        "slowdown": _scored(ratios, fit.predicted_ratios, families),
        "floor": {"mean_slowdown": _scored(ratios, fit.mean_ratios, families), "no_slowdown": _scored(ratios, [1.0] * len(ratios), families)},
        "measured_slowdown": {"median": round(float(np.median(ratios)), 4), "largest": round(float(np.max(ratios)), 4)},
        "service_time_beside": _scored(
            [pair.row.beside_ms for pair in fit.pairs],
            [pair.isolated_ms * ratio for pair, ratio in zip(fit.pairs, fit.predicted_ratios, strict=True)],
            families,
        ),
        "interval_coverage_in_sample_percent": round(100 * float(np.mean(inside)), 1),
    }


def loads(cases: Sequence[LoadCase], families: Mapping[str, str]) -> dict[str, Any]:
    """The queueing formula against measured response times, given the service time measured in the same session."""
    found: dict[str, Any] = {"formula": "M/G/1, first come first served, inverted numerically (Pollaczek-Khinchine)", "by_percentile": {}}
    for percentile in sorted({case.percentile for case in cases}):
        own = [case for case in cases if case.percentile == percentile]
        names = [families[case.row.network] for case in own]
        measured = [case.measured_ms for case in own]
        found["by_percentile"][str(percentile)] = {
            **_scored(measured, [case.formula_ms for case in own], names),
            "floor_no_waiting": _scored(measured, [case.mean_only_ms for case in own], names),
        }
    return found
