"""Whether what the profiler saw adds up to what a run takes without it: which profiles may teach, and how many may not."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from stowplan_predictor.training.data import profiler_overheads
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.profiler_overheads import Pair, ProfilerOverhead

# The bar: the sum of a network's kernels, less what the profiler adds to each, lies within this share of the runs next to the profile.
AGREEMENT: Final = 0.05
# The visit to an isolated kernel right after its profile, in the same session; the rounds before had sessions, and buffers, of their own.
_BESIDE: Final = 3


@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of profiles and of the kernels in them."""

    profiles: int
    kernels: int
    agreeing_profiles: int
    agreeing_kernels: int
    above: int
    """Profiles that sum to more than the bar allows: the machine was slower while the profiler ran."""
    below: int
    """The other way round."""


def judged_pairs(dataset: Dataset) -> Iterator[Pair]:
    """Every profile with the run that it is judged by: of an isolated kernel the one right after it, the quietest where none was taken there."""
    beside = {(row.network, row.slice): row for row in dataset.isolated if row.repeat == _BESIDE}
    for pair in profiler_overheads.pairs(dataset):
        row = beside.get((pair.network, pair.slice))
        yield pair if row is None else Pair(pair.network, pair.slice, pair.kernels, pair.profiled_us, row.median_us)


def deviation(pair: Pair, overhead: ProfilerOverhead) -> float:
    """How much the corrected sum, with the session's own time, exceeds the run, as a share."""
    return (pair.profiled_us - overhead.kernel_us * pair.kernels + overhead.session_us) / pair.run_us - 1


def agreement(pairs: Iterable[Pair], overhead: ProfilerOverhead) -> Agreement:
    """Sums up profiles on one slice."""
    found = [(pair, deviation(pair, overhead)) for pair in pairs]
    agreeing = [pair for pair, share in found if abs(share) <= AGREEMENT]
    return Agreement(
        profiles=len(found),
        kernels=sum(pair.kernels for pair, _ in found),
        agreeing_profiles=len(agreeing),
        agreeing_kernels=sum(pair.kernels for pair in agreeing),
        above=sum(share > AGREEMENT for _, share in found),
        below=sum(share < -AGREEMENT for _, share in found),
    )
