"""Whether the out-of-distribution flag fires on what was never seen and stays silent on families that were merely held out: counts, by the serving code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.novelties import Novelties
from stowplan_predictor.kernels.workloads import COLUMNS, Workloads
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.networks import novelty_fits
from stowplan_predictor.training.networks.novelty_fits import Score

# How much larger than measured a network is made, in every channel and feature dimension.
_LARGER: Final = 10.0
# A type counts as held out completely only where some networks spend this share of their time in it; else nothing is missed.
_TYPE_SHARE: Final = 0.05
# Powers of the factor that a wider network's sizes grow by: its activations once, its weights twice, its rows (positions, pixels, batch) not at all.
_WIDER: Final[Mapping[str, int]] = {
    "flops": 2, "input_bytes": 1, "output_bytes": 1, "parameter_bytes": 2, "n": 1, "k": 1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fired:
    """How often the flag fired."""

    fired: int
    of: int

    def plain(self) -> dict[str, Any]:
        """As the manifest holds it."""
        return {"fired": self.fired, "of": self.of}


def held_out(scores: Sequence[Score]) -> dict[str, Fired]:
    """Networks of held-out families, by split; each judged by a threshold that its own fold did not set."""
    found: dict[str, Fired] = {}
    for score in scores:
        others = [other for other in scores if other.fold != score.fold] or list(scores)
        fired = novelty_fits.fires(score, novelty_fits.threshold_of(others))
        before = found.get(score.sample.split, Fired(0, 0))
        found[score.sample.split] = Fired(before.fired + fired, before.of + 1)
    return found


def unseen_types(samples: Sequence[Sample], shares: Mapping[str, NDArray[np.float64]], threshold: float) -> dict[str, Fired]:
    """For each kernel type that matters to some network: every network that has it is taken out of the training set, and the flag must fire on those."""
    found = {}
    for name in sorted({str(kind) for sample in samples for kind in sample.work.types}):
        without = [sample for sample in samples if name not in sample.work.types]
        hit = [
            sample for sample in samples
            if sample.name in shares and shares[sample.name][np.array(sample.work.types) == name].sum() > _TYPE_SHARE
        ]  # fmt: skip
        if hit and without:
            table, content = novelty_fits.opened(without, threshold, 0.0)
            novelties = Novelties(table, content)
            found[name] = Fired(sum(bool(novelties.of(sample.work, shares[sample.name]).reasons) for sample in hit), len(hit))
    return found


def wider(work: Workloads, factor: float = _LARGER) -> Workloads:
    """The same network with that many times the channels or features everywhere; depthwise kernels get as many more groups."""
    numbers = work.numbers.copy()
    for name, power in _WIDER.items():
        numbers[:, COLUMNS.index(name)] *= factor**power
    grouped = work.column("groups") > 1
    # A group's own channels stay as they are: there are more groups.
    numbers[grouped, COLUMNS.index("k")] = work.column("k")[grouped]
    numbers[grouped, COLUMNS.index("groups")] *= factor
    numbers[grouped, COLUMNS.index("parameter_bytes")] = work.column("parameter_bytes")[grouped] * factor
    return replace(work, numbers=numbers)


def larger(samples: Sequence[Sample], shares: Mapping[str, NDArray[np.float64]], novelties: Novelties) -> dict[str, Fired]:
    """Every measured network made ten times as wide, by split. What is still within reach of some measured network then is rightly let pass."""
    found: dict[str, Fired] = {}
    for sample in samples:
        if sample.name in shares:
            fired = bool(novelties.of(wider(sample.work), shares[sample.name]).reasons)
            before = found.get(sample.split, Fired(0, 0))
            found[sample.split] = Fired(before.fired + fired, before.of + 1)
    return found
