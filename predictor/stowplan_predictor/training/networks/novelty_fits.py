"""The reach of a training set: representative kernels of each type, and how novel networks of held-out families are against them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.novelties import SIZES, UNMEASURED_SHARE, Novelties, NoveltyTable, positions
from stowplan_predictor.training.data.folds import fold_of
from stowplan_predictor.training.data.samples import Sample

NOVELTY: Final = "networks/novelty.npy"
# Share of held-out networks that may be called out of distribution.
QUANTILE: Final = 0.98
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


def _bytes(array: NDArray[np.float32]) -> bytes:
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def opened(samples: Sequence[Sample], threshold: float, typical_error_log: float) -> tuple[NoveltyTable, bytes]:
    """Table and file of a bundle that was trained on those samples."""
    types, array = reach(samples)
    return NoveltyTable(NOVELTY, types, SIZES, threshold, QUANTILE, typical_error_log), _bytes(array)


@dataclass(frozen=True, slots=True)
class Score:
    """How novel one network is to the folds it does not belong to."""

    sample: Sample
    fold: int
    novelty: float
    unmeasured_share: float
    """Of its predicted time in kernels of types that none of those folds holds."""


def threshold_of(scores: Sequence[Score]) -> float:
    """The novelty that QUANTILE of held-out networks stay below."""
    return float(np.quantile([score.novelty for score in scores], QUANTILE))


def fires(score: Score, threshold: float) -> bool:
    """Whether a network would be called out of distribution."""
    return score.novelty > threshold or score.unmeasured_share > UNMEASURED_SHARE


def held_out_scores(samples: Sequence[Sample], splits: Mapping[str, int], shares: Mapping[str, NDArray[np.float64]]) -> list[Score]:
    """Scores of every network by the reach of the folds it is not in.

    Args:
        samples: of the training set, isolated kernels too.
        splits: fold of each family.
        shares: of each kernel in its network's predicted time, by network; networks that are not there are not scored.
    """
    dealt = [(fold_of(sample, splits), sample) for sample in samples]
    found = []
    for number in sorted({fold for fold, sample in dealt if fold is not None and sample.name in shares}):
        table, content = opened([sample for fold, sample in dealt if fold != number], np.inf, 0.0)
        novelties = Novelties(table, content)
        for fold, sample in dealt:
            if fold == number and sample.name in shares:
                share = shares[sample.name]
                strange = np.array([name not in table.types for name in sample.work.types])
                found.append(Score(sample, number, novelties.score(sample.work, share), float(share[strange].sum())))
    return found
