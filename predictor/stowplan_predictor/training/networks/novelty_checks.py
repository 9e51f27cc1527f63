"""Whether the out-of-distribution flag fires on what was never seen and stays silent on families that were merely held out: counts, by the serving code."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stowplan_predictor.kernels.novelties import UNMEASURED_SHARE, Novelties, NoveltyTable
from stowplan_predictor.kernels.workloads import COLUMNS, Workloads
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.networks.novelty_fits import Gaps, encoded, reach_of

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


def held_out(found: Sequence[Gaps]) -> dict[str, Fired]:
    """Networks of held-out families whose kinds of kernels were measured, by split; each judged by a reach that its own fold did not set."""
    counts: dict[str, Fired] = {}
    for fold in sorted({item.fold for item in found}):
        others = [item for item in found if item.fold != fold] or list(found)
        own = [item for item in found if item.fold == fold and item.unmeasured_share <= UNMEASURED_SHARE]
        reach = reach_of(others, {str(name) for item in own for name in item.sample.work.types})
        for item in own:
            before = counts.get(item.sample.split, Fired(0, 0))
            counts[item.sample.split] = Fired(before.fired + reach.fires(item), before.of + 1)
    return counts


def strange(found: Sequence[Gaps]) -> dict[str, Fired]:
    """Networks of held-out families that spend time in kernels of a type that no other fold holds, by split: for them the flag is right to fire."""
    counts: dict[str, Fired] = {}
    for item in found:
        if item.unmeasured_share > UNMEASURED_SHARE:
            before = counts.get(item.sample.split, Fired(0, 0))
            counts[item.sample.split] = Fired(before.fired + 1, before.of + 1)
    return counts


def unseen_types(samples: Sequence[Sample], shares: Mapping[str, NDArray[np.float64]], table: NoveltyTable, content: bytes) -> dict[str, Fired]:
    """For each kernel type that matters to some network: all that was measured of it is taken out of the reach, and the flag must fire on those networks."""
    points = np.load(io.BytesIO(content), allow_pickle=False)
    found = {}
    for index, name in enumerate(table.types):
        hit = [
            sample for sample in samples
            if sample.name in shares and shares[sample.name][np.array(sample.work.types) == name].sum() > _TYPE_SHARE
        ]  # fmt: skip
        if hit:
            kept = points[points[:, 0] != index]
            # Positions in `types` stay as they are: a name that nobody has stands in for the one taken out.
            without = replace(table, types=tuple("" if other == name else other for other in table.types))
            novelties = Novelties(without, encoded(kept))
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
