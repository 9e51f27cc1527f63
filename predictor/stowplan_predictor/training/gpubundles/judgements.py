"""Judgements: every family of networks in turn is taken away from kernels and networks alike, all is learned from the rest, and the family is predicted.

Folds are of whole families (a fifth of them each), and a kernel belongs to the family of the network that it is of. So nothing of a network, of its kernels or
of its relatives taught the models that predict it.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import nnls

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.gpus.tasks import FAMILIES, Matrix, Network
from stowplan_predictor.kernels.intervals import least_residuals
from stowplan_predictor.training.cuda.rows import NetworkRow
from stowplan_predictor.training.gpubundles import calibrations, models, networks
from stowplan_predictor.training.gpubundles.calibrations import Calibrated
from stowplan_predictor.training.gpubundles.kernels import Kernels
from stowplan_predictor.training.gpubundles.predictions import KernelError, NetworkPrediction
from stowplan_predictor.training.gpubundles.truths import Truths

COVERAGE: Final = 0.9
_FOLDS: Final = 5
_LEAST_FAMILIES: Final = 10


@dataclass(frozen=True, slots=True)
class Judged:
    """What held-out families showed."""

    networks: tuple[NetworkPrediction, ...]
    kernels: tuple[KernelError, ...]
    kernel_residuals: Mapping[str, Matrix]
    """By family of kernels: log(measured / predicted) of networks that were held out."""


def fold(family: str) -> int:
    """Which round judges a family: drawn by its name, so that it stays where it is when others join."""
    return zlib.crc32(family.encode()) % _FOLDS


def enough(rows: Sequence[NetworkRow]) -> None:
    """Refuses to learn from too little.

    Raises:
        DatasetRefused: too few networks, or of too few families.
    """
    families, wanted = {row.family for row in rows}, least_residuals(COVERAGE)
    if len(rows) < wanted or len(families) < _LEAST_FAMILIES:
        raise DatasetRefused(
            f"networks.parquet: {len(rows)} networks of {len(families)} families on the whole GPU can be judged; an interval needs {wanted} networks and "
            f"{_LEAST_FAMILIES} families: go on with the campaign (the command that began it)"
        )


def judge(truths: Truths, kernels: Kernels, base: Calibrated, known: Mapping[str, Network]) -> Judged:
    """Predictions of all networks and kernels, each by models that saw no relative of it.

    Raises:
        DatasetRefused: too few networks were measured.
    """
    whole = [row for row in truths.whole if row.network in known]
    enough(whole)
    plain = _public_ms(truths, base, known)
    predicted: list[NetworkPrediction] = []
    residuals: dict[str, list[Matrix]] = {family: [] for family in FAMILIES}
    untrained: dict[str, list[Matrix]] = {family: [] for family in FAMILIES}
    rule = calibrations.calibrated(base, truths.product, kernels.part(np.zeros(len(kernels), dtype=np.bool_)))
    families = sorted({row.family for row in whole} | set(kernels.networks.tolist()))
    for number in sorted({fold(family) for family in families}):
        away = {family for family in families if fold(family) == number}
        taught = [row for row in whole if row.family not in away]
        held = np.isin(kernels.networks, sorted(away))
        model = calibrations.calibrated(base, truths.product, kernels.part(~held))
        _leftovers(truths.product, model, kernels.part(held), residuals)
        _leftovers(truths.product, rule, kernels.part(held), untrained)
        asked = [row for row in (*whole, *truths.parts) if row.family in away and row.network in known]
        if asked:
            predicted += _networks(truths, model, known, taught=taught, asked=asked, plain=plain)
    errors = [KernelError(family, *_errors(residuals[family], untrained[family])) for family in FAMILIES if residuals[family]]
    return Judged(tuple(predicted), tuple(errors), {family: np.concatenate(parts) for family, parts in residuals.items() if parts})


def _leftovers(product: str, model: Calibrated, held: Kernels, found: dict[str, list[Matrix]]) -> None:
    if len(held):
        left = np.log(held.latency_ms) - calibrations.log_ms(model, product, held.tasks)
        for family in set(held.families.tolist()):
            found[family].append(left[held.families == family])


def _errors(calibrated: Sequence[Matrix], public: Sequence[Matrix]) -> tuple[int, float, float]:
    mine, theirs = np.concatenate(calibrated), np.concatenate(public)
    return len(mine), *(float(100 * np.mean(np.abs(np.exp(-left) - 1))) for left in (mine, theirs))  # type: ignore[return-value]


def _public_ms(truths: Truths, base: Calibrated, known: Mapping[str, Network]) -> dict[tuple[str, str], float]:
    rows = [row for row in (*truths.whole, *truths.parts) if row.network in known]
    asked = [(known[row.network].tasks, networks.where(truths.product, row.partition)) for row in rows]
    return {(row.network, row.partition): float(one.part_ms.sum()) for row, one in zip(rows, base.estimator().estimates(asked), strict=True)}


def _networks(
    truths: Truths, model: Calibrated, known: Mapping[str, Network], *, taught: Sequence[NetworkRow], asked: Sequence[NetworkRow],
    plain: Mapping[tuple[str, str], float],
) -> Iterator[NetworkPrediction]:  # fmt: skip
    if not taught:
        raise DatasetRefused("networks.parquet: all networks are of families that are judged together; measure more families")
    places = [networks.where(truths.product, row.partition) for row in asked]
    shares = [row for row in truths.parts if row.network in known and row.family not in {one.family for one in asked}]
    runs = models.learned(truths.product, model, known, taught, shares).runs([(known[row.network], at) for row, at in zip(asked, places, strict=True)])
    mean = float(np.exp(np.mean([np.log(row.wall_ms) for row in taught])))
    slope, least = _line([(_flops(known[row.network]), row.wall_ms) for row in taught])
    whole = {row.network: row.wall_ms for row in truths.whole}
    for row, at, one in zip(asked, places, runs, strict=True):
        cut = row.partition != "full"
        yield NetworkPrediction(
            network=row.network, family=row.family, partition=row.partition, measured_ms=row.wall_ms,
            predicted_ms=one.isolated.median_ms,
            public_ms=plain[row.network, row.partition], mean_ms=None if cut else mean, linear_ms=None if cut else slope * _flops(known[row.network]) + least,
            whole_ms=whole.get(row.network) if cut else None, share=at.part.multiprocessors / at.whole.multiprocessors,
            noise=(row.wall_p95_ms - row.wall_p5_ms) / 2 / row.wall_ms,
        )  # fmt: skip


def _flops(network: Network) -> float:
    return float(network.work.column("flops").sum())


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope and level, neither below zero, with the least sum of squared relative errors."""
    flops, wall = (np.array(column) for column in zip(*points, strict=True))
    scale = float(flops.max())
    found, _ = nnls(np.column_stack([flops / scale, np.ones(len(wall))]) / wall[:, None], np.ones(len(wall)))
    return float(found[0]) / scale, float(max(found[1], 1e-9))
