"""What was measured of whole networks, without reading a graph: cheap enough for a page that is rendered at every check.

The truth is the one that training uses (`measurements.Measured.truth_ms`; a test holds both against each other): the quietest visit's median, on a fraction of
a core its mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stowplan_fleet.slices import parse_slice

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.folds import LIGHT, LIGHT_FOLD
from stowplan_predictor.training.data.generated_rows import RandomRow
from stowplan_predictor.training.data.measurements import Visit, quietest
from stowplan_predictor.training.data.noise_floors import FIRST_VISIT
from stowplan_predictor.training.data.profiler_overheads import LEAST_PAIRS, Pair, fit_pairs
from stowplan_predictor.training.data.rows import NetworkRow
from stowplan_predictor.training.data.sample_jobs import visits

Case = tuple[str, str]
"""Network and slice."""


@dataclass(frozen=True, slots=True)
class Truth:
    """One network on one slice, as it was measured."""

    network: str
    split: str
    family: str
    """Of a random network its generator's configuration."""
    slice: str
    fold: int
    ms: float
    """Of the quietest visit: median on whole cores, mean under a quota."""
    noisy: bool
    halves_ms: tuple[float, float] | None = None
    """The same by each half of the visits of today's protocol (every second one in time, and the others); None where there was one such visit only."""
    kernels_ms: tuple[float, float] | None = None
    """The run beside a profile, and the sum of the profiled kernels less what the profiler adds; of several profiles the one that agrees best; None where none
    was taken."""

    @property
    def case(self) -> Case:
        """Network and slice."""
        return self.network, self.slice


def is_fractional(slice_: str) -> bool:
    """True for a slice under a quota."""
    return parse_slice(slice_).cpu_millicores % 1000 != 0


def _ms(some: Sequence[Visit], slice_: str) -> float:
    fractional = is_fractional(slice_)
    visit = quietest(some, fractional=fractional)
    return visit.mean_ms if fractional else visit.median_ms


def _halves(some: Sequence[Visit], slice_: str) -> tuple[float, float] | None:
    return (_ms(some[::2], slice_), _ms(some[1::2], slice_)) if len(some) > 1 else None


def _homes(dataset: Dataset) -> dict[str, tuple[str, str]]:
    """Split and family of every network."""
    found = {name: (row.split, row.family) for name, row in dataset.structures.items()}
    return found | {row.network: (row.kind, row.family) for row in dataset.randoms}


def _fold(split: str, family: str, folds: Mapping[str, int]) -> int:
    if split == LIGHT:
        return LIGHT_FOLD
    if family not in folds:
        raise DatasetRefused(f"family {family!r} has no fold in splits.json; deal it one")
    return folds[family]


def _sums(dataset: Dataset) -> dict[Case, tuple[float, float]]:
    """Run and sum of kernels, by case."""
    pairs: dict[str, list[Pair]] = {}
    rows: list[NetworkRow | RandomRow] = [*dataset.networks, *dataset.randoms]
    for row in rows:
        if row.kernels_sum_ms is not None and row.kernels_count:
            pairs.setdefault(row.slice, []).append(Pair(row.network, row.slice, row.kernels_count, 1e3 * row.kernels_sum_ms, 1e3 * row.median_ms))
    found: dict[Case, tuple[float, float]] = {}
    for slice_, some in pairs.items():
        if len(some) < LEAST_PAIRS:
            continue
        overhead = fit_pairs(some)
        for pair in some:
            own = (pair.run_us / 1e3, max(0.0, pair.profiled_us - overhead.kernel_us * pair.kernels + overhead.session_us) / 1e3)
            best = found.setdefault((pair.network, slice_), own)
            if abs(own[1] / own[0] - 1) < abs(best[1] / best[0] - 1):
                found[pair.network, slice_] = own
    return found


def truths(dataset: Dataset, folds: Mapping[str, int]) -> dict[Case, Truth]:
    """Every network that was measured alone.

    Raises:
        DatasetRefused: a family has no fold.
    """
    sums, homes, found = _sums(dataset), _homes(dataset), {}
    for network, by_slice in sorted(visits(dataset).items()):
        if network not in homes:
            continue  # an isolated kernel: no network, and never judged
        split, family = homes[network]
        for name, some in by_slice.items():
            noisy = quietest(some, fractional=is_fractional(name)).noisy
            fold = _fold(split, family, folds)
            # Visits below the first number were taken by another protocol; random networks have known one protocol only.
            alike = [visit for visit in some if visit.repeat >= FIRST_VISIT or network not in dataset.structures]
            found[network, name] = Truth(network, split, family, name, fold, _ms(some, name), noisy, _halves(alike, name), sums.get((network, name)))
    return found
