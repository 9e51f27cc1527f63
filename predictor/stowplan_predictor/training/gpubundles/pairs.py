"""Pairs: a network beside one that never rests, against the published law of that way of sharing, and by what other pairs showed.

A pair is predicted by pairs in which its subject has no part. The times and shares that the law starts from are those of the models of all networks: what is
judged is the slowdown, and the isolated time is judged by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from stowplan_fleet.slices import SliceKind

from stowplan_predictor.gpus import sharings
from stowplan_predictor.gpus.latencies import GpuRun
from stowplan_predictor.gpus.measurements import SharingLaw
from stowplan_predictor.gpus.sharings import Client, Slowdown
from stowplan_predictor.gpus.tasks import Network
from stowplan_predictor.kernels.intervals import conformal, least_residuals
from stowplan_predictor.training.cuda.rows import PairRow
from stowplan_predictor.training.gpubundles import laws, networks
from stowplan_predictor.training.gpubundles.models import Learned
from stowplan_predictor.training.gpubundles.predictions import PairPrediction
from stowplan_predictor.training.gpubundles.truths import Truths

# Pairs of one way of sharing below which it stays with the published law.
_LEAST: Final = 4


@dataclass(frozen=True, slots=True)
class Beside:
    """A pair, and what the published law says of it."""

    row: PairRow
    kind: SliceKind
    law: Slowdown

    @property
    def alone_ms(self) -> float:
        """Mean of before and after."""
        return (self.row.alone_ms + self.row.alone_again_ms) / 2

    @property
    def measured(self) -> float:
        """Slowdown."""
        return self.row.beside_ms / self.alone_ms


def beside(truths: Truths, known_by: Learned, known: Mapping[str, Network]) -> list[Beside]:
    """Pairs of networks that can be judged."""
    rows = [row for row in truths.pairs if row.subject in known and row.neighbour in known]
    places = [networks.where(truths.product, row.sharing) for row in rows]
    subjects = known_by.runs([(known[row.subject], at) for row, at in zip(rows, places, strict=True)])
    neighbours = known_by.runs([(known[row.neighbour], at) for row, at in zip(rows, places, strict=True)])
    found = []
    for row, at, one, other in zip(rows, places, subjects, neighbours, strict=True):
        kind = at.share.slice.kind
        found.append(Beside(row, kind, sharings.slowdown(kind, _client(one, 0.0), [_client(other, float("inf"))])))
    return found


def _client(run: GpuRun, rate: float) -> Client:
    return Client(run.isolated.median_ms, rate, run.computing, run.traffic)


def predictions(everyone: Sequence[Beside]) -> list[PairPrediction]:
    """Each pair by those in which its subject has no part; none where there are too few of those."""
    found = []
    for pair in everyone:
        others = [other for other in everyone if other.kind is pair.kind and pair.row.subject not in (other.row.subject, other.row.neighbour)]
        if len(others) >= _LEAST:
            noise = abs(pair.row.alone_ms - pair.row.alone_again_ms) / pair.alone_ms
            said = _fitted(others).of(pair.law)
            found.append(PairPrediction(pair.row.subject, pair.row.neighbour, pair.row.sharing, pair.measured, said, pair.law.median, noise))
    return found


def sharing_laws(product: str, everyone: Sequence[Beside], judged: Sequence[PairPrediction], coverage: float) -> tuple[SharingLaw, ...]:
    """What a bundle carries of each way of sharing that enough pairs were measured of."""
    found = []
    for kind in (SliceKind.MPS, SliceKind.TIME):
        mine = [pair for pair in everyone if pair.kind is kind]
        left = [float(np.log(row.measured / row.predicted)) for row in judged if row.sharing.startswith(kind.value)]
        if len(mine) >= _LEAST:
            fitted = _fitted(mine)
            interval = conformal(left, coverage) if len(left) >= least_residuals(coverage) else None
            found.append(SharingLaw(product, kind, fitted.by_law, fitted.by_busy, interval, len(mine)))
    return tuple(found)


def _fitted(pairs: Sequence[Beside]) -> laws.Neighbours:
    return laws.neighbours([pair.law for pair in pairs], np.array([pair.measured for pair in pairs]))
