"""Kernel systems: each from samples to an estimator that serves, and to the files that a bundle carries.

`trees`: per kernel type, recipes chosen on families held out; `forests`: per kernel type, random forests; `boosted`: one gradient-boosted model of all
types; `gnn`: graph attention over the kernels' insides; `gnn-raw`: the same on raw milliseconds. A blend is the mean of some systems' log ratios and
costs no training.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.estimators import KERNELS, KernelEstimator, KernelTable
from stowplan_predictor.kernels.features import FEATURES
from stowplan_predictor.kernels.members import POOLED, MemberTable
from stowplan_predictor.kernels.ranges import TypeRange
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.kernels.subgraphs import NODES
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.kernels import boosted_trees, forests, graph_fits, network_rows, type_regressors
from stowplan_predictor.training.kernels import rows as kernel_rows
from stowplan_predictor.training.kernels.held_families import held_families
from stowplan_predictor.training.kernels.rows import KernelRows
from stowplan_predictor.training.kernels.type_regressors import TypeFit, thinned

# Rows that one model learns from at most: enough for every type, and a fold's fit stays within its minute.
_MOST_ROWS: Final = 80_000
# Held-out rows that a range's own error quantile needs; else that of all rows stands in.
_LEAST_ERRORS: Final = 20


@dataclass(frozen=True)
class FittedKernels:
    """One system, fitted."""

    table: KernelTable
    models: Mapping[str, bytes]
    """ONNX files by path."""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Error on families held out while training went on, by network; empty where nothing is trained in steps."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_estimator", KernelEstimator(self.table, self.models))

    @property
    def estimator(self) -> KernelEstimator:
        """As the serving code opens it."""
        found: KernelEstimator = self._estimator  # type: ignore[attr-defined]
        return found

    @property
    def names_types(self) -> bool:
        """Whether it tells what the runtime runs for a kernel."""
        return any(member.runtime_types for member in self.table.members)

    @property
    def files(self) -> Mapping[str, bytes]:
        """Everything that a bundle needs of kernels."""
        return {**self.models, KERNELS: self.table.encoded()}

    def efficiencies(self, sample: Sample, slice_: str) -> Efficiencies:
        """Of every kernel of a network on a slice.

        Raises:
            CannotJudge: a kernel nothing like which was measured.
        """
        outcome = self.estimator.efficiencies([(sample.work, sample.measured[slice_].slice_)])[0]
        if isinstance(outcome, CannotJudge):
            raise CannotJudge(outcome.reason, outcome.message)
        return outcome


Fitter = Callable[[Sequence[Sample], int], FittedKernels]


def _ranges(rows: KernelRows, error_of: Callable[[str], float]) -> dict[str, TypeRange]:
    return {key: kernel_rows.type_range(rows.only(mask), error_of(key)) for key, mask in kernel_rows.members(rows).items()}


def _table(rows: KernelRows, members: Sequence[MemberTable], error_of: Callable[[str], float]) -> KernelTable:
    return KernelTable(FEATURES, NODES, _ranges(rows, error_of), kernel_rows.classes(rows), tuple(members))


def _quantiles(types: NDArray[np.str_], errors: NDArray[np.float64], rows: KernelRows) -> Callable[[str], float]:
    """0.9 quantile of the errors of a range's types, where enough of them were held out."""
    overall = float(np.quantile(errors, 0.9))
    held = {key: np.unique(rows.types[mask]) for key, mask in kernel_rows.members(rows).items()}

    def error_of(key: str) -> float:
        own = errors[np.isin(types, held[key])]
        return float(np.quantile(own, 0.9)) if len(own) >= _LEAST_ERRORS else overall

    return error_of


def _by_type(fit: Callable[[KernelRows, int], TypeFit]) -> Fitter:
    def fitter(samples: Sequence[Sample], seed: int) -> FittedKernels:
        rows = thinned(kernel_rows.kernel_rows(samples), _MOST_ROWS)
        found = fit(rows, seed)
        overall = np.concatenate(list(found.errors.values()))

        def error_of(key: str) -> float:
            return float(np.quantile(found.errors[key] if len(found.errors[key]) else overall, 0.9))

        return FittedKernels(_table(rows, [found.table], error_of), found.files)

    return fitter


def _ranked(rows: KernelRows) -> tuple[str, ...]:
    """Kernel types and classes in the order of their mean log ratio: neighbours are alike, so that one cut tells many apart."""
    means = {key: float(np.average(rows.log_ratio[mask], weights=rows.weight[mask])) for key, mask in kernel_rows.members(rows).items()}
    means |= {str(name): float(np.mean(rows.log_ratio[rows.types == name])) for name in np.unique(rows.types) if name not in means}
    return tuple(sorted(means, key=lambda name: (means[name], name)))


def fit_boosted(samples: Sequence[Sample], seed: int) -> FittedKernels:
    """One model for all types; the number of rounds is the best on families held out."""
    rows = thinned(kernel_rows.kernel_rows(samples), _MOST_ROWS)
    ranked = _ranked(rows)
    places = {name: float(number) for number, name in enumerate(ranked, start=1)}
    matrix = np.column_stack([rows.features, np.array([places[name] for name in rows.types], dtype=np.float32)])
    held = held_families(rows, 0, 5)
    first = boosted_trees.fit(matrix[~held], rows.log_ratio[~held], rows.weight[~held], boosted_trees.DEFAULT, seed)
    rounds = boosted_trees.best_rounds(first, matrix[held], rows.log_ratio[held], rows.weight[held])
    errors = np.abs(first.predict(matrix[held]) - rows.log_ratio[held])
    last = boosted_trees.fit(matrix, rows.log_ratio, rows.weight, replace(boosted_trees.DEFAULT, rounds=max(50, rounds)), seed)
    path = "kernels/boosted.onnx"
    member = MemberTable(POOLED, {"": path}, 1.0, ranked)
    return FittedKernels(_table(rows, [member], _quantiles(rows.types[held], errors, rows)), {path: boosted_trees.to_model(last, matrix.shape[1])})


def _graphs(name: str, *, raw: bool) -> Fitter:
    def fitter(samples: Sequence[Sample], seed: int) -> FittedKernels:
        rows = thinned(kernel_rows.kernel_rows(samples), _MOST_ROWS)
        sums = None if raw else network_rows.network_rows(samples, rows.joined)
        fit = graph_fits.fit_graphs(rows, sums, seed, raw=raw, networks=1 if raw else 2, name=name)
        return FittedKernels(_table(rows, fit.tables, _quantiles(fit.error_types, fit.errors, rows)), fit.files, fit.curves)

    return fitter


KERNEL_SYSTEMS: Final[Mapping[str, Fitter]] = {
    "trees": _by_type(type_regressors.fit_trees),
    "boosted": fit_boosted,
    "forests": _by_type(forests.fit_forests),
    "gnn": _graphs("gnn", raw=False),
    "gnn-raw": _graphs("gnn-raw", raw=True),
}
# Systems whose answers are averaged. None holds `trees`: a session a type takes a server more memory than all other models together.
BLENDS: Final[Mapping[str, tuple[str, ...]]] = {
    "blend": ("boosted", "gnn"),
    "forests-boosted": ("forests", "boosted"),
    "forests-gnn": ("forests", "gnn"),
    "forests-boosted-gnn": ("forests", "boosted", "gnn"),
}


def blended(parts: Sequence[Efficiencies]) -> Efficiencies:
    """The mean of some systems' log ratios, as the estimator of `blend` says it.

    Args:
        parts: of the same kernels, at least one.
    """
    ratio = np.stack([part.log_ratio for part in parts])
    ceiling = np.stack([part.ceiling for part in parts])
    strange = np.any(ceiling > ratio, axis=0)
    return Efficiencies(
        log_ratio=np.mean(ratio, axis=0),
        extrapolated=np.asarray(np.any(np.stack([part.extrapolated for part in parts]), axis=0), dtype=np.bool_),
        error_log=np.mean(np.stack([part.error_log for part in parts]), axis=0),
        ceiling=np.where(strange, np.max(ceiling, axis=0), np.mean(ratio, axis=0)),
        distance=np.max(np.stack([part.distance for part in parts]), axis=0),
        spread=np.ptp(ratio, axis=0),
    )


def blend(parts: Sequence[FittedKernels]) -> FittedKernels:
    """One system whose members are those of some others, each of which weighs the same; all must have learned from the same rows."""
    members = [
        replace(member, weight=member.weight / sum(other.weight for other in part.table.members)) for part in parts for member in part.table.members
    ]  # fmt: skip
    first = parts[0].table
    ranges = {
        key: replace(own, error_log=float(np.mean([part.table.ranges[key].error_log for part in parts]))) for key, own in first.ranges.items()
    }  # fmt: skip
    models = {path: content for part in parts for path, content in part.models.items()}
    curves = {name: curve for part in parts for name, curve in part.curves.items()}
    return FittedKernels(replace(first, members=tuple(members), ranges=ranges), models, curves)
