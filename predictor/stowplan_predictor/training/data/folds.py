"""Which networks learn and which are judged: whole families change sides together, so nobody is judged by a model that saw a relative.

Five folds by `datasets/splits.json`, and one more for the light models of the onnx package: they are judged together, by a model that learned from neither them
nor any network of their families.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data.samples import Sample

# The fold of the light models.
LIGHT_FOLD: Final = -1
# Isolated kernels are no networks: they teach, and are never judged.
ISOLATED: Final = "isolated"
LIGHT: Final = "light"


class Fold(NamedTuple):
    """One round: what is learned from, and what is judged."""

    number: int
    """From `splits.json`, or LIGHT_FOLD."""
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]


def fold_of(sample: Sample, splits: Mapping[str, int]) -> int | None:
    """The fold that judges a network; None for isolated kernels of no family's own, which belong to none and teach in all.

    Raises:
        DatasetRefused: a network's family has no fold.
    """
    if sample.split == LIGHT:
        return LIGHT_FOLD
    fold = splits.get(sample.family)
    if fold is None and sample.split != ISOLATED:
        raise DatasetRefused(f"network {sample.name}: its family {sample.family!r} has no fold in splits.json; deal it one")
    return fold


def held_out_folds(samples: Iterable[Sample], splits: Mapping[str, int]) -> Iterator[Fold]:
    """Every fold in ascending order, the light models' first; no family is on both sides of one.

    Args:
        samples: all networks (and isolated kernels) of a data set.
        splits: fold of each family.

    Raises:
        DatasetRefused: a network's family has no fold.
    """
    dealt = [(fold_of(sample, splits), sample) for sample in sorted(samples, key=lambda sample: sample.name)]
    for number in sorted({fold for fold, sample in dealt if fold is not None and sample.split != ISOLATED}):
        test = tuple(sample for fold, sample in dealt if fold == number and sample.split != ISOLATED)
        strange = {sample.family for sample in test}
        train = tuple(sample for fold, sample in dealt if fold not in (number, LIGHT_FOLD) and sample.family not in strange)
        yield Fold(number, train, test)


def inner_split(train: Sequence[Sample], share: float, seed: int) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Parts a training set once more, families whole: (to learn from, to stop early and to choose by).

    Args:
        train: of one fold.
        share: of the networks of each split (zoo, fnn, cnn...) that the second part holds at least, between 0 and 1.
        seed: another seed, another dealing.
    """
    chosen: set[str] = set()
    for split in sorted({sample.split for sample in train}):
        own = [sample for sample in train if sample.split == split]
        families = sorted({sample.family for sample in own}, key=lambda family: hashlib.sha256(f"{seed}/{family}".encode()).digest())
        counts = {family: sum(sample.family == family for sample in own) for family in families}
        held = 0
        # The last family stays with the learners: a split of one family only cannot be parted.
        for family in families[:-1]:
            if held >= share * len(own):
                break
            chosen.add(family)
            held += counts[family]
    return tuple(sample for sample in train if sample.family not in chosen), tuple(sample for sample in train if sample.family in chosen)
