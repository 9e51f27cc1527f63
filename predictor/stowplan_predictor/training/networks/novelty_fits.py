"""The reach of a training set: representative kernels of each type, and how novel networks of held-out families are against them."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.novelties import SIZES, UNMEASURED_SHARE, Novelties, NoveltyTable, positions
from stowplan_predictor.training.data.folds import fold_of
from stowplan_predictor.training.data.samples import Sample

NOVELTY: Final = "networks/novelty.npy"
# Share of held-out networks of every kind that stay silent.
QUANTILE: Final = 0.985
# A kind of networks with fewer says nothing about its tail.
_LEAST_NETWORKS: Final = 50
# The gap that counts as one: this share of the time in held-out kernels of the type lies nearer. A type in fewer families takes that of all types.
_TYPICAL: Final = 0.9
_LEAST_FAMILIES: Final = 5
# Below it no difference in size matters: a tenth of a log unit is what features of one layer differ by.
_LEAST_SCALE: Final = 0.1
# Points that stand for a type: with the farthest-first choice below, whatever was measured lies close to one of them.
_POINTS: Final = 256


def representatives(points: NDArray[np.float32], count: int = _POINTS) -> NDArray[np.float32]:
    """At most `count` of the points, so that every other one is near one of them (Gonzalez, "Clustering to minimize the maximum intercluster distance", 1985).

    Args:
        points: (n, sizes), n above zero.
        count: how many at most.
    """
    unique = np.unique(points, axis=0)
    if len(unique) <= count:
        return np.asarray(unique)
    first = int(np.argmin(((unique - unique.mean(axis=0)) ** 2).sum(axis=1)))
    chosen = [first]
    nearest = ((unique - unique[first]) ** 2).sum(axis=1)
    while len(chosen) < count:
        following = int(np.argmax(nearest))
        chosen.append(following)
        nearest = np.minimum(nearest, ((unique - unique[following]) ** 2).sum(axis=1))
    return np.asarray(unique[np.sort(chosen)])


def reach(samples: Sequence[Sample]) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Types, and the array that a bundle carries (points, 1 + len(SIZES))."""
    by_type: dict[str, list[NDArray[np.float32]]] = {}
    for sample in samples:
        found = positions(sample.work)
        names = np.array(sample.work.types)
        for name in set(sample.work.types):
            by_type.setdefault(str(name), []).append(found[names == name])
    types = tuple(sorted(by_type))
    rows = []
    for index, name in enumerate(types):  # type: ignore[assignment]
        chosen = representatives(np.concatenate(by_type[name]))
        rows.append(np.column_stack([np.full(len(chosen), index, dtype=np.float32), chosen]))
    return types, np.concatenate(rows).astype(np.float32)


def encoded(array: NDArray[np.float32]) -> bytes:
    """As the bundle's file holds it."""
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


@dataclass(frozen=True, slots=True)
class Gaps:
    """A network's kernels against the reach of the folds it does not belong to."""

    sample: Sample
    fold: int
    gap: NDArray[np.float64]
    """(kernels,); NaN for types that none of those folds holds."""
    share: NDArray[np.float64]
    """(kernels,) of its predicted time."""

    @property
    def unmeasured_share(self) -> float:
        """Of its predicted time in kernels of types that none of those folds holds."""
        return float(self.share[np.isnan(self.gap)].sum())

    def novelty(self, scales: Mapping[str, float]) -> float:
        """As the server computes it."""
        each = np.array([scales[str(name)] for name in self.sample.work.types])
        return float(np.nansum(self.gap / each * self.share))


@dataclass(frozen=True, slots=True)
class Reach:
    """What tells a network that is far from everything measured."""

    scales: Mapping[str, float]
    """By type."""
    threshold: float

    def fires(self, gaps: Gaps) -> bool:
        """Whether a network would be called out of distribution."""
        return gaps.novelty(self.scales) > self.threshold or gaps.unmeasured_share > UNMEASURED_SHARE


def opened(samples: Sequence[Sample], reach_of: Reach, typical_error_log: float) -> tuple[NoveltyTable, bytes]:
    """Table and file of a bundle that was trained on those samples."""
    types, array = reach(samples)
    scales = tuple(reach_of.scales[name] for name in types)
    return NoveltyTable(NOVELTY, types, SIZES, scales, reach_of.threshold, QUANTILE, typical_error_log), encoded(array)


def held_out_gaps(samples: Sequence[Sample], splits: Mapping[str, int], shares: Mapping[str, NDArray[np.float64]]) -> list[Gaps]:
    """Every network against the reach of the folds it is not in.

    Args:
        samples: of the training set, isolated kernels too.
        splits: fold of each family.
        shares: of each kernel in its network's predicted time, by network; networks that are not there are left out.
    """
    dealt = [(fold_of(sample, splits), sample) for sample in samples]
    anyhow = Reach(dict.fromkeys((name for sample in samples for name in sample.work.types), 1.0), np.inf)
    found = []
    for number in sorted({fold for fold, sample in dealt if fold is not None and sample.name in shares}):
        novelties = Novelties(*opened([sample for fold, sample in dealt if fold != number], anyhow, 0.0))
        found += [
            Gaps(sample, number, novelties.kernel_gaps(sample.work), shares[sample.name]) for fold, sample in dealt if fold == number and sample.name in shares
        ]
    return found


def _quantile(values: NDArray[np.float64], mass: NDArray[np.float64], part: float) -> float:
    """The value that `part` of the mass lies at or below."""
    order = np.argsort(values, kind="stable")
    passed = np.cumsum(mass[order])
    return float(values[order][min(int(np.searchsorted(passed, part * passed[-1])), len(values) - 1)])


def reach_of(found: Sequence[Gaps], types: Iterable[str]) -> Reach:
    """Scales and threshold, such that nearly all of those networks stay silent.

    Args:
        found: networks held out.
        types: that shall have a scale.
    """
    kinds = [item.sample.split for item in found]
    names = np.concatenate([np.array(item.sample.work.types) for item in found])
    families = np.concatenate([np.full(len(item.gap), item.sample.family) for item in found])
    gap = np.concatenate([item.gap for item in found])
    # Kinds of networks count alike, and inside a kind all networks.
    mass = np.concatenate([item.share / kinds.count(item.sample.split) for item in found])
    known = np.isfinite(gap) & (mass > 0)
    overall = max(_quantile(gap[known], mass[known], _TYPICAL), _LEAST_SCALE)
    scales = {}
    for name in types:
        own = known & (names == name)
        enough = len(np.unique(families[own])) >= _LEAST_FAMILIES
        scales[name] = max(_quantile(gap[own], mass[own], _TYPICAL), _LEAST_SCALE) if enough else overall
    novelty = np.array([item.novelty({**dict.fromkeys(item.sample.work.types, overall), **scales}) for item in found])
    large = [kind for kind in sorted(set(kinds)) if kinds.count(kind) >= _LEAST_NETWORKS] or sorted(set(kinds))
    # What is out of distribution anyhow says nothing about sizes.
    measured = np.array([item.unmeasured_share <= UNMEASURED_SHARE for item in found])
    of_kind = {kind: novelty[np.array([own == kind for own in kinds]) & measured] for kind in large}
    return Reach(scales, max(float(np.quantile(values, QUANTILE)) for values in of_kind.values() if len(values)))
