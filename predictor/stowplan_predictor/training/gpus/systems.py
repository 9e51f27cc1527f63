"""Systems: ways to predict a kernel's milliseconds on a GPU that nobody measured, ours and its rivals.

* mean: the mean log latency of the kind. roofline: published peaks, nothing else.
* linear: least squares of milliseconds on FLOPs, bytes and one, each by kind (as relative error, so that long kernels do not decide everything), with the GPU's
  peaks as divisors: what a linear model can know of a GPU.
* forests, boosted: trees on shapes and on the GPU's published figures (multiprocessors, peaks, cache, clock, watts), to log milliseconds over the roofline.
* physics: launch, sustained rate and bandwidth (`gpus.figures`), nothing learned.
* ours: see `mixtures`. gnn and utilization: see `networks`.

Milliseconds are those without what the host adds for shapes run before: nobody has to learn it, and it is added to whatever anybody says.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from stowplan_predictor.gpus.tasks import COLUMNS, FAMILIES, Matrix
from stowplan_predictor.training.gpus import mixtures
from stowplan_predictor.training.gpus.measured_figures import machine, peaks_ms
from stowplan_predictor.training.gpus.samples import Samples

Predict = Callable[[Samples], Matrix]
"""From rows to log milliseconds."""
Fit = Callable[[Samples], Predict]

MOST_TYPES: Final = 5
_TREES: Final = 20
_LEAST_ROWS: Final = 8
# Few coarse trees: picked of four settings while looking at the errors of all five GPUs (on four of them it is also what the other four would have picked).
_ROUNDS: Final = 60


def _boosted_trees(features: NDArray[np.float32], target: Matrix) -> HistGradientBoostingRegressor:
    """Trees; the same rows give the same trees."""
    model = HistGradientBoostingRegressor(
        loss="squared_error",
        max_iter=_ROUNDS,
        learning_rate=0.1,
        max_leaf_nodes=12,
        min_samples_leaf=100,
        max_features=0.5,
        early_stopping=False,
        random_state=0,
    )
    return model.fit(features, target)


def _roofline(rows: Samples) -> Matrix:
    return np.log(np.maximum(np.maximum(*peaks_ms(rows.table)), 1e-6))


def _published(rows: Samples) -> NDArray[np.float32]:
    """Shapes and the GPU's published figures."""
    found = np.empty((len(rows), len(COLUMNS) + 7), dtype=np.float32)
    found[:, : len(COLUMNS)] = np.log(np.maximum(rows.table.tasks.numbers, 1.0))
    for product, places in rows.table.by_product():
        gpu = machine(product)
        numbers = (gpu.multiprocessors, gpu.flops_per_second, gpu.bandwidth_bytes_per_second, gpu.l2_bytes, gpu.clock_hz, gpu.watts)
        found[places, len(COLUMNS) : -1] = np.log(numbers)
    found[:, -1] = rows.features[:, -1]
    return found


def _by_family(rows: Samples, fit: Fit) -> Predict:
    """A model a family, each fitted once."""
    fitted = {family: fit(rows.part(rows.families == family)) for family in FAMILIES if (rows.families == family).any()}

    def predict(asked: Samples) -> Matrix:
        found = np.zeros(len(asked))
        for family in set(asked.families.tolist()):
            theirs = asked.families == family
            found[theirs] = fitted[family](asked.part(theirs))
        return found

    return predict


@dataclass(frozen=True)
class Means:
    """What is usual for each kind."""

    log_ms: Mapping[str, float]
    types: Mapping[str, tuple[str, ...]]

    def __call__(self, asked: Samples) -> Matrix:
        """Log milliseconds."""
        return np.array([self.log_ms[kind] for kind in asked.table.tasks.kinds])

    def likeliest(self, asked: Samples) -> list[tuple[str, ...]]:
        """The most frequent kernel types of each row's kind, most frequent first."""
        return [self.types[kind] for kind in asked.table.tasks.kinds]


def mean(rows: Samples) -> Predict:
    """See above."""
    kinds = np.array(rows.table.tasks.kinds)
    known = sorted(set(kinds.tolist()))
    frequent = {kind: Counter(rows.table.names[kinds == kind].tolist()).most_common(MOST_TYPES) for kind in known}
    return Means(
        {kind: float(rows.log_ms[kinds == kind].mean()) for kind in known},
        {kind: tuple(name for name, _ in names) for kind, names in frequent.items()},
    )


def roofline(rows: Samples) -> Predict:
    """See above."""
    del rows
    return _roofline


def physics(rows: Samples) -> Predict:
    """See above."""
    del rows
    return lambda asked: np.log(asked.bound_ms)


def _linear_terms(rows: Samples) -> Matrix:
    compute, memory = peaks_ms(rows.table)
    return np.column_stack([compute, memory, np.ones(len(rows))])


def linear(rows: Samples) -> Predict:
    """See above."""
    kinds = np.array(rows.table.tasks.kinds)
    terms = _linear_terms(rows)
    fits = {}
    for kind in set(kinds.tolist()):
        mine = kinds == kind
        weight = 1.0 / np.exp(rows.log_ms[mine])
        fits[kind] = np.linalg.lstsq(terms[mine] * weight[:, None], np.ones(mine.sum()), rcond=None)[0]

    def predict(asked: Samples) -> Matrix:
        coefficients = np.array([fits[kind] for kind in asked.table.tasks.kinds])
        return np.log(np.maximum((_linear_terms(asked) * coefficients).sum(axis=1), 1e-3))  # type: ignore[no-any-return] # NumPy knows no sum of a product

    return predict


def forests(rows: Samples) -> Predict:
    """See above."""

    def fit(mine: Samples) -> Predict:
        model = RandomForestRegressor(_TREES, max_features=0.4, min_samples_leaf=_LEAST_ROWS, n_jobs=1, random_state=0)
        model.fit(_published(mine), mine.log_ms - _roofline(mine))
        return lambda asked: np.asarray(model.predict(_published(asked)) + _roofline(asked))

    return _by_family(rows, fit)


def boosted(rows: Samples) -> Predict:
    """See above."""

    def fit(mine: Samples) -> Predict:
        model = _boosted_trees(_published(mine), mine.log_ms - _roofline(mine))
        return lambda asked: np.asarray(model.predict(_published(asked)) + _roofline(asked))

    return _by_family(rows, fit)


SYSTEMS: Final[Mapping[str, Fit]] = {
    "mean": mean,
    "roofline": roofline,
    "linear": linear,
    "forests": forests,
    "boosted": boosted,
    "physics": physics,
    "ours": mixtures.ours,
}


def all_systems() -> dict[str, Fit]:
    """Those above, and the networks: only they need torch."""
    from stowplan_predictor.training.gpus import networks  # noqa: PLC0415

    return {**SYSTEMS, "gnn": networks.gnn, "utilization": networks.utilization}
