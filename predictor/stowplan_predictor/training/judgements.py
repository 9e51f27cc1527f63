"""What a model is worth, stage by stage, as plain JSON for the manifest: errors on held-out families, the floor and the noise of the measurements."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from stowplan_predictor.training import baselines
from stowplan_predictor.training.kernel_rows import KernelRows
from stowplan_predictor.training.load_fits import LoadCase
from stowplan_predictor.training.network_cases import Case, Judged, coverage
from stowplan_predictor.training.pair_fits import PairFit
from stowplan_predictor.training.samples import Samples
from stowplan_predictor.training.scores import score


def _scored(measured: Sequence[float], predicted: Sequence[float], families: Sequence[str]) -> dict[str, Any]:
    return asdict(score(measured, predicted, families))


def by_slice(items: Sequence[Judged]) -> dict[str, Any]:
    """Errors of held-out predictions for each slice."""
    found = {}
    for name in sorted({item.case.slice for item in items}):
        own = [item for item in items if item.case.slice == name]
        found[name] = _scored([i.case.measured.truth_ms for i in own], [i.isolated.median_ms for i in own], [i.case.sample.family for i in own])
    return found


def floor(cases: Sequence[Case]) -> dict[str, Any]:
    """The trivial models on the same cases."""
    truth = [case.measured.truth_ms for case in cases]
    families = [case.sample.family for case in cases]
    return {
        "flops_regression": _scored(truth, baselines.flops_regression(cases), families),
        "flops_and_parameters_regression": _scored(truth, baselines.flops_and_parameters_regression(cases), families),
        "mean_latency": _scored(truth, baselines.mean_latency(cases), families),
    }


def noise(samples: Samples) -> dict[str, Any]:
    """Test against retest: the same network measured again, per slice; no model can be better than this."""
    found: dict[str, list[float]] = {}
    for sample in samples.networks.values():
        for name, measured in sample.measured.items():
            values = [row.mean_ms if measured.slice_.fractional else row.median_ms for row in measured.visits]
            if len(values) > 1:
                found.setdefault(name, []).extend(abs(later - values[0]) / values[0] for later in values[1:])
    return {
        name: {"retests": len(values), "mean_absolute_difference_percent": round(100 * float(np.mean(values)), 2)} for name, values in sorted(found.items())
    }


def kernels(rows: KernelRows, predicted: Mapping[str, np.ndarray], recipes: Mapping[str, str]) -> dict[str, Any]:
    """Errors of held-out kernel predictions, by type; `predicted` holds the log ratio for the rows of each regressor's type."""
    found = {}
    for name, log_ratio in sorted(predicted.items()):
        own = rows.only(rows.of_type(name))
        known = np.isfinite(log_ratio)
        guess = np.exp(log_ratio - own.log_ratio)[known] * own.milliseconds[known]
        families = [family for family, keep in zip(own.families, known, strict=True) if keep]
        found[name] = {
            "recipe": recipes[name],
            "rows": len(own.types),
            "families": len(set(own.families)),
            "share_of_time_percent": round(100 * float(own.milliseconds.sum() / rows.milliseconds.sum()), 2),
            **_scored(own.milliseconds[known].tolist(), guess.tolist(), families),
        }
    return found


def networks(cases: Sequence[Case], held_out: Sequence[Judged], samples: Samples) -> dict[str, Any]:
    """Isolated latency of networks whose families were held out; random networks, some of which run for microseconds, apart from published ones."""
    published = [item for item in held_out if item.case.sample.split != "random"]
    random = [item for item in held_out if item.case.sample.split == "random"]
    return {
        "held_out_families": by_slice(published) | {f"{name}, random networks": found for name, found in by_slice(random).items()},
        "interval_coverage_percent": round(100 * coverage(held_out), 1),
        "floor": floor([item.case for item in published]),
        "noise": noise(samples),
        "not_judged": {f"{case.sample.name} on {case.slice}": case.refusal for case in cases if case.efficiencies is None},
        "refused": dict(samples.refused),
    }


def light(items: Sequence[Judged], refused: Mapping[str, str], flops_ms: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """The light models, one row each, by a model trained without their families."""
    rows = []
    for item in sorted(items, key=lambda judged: (judged.case.slice, judged.case.sample.name)):
        case = item.case
        rows.append({
            "network": case.sample.name,
            "slice": case.slice,
            "predicted_ms": round(item.isolated.median_ms, 4),
            "measured_ms": round(case.measured.truth_ms, 4),
            "error_percent": round(100 * (item.isolated.median_ms / case.measured.truth_ms - 1), 2),
            "floor_ms": round(flops_ms[case.sample.name, case.slice], 4),
            "floor_error_percent": round(100 * (flops_ms[case.sample.name, case.slice] / case.measured.truth_ms - 1), 2),
            "cv": round(case.measured.quietest.cv, 4),
            "noisy": case.measured.noisy,
        })  # fmt: skip
    truth = [item.case.measured.truth_ms for item in items]
    families = [item.case.sample.family for item in items]
    return {
        "rows": rows,
        "by_slice": by_slice(items),
        "all": _scored(truth, [item.isolated.median_ms for item in items], families),
        "floor": _scored(truth, [flops_ms[item.case.sample.name, item.case.slice] for item in items], families),
        "not_judged": dict(refused),
    }


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
