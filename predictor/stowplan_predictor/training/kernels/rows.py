"""Measured kernels of many networks as rows to learn from, kernels that are alike merged.

A profile is rescaled so that its kernels sum to the network's time end to end, taken on its quietest visit: what the machine did during the profile is
common to all kernels of it. Networks whose profile disagrees too much with the unprofiled run train nothing (`Measured.profile_agrees`).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.ranges import HEAVY, LIGHT, TypeRange
from stowplan_predictor.kernels.subgraphs import Joined, join
from stowplan_predictor.training.data.measurements import Measured
from stowplan_predictor.training.data.samples import Sample

# A type measured less often, or in fewer families, shares its class's range and regressor: its own would learn those few networks by heart.
LEAST_ROWS: Final = 40
LEAST_FAMILIES: Final = 4
# Types whose typical kernel computes more than this for a byte are matrix-like: element-wise kernels and reductions of single precision stay below
# (at most some tens of operations, as in an exponential, on at least eight bytes).
HEAVY_FLOPS_PER_BYTE: Final = 4.0
# Generated networks and isolated kernels together weigh at most this much beside the published networks: they fill gaps, and would outnumber them.
_GENERATED_WEIGHT: Final = 0.7
_PUBLISHED: Final = "zoo"


@dataclass(frozen=True)
class KernelRows:
    """Measured kernels, one a row."""

    types: NDArray[np.str_]
    families: NDArray[np.str_]
    splits: NDArray[np.str_]
    runtime_types: NDArray[np.str_]
    """What the runtime ran; empty where it is not known."""
    features: NDArray[np.float32]
    """(rows, FEATURES)"""
    log_ratio: NDArray[np.float64]
    """log(measured / roofline)."""
    weight: NDArray[np.float64]
    """Square root of the share of its network's time: what matters to the sum counts more, but not alone."""
    milliseconds: NDArray[np.float64]
    subgraph: NDArray[np.int64]
    """Which of the joined sub-graphs it is."""
    joined: Joined

    def __len__(self) -> int:
        return len(self.types)

    def only(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> "KernelRows":
        """Some of the rows; the joined sub-graphs stay."""
        columns = ("types", "families", "splits", "runtime_types", "features", "log_ratio", "weight", "milliseconds", "subgraph")
        return replace(self, **{name: getattr(self, name)[keep] for name in columns})


def _merged(ms: NDArray[np.float64], keys: list[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """First position, geometric mean time and count of each group of equal keys."""
    _, first, inverse, counts = np.unique(np.array(keys, dtype=object), return_index=True, return_inverse=True, return_counts=True)
    return first, np.exp(np.bincount(inverse.reshape(-1), np.log(ms)) / counts), counts


def _part(sample: Sample, measured: Measured, places: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    assert measured.kernel_ms is not None  # noqa: S101 - the caller asks agreeing profiles only
    seen = np.flatnonzero(np.isfinite(measured.kernel_ms) & (measured.kernel_ms > 0))
    ms = measured.kernel_ms[seen] * measured.profile_scale
    keys = [measured.features[i].tobytes() + places[i].tobytes() for i in seen]
    first, mean_ms, counts = _merged(ms, keys)
    chosen = seen[first]
    return {
        "types": np.array([str(sample.work.types[i]) for i in chosen]),
        # What was cut out of no network is a family of its own: no two of such kernels are alike by descent.
        "families": np.full(len(chosen), sample.family or sample.name),
        "splits": np.full(len(chosen), sample.split),
        "runtime_types": np.array([sample.runtime_types[i] for i in chosen]),
        "features": measured.features[chosen],
        "log_ratio": np.log(mean_ms / measured.roofline_ms[chosen]),
        "weight": np.sqrt(counts * mean_ms / ms.sum()),
        "milliseconds": counts * mean_ms,
        "subgraph": places[chosen],
    }


def _balanced(weight: NDArray[np.float64], splits: NDArray[np.str_]) -> NDArray[np.float64]:
    published = splits == _PUBLISHED
    generated = weight[~published].sum()
    if published.any() and generated > 0:
        weight = np.where(published, weight, weight * min(1.0, _GENERATED_WEIGHT * weight[published].sum() / generated))
    return weight / weight.mean()  # type: ignore[no-any-return]


def kernel_rows(samples: Iterable[Sample]) -> KernelRows:
    """All profiled kernels on whole cores.

    Raises:
        ValueError: there are none.
    """
    chosen = list(samples)
    joined = join([sample.work.subgraphs for sample in chosen], [len(sample.work.types) for sample in chosen])
    parts = [
        _part(sample, measured, places)
        for sample, places in zip(chosen, joined.places, strict=True)
        for measured in sample.measured.values()
        if measured.kernel_ms is not None and not measured.slice_.fractional and measured.profile_agrees and np.isfinite(measured.kernel_ms).any()
    ]
    if not parts:
        raise ValueError("no profiled kernels in the data set; measure it with `make dataset`")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns["weight"] = _balanced(columns["weight"], columns["splits"])
    return KernelRows(**columns, joined=joined)


def classes(rows: KernelRows) -> dict[str, str]:
    """LIGHT or HEAVY for every measured type."""
    intensity = rows.features[:, FEATURES.index("log_intensity")]
    limit = np.log(HEAVY_FLOPS_PER_BYTE)
    return {str(name): HEAVY if np.median(intensity[rows.types == name]) > limit else LIGHT for name in np.unique(rows.types)}


def members(rows: KernelRows) -> dict[str, NDArray[np.bool_]]:
    """Rows of each range there shall be: types that are measured often, and the classes."""
    found = {}
    kinds = classes(rows)
    for name in sorted(kinds):
        mask = rows.types == name
        if mask.sum() >= LEAST_ROWS and len(np.unique(rows.families[mask])) >= LEAST_FAMILIES:
            found[name] = mask
    for kind in (LIGHT, HEAVY):
        mask = np.isin(rows.types, [name for name, own in kinds.items() if own == kind])
        if mask.sum() >= LEAST_ROWS:
            found[kind] = mask
    return found


def _ceiling(rows: KernelRows) -> float:
    """The log ratio that 99 % of the measured time stays below."""
    order = np.argsort(rows.log_ratio)
    passed = np.cumsum(rows.milliseconds[order]) / rows.milliseconds.sum()
    return float(rows.log_ratio[order][min(len(order) - 1, np.searchsorted(passed, 0.99))])  # type: ignore[call-overload]


def type_range(rows: KernelRows, error_log: float) -> TypeRange:
    """What was measured of one type or class, given the error on families held out."""
    return TypeRange(
        feature_lower=tuple(rows.features.min(axis=0).astype(float).tolist()),
        feature_upper=tuple(rows.features.max(axis=0).astype(float).tolist()),
        log_ratio_lower=float(rows.log_ratio.min()),
        log_ratio_upper=float(rows.log_ratio.max()),
        ceiling_log_ratio=_ceiling(rows),
        rows=len(rows),
        families=len(np.unique(rows.families)),
        error_log=error_log,
    )
