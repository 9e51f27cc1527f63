"""Folds: nobody is judged by a model that saw its family, and nobody is left out of judgement."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_predictor.errors import DatasetRefused
from stowplan_predictor.training.data.folds import ISOLATED, LIGHT, LIGHT_FOLD, Fold, held_out_folds, inner_split
from stowplan_predictor.training.data.samples import Sample
from support.real_samples import smallest_samples, splits

pytestmark = pytest.mark.train

FAMILIES = ("alexnet", "resnet", "vgg", "vit", "swin", "fnn-3", "cnn-1", "iso")
SPLITS = ("zoo", "fnn", "cnn", "random", LIGHT, ISOLATED)


def named(number: int, family: str, split: str) -> Sample:
    """A real network under another name, in another family and split."""
    sample = next(iter(smallest_samples(6, 6, 1).networks.values()))
    return replace(sample, name=f"net-{number}", family=family, split=split)


dealt = st.lists(st.tuples(st.sampled_from(FAMILIES), st.sampled_from(SPLITS)), max_size=30).map(
    lambda kinds: [named(number, family, split) for number, (family, split) in enumerate(kinds)]
)
folds_of_families = st.fixed_dictionaries({family: st.integers(0, 4) for family in FAMILIES if family != "iso"})


def families(samples: tuple[Sample, ...]) -> set[str]:
    return {sample.family for sample in samples}


@given(dealt, folds_of_families)
def test_no_family_is_on_both_sides(samples: list[Sample], folds: dict[str, int]) -> None:
    """Whatever is measured and however families are dealt, what is judged shares no family with what is learned from."""
    networks = [replace(sample, family="alexnet") if sample.family == "iso" and sample.split != ISOLATED else sample for sample in samples]
    rounds = list(held_out_folds(networks, folds))

    for fold in rounds:
        assert not families(fold.train) & families(fold.test)
        assert all(sample.split != LIGHT for sample in fold.train)
        assert all(sample.split != ISOLATED for sample in fold.test)
        assert all((sample.split == LIGHT) == (fold.number == LIGHT_FOLD) for sample in fold.test)
    judged = [sample.name for fold in rounds for sample in fold.test]
    assert sorted(judged) == sorted(sample.name for sample in networks if sample.split != ISOLATED)
    assert [fold.number for fold in rounds] == sorted({fold.number for fold in rounds})


@given(dealt, st.floats(0.05, 0.6), st.integers(0, 9))
def test_the_inner_part_holds_families_whole(samples: list[Sample], share: float, seed: int) -> None:
    """What stops training early shares no family with what is learned from, holds its share where it can, and is drawn by the seed alone."""
    learned, held = inner_split(samples, share, seed)

    assert not families(learned) & families(held)
    assert sorted(sample.name for sample in (*learned, *held)) == sorted(sample.name for sample in samples)
    assert inner_split(samples, share, seed) == (learned, held)


def test_the_inner_part_has_its_share_of_every_split() -> None:
    """Published and random networks are both held back in part, and both are learned from."""
    samples = [sample for sample in smallest_samples(6, 6, 1).networks.values() if sample.split != LIGHT]
    learned, held = inner_split(samples, 0.2, 0)

    for split in ("zoo", "random"):
        own = [sample for sample in held if sample.split == split]
        assert len(own) >= 0.2 * sum(sample.split == split for sample in samples)
        assert any(sample.split == split for sample in learned)


def test_the_light_models_are_judged_without_their_families() -> None:
    """The committed data: the fold of the light models learns from no network of their families."""
    samples = smallest_samples(6, 6, 1).networks.values()
    fold: Fold = next(iter(held_out_folds(samples, splits())))

    assert fold.number == LIGHT_FOLD
    assert [sample.split for sample in fold.test] == [LIGHT]
    assert fold.test[0].family in {sample.family for sample in samples if sample.split == "zoo"}
    assert fold.test[0].family not in families(fold.train)


def test_a_family_without_a_fold_is_refused() -> None:
    """A network nobody dealt is named, not silently judged by a model that saw it."""
    with pytest.raises(DatasetRefused, match="'vit' has no fold"):
        list(held_out_folds([named(0, "vit", "zoo")], {"swin": 1}))
