"""What is learned from some families of networks: kernel models and the weights of networks; and what it says of a network, as served."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from stowplan_predictor.gpus import latencies
from stowplan_predictor.gpus.estimators import Estimate
from stowplan_predictor.gpus.latencies import GpuRun
from stowplan_predictor.gpus.machines import Place
from stowplan_predictor.gpus.measurements import TERMS, NetworkLaw
from stowplan_predictor.gpus.tasks import Network
from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.training.cuda.rows import NetworkRow
from stowplan_predictor.training.gpubundles import laws, networks
from stowplan_predictor.training.gpubundles.calibrations import Calibrated
from stowplan_predictor.training.gpubundles.laws import Weights

_NONE: Final = LogInterval(0.0, 0.0)
# Rows on shares below which physics stays as it is.
_LEAST: Final = 6
_POWERS: Final = tuple(step / 20 for step in range(41))


@dataclass(frozen=True, slots=True)
class Learned:
    """Kernel models with the weights of networks."""

    product: str
    model: Calibrated
    weights: Weights
    networks: int
    part_power: float = 1.0

    def law(self, interval: LogInterval = _NONE, part: LogInterval | None = None) -> NetworkLaw:
        """As a bundle carries it."""
        weights = dict(zip(TERMS, self.weights.terms.tolist(), strict=True))
        return NetworkLaw(self.product, weights, self.weights.once_ms, self.networks, interval, part, self.part_power)

    def estimates(self, asked: Sequence[tuple[Network, Place]]) -> list[Estimate]:
        """Kernels of networks on parts of the GPU."""
        return self.model.estimator().estimates([(network.tasks, at) for network, at in asked])

    def runs(self, asked: Sequence[tuple[Network, Place]], estimates: Sequence[Estimate] | None = None) -> list[GpuRun]:
        """Networks on parts of the GPU, as they are served; `estimates` where they are known already."""
        table = replace(self.model.table, networks=self.law())
        found = self.estimates(asked) if estimates is None else estimates
        return [latencies.run(network, at, estimate, table) for (network, at), estimate in zip(asked, found, strict=True)]


def learned(product: str, model: Calibrated, known: Mapping[str, Network], rows: Sequence[NetworkRow], shares: Sequence[NetworkRow] = ()) -> Learned:
    """Weights from networks on the whole GPU, and what MPS shares cost from networks on those.

    Args:
        product: the GPU.
        model: its kernels.
        known: networks by name.
        rows: on the whole GPU.
        shares: on MPS shares, or in green contexts of their size; any others are passed over.
    """
    at = networks.where(product, "full")
    found = model.estimator().estimates([(known[row.network].tasks, at) for row in rows])
    terms = np.array([networks.terms(known[row.network], one) for row, one in zip(rows, found, strict=True)]).reshape(len(rows), len(TERMS))
    found_weights = laws.weights(terms, np.array([row.wall_ms for row in rows]))
    return _shared(Learned(product, model, found_weights, len(rows)), known, [row for row in shares if row.partition.startswith(("mps-", "green-"))])


def _shared(plain: Learned, known: Mapping[str, Network], shares: Sequence[NetworkRow]) -> Learned:
    """With the power that brings predictions on shares nearest to what was measured there."""
    if len(shares) < _LEAST:
        return plain
    asked = [(known[row.network], networks.where(plain.product, row.partition)) for row in shares]
    estimates, measured = plain.estimates(asked), np.log([row.wall_ms for row in shares])

    def missed(power: float) -> float:
        runs = replace(plain, part_power=power).runs(asked, estimates)
        return float(np.mean(np.abs(measured - np.log([run.isolated.median_ms for run in runs]))))

    return replace(plain, part_power=min(_POWERS, key=missed))
