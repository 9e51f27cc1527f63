"""Samples: which rows are learned from, and which shapes are kept away from every model to judge it.

A tenth of the shapes, by a hash of kind and numbers, is judged on every GPU and never learned from: a GPU that is held out is judged on new shapes.
Of the rest a fixed number for each kind and GPU is learned from, so that fits stay within minutes on one core.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.gpus.features import FEATURES, codes, feature_matrix
from stowplan_predictor.gpus.figures import Figures
from stowplan_predictor.gpus.rooflines import bounds
from stowplan_predictor.gpus.tasks import BATCHED, CONVOLUTION, KINDS, LINEAR, ROWS, Matrix
from stowplan_predictor.training.gpus.measured_figures import LEAST_MS, machine
from stowplan_predictor.training.gpus.tables import MODELS, KernelTable

_PARTS: Final = 10
# Rows for each kind and GPU.
_LEARNED: Final = {BATCHED: 4000, LINEAR: 4000, CONVOLUTION: 4500, ROWS: 500}
_LEARNED_LIGHT: Final = 200
# The rows that break every model: reported apart, and learned from by none.
TRAP: Final = ("P4", LINEAR)


@dataclass(frozen=True)
class Samples:
    """Rows with everything a system may look at."""

    table: KernelTable
    families: NDArray[np.str_]
    models: NDArray[np.str_]
    """GPU of each row: what is held out together."""
    features: NDArray[np.float32]
    """(rows, len(FEATURES) + 1): the features with the figures of each row's GPU, and the number of its kind."""
    bound_ms: Matrix
    """Physics with those figures."""
    launch_ms: Matrix
    """Of it, the launch."""
    host_ms: Matrix
    """What the host adds for shapes run before, with the figure of each row's GPU (`measured_figures.hosts`); no system has to learn it."""

    def __len__(self) -> int:
        return len(self.bound_ms)

    @property
    def log_ms(self) -> Matrix:
        """Logarithm of the measured milliseconds less the host's: what systems learn and say."""
        return np.asarray(np.log(np.maximum(self.table.latency_ms - self.host_ms, np.minimum(self.table.latency_ms, LEAST_MS))))

    def part(self, rows: NDArray[np.bool_]) -> "Samples":
        """Some rows."""
        chosen = np.flatnonzero(rows)
        return Samples(
            self.table.part(chosen), self.families[rows], self.models[rows], self.features[rows], self.bound_ms[rows], self.launch_ms[rows], self.host_ms[rows]
        )

    @property
    def trap(self) -> NDArray[np.bool_]:
        """Rows that are reported apart."""
        return np.asarray((self.models == TRAP[0]) & (self.families == TRAP[1]))


def judged(table: KernelTable) -> NDArray[np.bool_]:
    """Rows of shapes that no model learns from."""
    kinds = table.tasks.kinds
    keys = np.ascontiguousarray(table.tasks.numbers)
    digests = (hashlib.blake2b(kind.encode() + row.tobytes(), digest_size=4).digest() for kind, row in zip(kinds, keys, strict=True))
    return np.array([int.from_bytes(digest, "little") % _PARTS == 0 for digest in digests], dtype=np.bool_)


def learned(table: KernelTable, away: NDArray[np.bool_], seed: int = 0) -> NDArray[np.int64]:
    """Rows to learn from, ascending; the same table gives the same rows."""
    chance = np.random.default_rng(seed)
    kinds, models = np.array(table.tasks.kinds), table.models
    chosen = []
    for model in sorted(set(MODELS.values())):
        for kind, family in KINDS.items():
            rows = np.flatnonzero((models == model) & (kinds == kind) & ~away)
            chosen.append(chance.permutation(rows)[: _LEARNED.get(family, _LEARNED_LIGHT)])
    return np.sort(np.concatenate(chosen))


def samples(table: KernelTable, figures: Mapping[str, Figures], hosts: Mapping[str, float]) -> Samples:
    """Rows with their features.

    Args:
        table: the rows.
        figures: of every GPU in it, by what is held out together.
        hosts: likewise, milliseconds for each shape that was run before.
    """
    features = np.empty((len(table), len(FEATURES) + 1), dtype=np.float32)
    bound, launch, host = np.empty(len(table)), np.empty(len(table)), np.empty(len(table))
    for product, rows in table.by_product():
        tasks, model = table.tasks.part(rows), MODELS[product]
        features[rows, :-1] = feature_matrix(tasks, machine(product), figures[model])
        found = bounds(tasks, machine(product), figures[model])
        bound[rows], launch[rows] = found.smooth_ms, found.launch
        host[rows] = table.shapes_before[rows] * hosts[model]
    features[:, -1] = codes(table.tasks)
    return Samples(table, np.array([KINDS[kind] for kind in table.tasks.kinds]), table.models, features, bound, launch, host)
