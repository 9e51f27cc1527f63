"""From kernels to networks: dispatch costs, corrections, intervals and the reach of a training set, on small networks that were really measured."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="needs the training extra")

from stowplan_predictor.kernels.intervals import LogInterval
from stowplan_predictor.kernels.latencies import DeviceTable
from stowplan_predictor.kernels.novelties import UNMEASURED_SHARE, Novelties
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.networks import dispatch_fits, novelty_checks, novelty_fits, residual_fits
from stowplan_predictor.training.networks import fits as network_fits
from stowplan_predictor.training.networks.cases import Case, coverage, weights
from stowplan_predictor.training.networks.novelty_fits import Gaps, Reach
from stowplan_predictor.training.networks.residual_fits import NONE, Rows
from support.real_slices import small_samples
from threadpoolctl import threadpool_limits

pytestmark = pytest.mark.train

NETWORKS = 14
SLICE = "cpu:1"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in training: small fits in several threads only wait for each other."""
    with threadpool_limits(1):
        yield


def networks() -> list[Sample]:
    return [sample for sample in small_samples(NETWORKS)[1] if SLICE in sample.measured and sample.measured[SLICE].visits]


def efficiencies(sample: Sample, log_ratio: float) -> Efficiencies:
    count = len(sample.work.types)
    ratio = np.full(count, log_ratio)
    return Efficiencies(ratio, np.zeros(count, dtype=np.bool_), np.full(count, 0.2), ratio, np.zeros(count), np.zeros(count))


def cases(spread: float = 0.1) -> list[Case]:
    """Kernel predictions whose sum is off the truth by a known, seeded error: what is fitted must find scale 2 and no more error than that."""
    generator = np.random.default_rng(3)
    found = []
    for number, sample in enumerate(networks() * 3):
        measured = sample.measured[SLICE]
        exact = float(np.log(measured.truth_ms / measured.roofline_ms.sum()))
        found.append(Case(sample, SLICE, number % 4, efficiencies(sample, exact - np.log(2.0) + spread * generator.normal())))
    return found


def test_dispatch_costs_are_found_again() -> None:
    """Kernels predicted at half their time are scaled by two, whatever a few wild ones among them say."""
    some = cases(spread=0.02)
    wild = replace(some[0], efficiencies=efficiencies(some[0].sample, 5.0))

    found = dispatch_fits.fit_dispatch([*some[1:], wild])["1"]

    predicted = [case.run(DeviceTable({"1": found}, {}, ())).busy_ms / case.measured.truth_ms for case in some[1:]]
    assert np.median(predicted) == pytest.approx(1.0, abs=0.05)
    assert min(found.scale, found.per_kernel_ms, found.per_run_ms) >= 0


def test_nothing_to_learn_dispatch_from_is_said() -> None:
    """Without a network on whole cores there is no fit, and the message says what to do."""
    with pytest.raises(ValueError, match="make dataset"):
        dispatch_fits.fit_dispatch([])


def test_held_out_intervals_hold_what_they_promise() -> None:
    """Intervals calibrated on other folds hold about nine in ten truths: not fewer than chance explains, and not by being endless."""
    judged = network_fits.held_out(cases(), "here")

    assert coverage(judged) >= 0.75
    assert np.median([item.isolated.interval.upper - item.isolated.interval.lower for item in judged]) < 1.0


def test_a_correction_that_gains_nothing_is_left_out() -> None:
    """Pure noise is not corrected; a rule in the numbers is."""
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=(200, 4)).astype(np.float32)
    rows = Rows(numbers, 0.1 * generator.normal(size=200), np.ones(200), np.arange(200) % 4)
    ruled = replace(rows, target=rows.target + 0.5 * numbers[:, 0].astype(np.float64))

    assert residual_fits.choose(rows, (NONE, residual_fits.LINEAR)).kind == NONE
    assert residual_fits.choose(ruled, (NONE, residual_fits.LINEAR)).kind == residual_fits.LINEAR


def test_kinds_of_networks_are_balanced() -> None:
    """Thousands of generated networks weigh no more than their share beside the published ones."""
    published = cases()
    generated = [replace(case, sample=replace(case.sample, split="fnn")) for case in published * 3]

    found = weights([*published, *generated])

    assert found.mean() == pytest.approx(1.0)
    assert found[: len(published)].sum() > found[len(published) :].sum()


def test_the_same_cases_give_the_same_fit() -> None:
    """Nothing of a fit is left to chance: tables and files are equal byte by byte."""
    first, second = (network_fits.fit_networks(cases(), "here") for _ in range(2))

    assert first.table == second.table
    assert first.files == second.files


@pytest.mark.parametrize("values", [np.zeros(12), np.linspace(-1, 1, 12)])
def test_a_fraction_of_a_core_with_few_networks_keeps_all_its_residuals(values: np.ndarray) -> None:
    """Where too few networks were measured for an interval of their own, the whole core's is stretched until it holds every one of them."""
    whole = cases()
    slice_ = replace(whole[0].measured.slice_, millicores=500)
    few = [
        replace(case, sample=replace(case.sample, measured={SLICE: replace(case.measured, slice_=slice_)})) for case in whole[:12]
    ]  # fmt: skip

    found = network_fits.intervals([*whole, *few], np.concatenate([np.linspace(-0.1, 0.1, len(whole)), values]))

    assert found["500"].lower <= values.min()
    assert found["500"].upper >= values.max()
    assert found["1000"] == found["500"] or found["1000"].upper < found["500"].upper or values.max() == 0


def shares(samples: list[Sample]) -> dict[str, np.ndarray]:
    return {sample.name: np.full(len(sample.work.types), 1 / len(sample.work.types)) for sample in samples}


def reach(samples: list[Sample], threshold: float) -> Reach:
    return Reach(dict.fromkeys((name for sample in samples for name in sample.work.types), 1.0), threshold)


def test_what_was_never_seen_is_out_of_distribution() -> None:
    """A type that no training network held, and networks a hundred times as wide, are called out of distribution; those of the training set are not."""
    samples = networks()
    table, content = novelty_fits.opened(samples, reach(samples, 0.2), 0.3)
    novelties = Novelties(table, content)

    assert not any(novelties.of(sample.work, shares(samples)[sample.name]).reasons for sample in samples)
    assert all(novelties.of(novelty_checks.wider(sample.work, 100.0), shares(samples)[sample.name]).reasons for sample in samples)
    unseen = novelty_checks.unseen_types(samples, shares(samples), replace(table, threshold=np.inf), content)
    assert unseen
    assert all(item.fired == item.of for item in unseen.values())


def test_held_out_networks_set_their_own_threshold() -> None:
    """The threshold leaves all but a few held-out networks of measured kinds below it, no fold's threshold comes from itself, and the rest is told apart."""
    samples = networks()
    splits = {sample.family: number % 4 for number, sample in enumerate(samples)}

    gaps = novelty_fits.held_out_gaps(samples, splits, shares(samples))
    found = novelty_fits.reach_of(gaps, {name for sample in samples for name in sample.work.types})

    assert {item.sample.name for item in gaps} == {sample.name for sample in samples}
    measured = [item for item in gaps if item.unmeasured_share <= UNMEASURED_SHARE]
    assert sum(found.fires(item) for item in measured) <= 1 + (1 - novelty_fits.QUANTILE) * len(measured)
    assert all(found.fires(item) for item in gaps if item not in measured)
    told = [*novelty_checks.held_out(gaps).values(), *novelty_checks.strange(gaps).values()]
    assert sum(item.of for item in told) == len(gaps)


def gaps_of(sample: Sample, split: str, gap: float, number: int) -> Gaps:
    """A network of that split all of whose kernels lie that far from the nearest measured one."""
    count = len(sample.work.types)
    return Gaps(replace(sample, split=split, name=f"{split}-{number}", family=f"{split}-{number}"), number % 5, np.full(count, gap), np.full(count, 1 / count))


def test_the_kind_that_is_farthest_sets_the_threshold() -> None:
    """Many random networks that lie near do not make the flag fire on published ones that lie a little farther, as all published ones do."""
    sample = networks()[0]
    near = [gaps_of(sample, "fnn", 0.2 + 0.001 * number, number) for number in range(200)]
    far = [gaps_of(sample, "zoo", 0.5 + 0.001 * number, number) for number in range(100)]

    counts = novelty_checks.held_out([*near, *far])

    assert counts["fnn"].fired == 0
    assert counts["zoo"].fired <= 2


def test_representatives_leave_nothing_far_away() -> None:
    """Every point is nearer to a representative than the representatives are to each other."""
    points = np.random.default_rng(1).normal(size=(300, 8)).astype(np.float32)
    chosen = novelty_fits.representatives(points, 20)
    distances = np.sqrt(((points[:, None] - chosen[None]) ** 2).sum(-1))
    apart = np.sqrt(((chosen[:, None] - chosen[None]) ** 2).sum(-1)) + 1e9 * np.eye(20)

    assert len(chosen) == 20
    assert distances.min(axis=1).max() <= apart.min() + 1e-4


def test_intervals_scale_with_difficulty() -> None:
    """Twice as hard, twice as wide."""
    assert LogInterval(-0.1, 0.2).scaled(2.0) == LogInterval(-0.2, 0.4)
