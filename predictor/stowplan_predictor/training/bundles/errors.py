"""What a bundle's manifest says of its own worth: figures of models that never saw the judged families, and how often its warnings fire."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.novelties import Novelties
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.judgements.scores import score
from stowplan_predictor.training.networks import novelty_checks
from stowplan_predictor.training.networks.cases import Case, Judged, coverage
from stowplan_predictor.training.networks.fits import NetworkFit
from stowplan_predictor.training.networks.novelty_checks import Fired
from stowplan_predictor.training.networks.novelty_fits import NOVELTY, Gaps


def by_split(items: Sequence[Judged]) -> dict[str, Any]:
    """Errors, coverage and half-width of held-out predictions, by split and slice."""
    found: dict[str, Any] = {}
    for split, name in sorted({(item.case.sample.split, item.case.slice) for item in items}):
        own = [item for item in items if (item.case.sample.split, item.case.slice) == (split, name)]
        truth = [item.case.measured.truth_ms for item in own]
        scored = asdict(score(truth, [item.isolated.median_ms for item in own], [item.case.sample.family for item in own]))
        halves = [(np.exp(item.isolated.interval.upper) - np.exp(item.isolated.interval.lower)) / 2 for item in own]
        scored["interval_coverage_percent"] = round(100 * coverage(own), 1)
        scored["median_half_width_percent"] = round(100 * float(np.median(halves)), 1)
        found.setdefault(split, {})[name] = scored
    return found


def refusals(cases: Sequence[Case]) -> dict[str, str]:
    """Networks that could not be judged, with the reason."""
    return {f"{case.sample.name} on {case.slice}": case.refusal for case in cases if case.measured.visits and case.efficiencies is None}


def profiles(samples: Sequence[Sample]) -> dict[str, Any]:
    """How many kernel profiles agree with the unprofiled run and so may train."""
    taken = [item for sample in samples for item in sample.measured.values() if item.kernel_ms is not None and not item.slice_.fractional]
    total = sum(item.profiled_ms for item in taken)
    return {
        "taken": len(taken),
        "used": sum(item.profile_agrees for item in taken),
        "unmatched_percent": round(100 * sum(item.profile.unmatched_ms for item in taken if item.profile is not None) / total, 2) if total else None,
    }


def out_of_distribution(
    fit: NetworkFit, samples: Sequence[Sample], shares: Mapping[str, NDArray[np.float64]], gaps: Sequence[Gaps]
) -> dict[str, Any]:  # fmt: skip
    """How often the flag fires where it must not and where it must, as counts."""
    table = fit.table.novelty
    if table is None:
        raise ValueError("the network table has no reach: fit it with `network_fits.with_reach`")
    content = fit.files[NOVELTY]
    unseen = novelty_checks.unseen_types(samples, shares, table, content)
    return {
        "threshold": round(table.threshold, 4),
        "quantile": table.quantile,
        "held_out_families": _plain(novelty_checks.held_out(gaps)),
        "held_out_families_of_unmeasured_types": _plain(novelty_checks.strange(gaps)),
        "types_held_out_completely": {
            "fired": sum(item.fired for item in unseen.values()),
            "of": sum(item.of for item in unseen.values()),
            "by_type": _plain(unseen),
        },
        "ten_times_wider": _plain(novelty_checks.larger(samples, shares, Novelties(table, content))),
    }


def _plain(counts: Mapping[str, Fired]) -> dict[str, Any]:
    return {name: item.plain() for name, item in counts.items()}
