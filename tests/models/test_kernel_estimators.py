"""Kernel models on a few measured networks: what serves is what was trained, however questions are put together."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch_geometric", reason="needs the training extra")

import torch
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.fusion.fused_kernels import KernelType
from stowplan_predictor.kernels.estimators import KERNELS, KernelEstimator, open_kernels
from stowplan_predictor.kernels.regressors import open_session
from stowplan_predictor.training.data.samples import Sample
from stowplan_predictor.training.kernels import boosted_trees, forests, graph_fits, network_rows
from stowplan_predictor.training.kernels import models as kernel_models
from stowplan_predictor.training.kernels import rows as kernel_rows
from stowplan_predictor.training.kernels.boosted_trees import Boosting
from stowplan_predictor.training.kernels.graph_batches import Batches, Vocabulary
from stowplan_predictor.training.kernels.graph_networks import INPUTS, KernelNetwork, Shape, to_model
from stowplan_predictor.training.kernels.graph_trainings import Parts, Training
from stowplan_predictor.training.kernels.judgements import kernel_judgements, type_judgements
from stowplan_predictor.training.kernels.models import FittedKernels
from support.real_slices import small_samples

pytestmark = pytest.mark.train
NETWORKS = 6


@pytest.fixture(scope="module")
def networks() -> tuple[Sample, ...]:
    """Small published networks of different families."""
    return small_samples(NETWORKS)[1]


@pytest.fixture(scope="module")
def fitted(networks: tuple[Sample, ...]) -> dict[str, FittedKernels]:
    """Every kind of system, trained for a moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boosted_trees, "DEFAULT", Boosting(rounds=60, leaves=8, bins=32))
        patch.setattr(graph_fits, "STEPS", 6)
        patch.setattr(forests, "_TREES", 4)
        return {name: kernel_models.KERNEL_SYSTEMS[name](networks, 0) for name in ("boosted", "forests", "gnn", "gnn-raw")}


def test_the_onnx_file_says_what_the_network_says(networks: tuple[Sample, ...]) -> None:
    """The exported graph network agrees with the trained one on more rows, nodes and edges than it was exported with, for both heads."""
    rows = kernel_rows.kernel_rows(networks)
    words = Vocabulary(("Conv", "Relu"), tuple(np.unique(rows.types)), tuple(name for name in np.unique(rows.runtime_types) if name))
    shape = Shape(len(words.operators) + 1, len(words.types) + 1, len(words.runtime_types))
    network = KernelNetwork(shape, rows.joined.nodes, rows.features)
    batches = Batches(rows.joined, rows.types, rows.features, rows.subgraph, words)
    session = open_session(to_model(network, batches.inputs(np.arange(5))))
    inputs = batches.inputs(np.arange(len(rows)))

    with torch.no_grad():
        expected = network(*inputs.tuple())
    served = session.run(["log_ratio", "scores"], {name: getattr(inputs, name).numpy() for name in INPUTS})

    for mine, theirs in zip(served, expected, strict=True):
        assert mine == pytest.approx(theirs.numpy(), abs=1e-4)


def test_the_same_data_and_seed_train_the_same_network(networks: tuple[Sample, ...]) -> None:
    """Training is deterministic: two fits give the same bytes."""
    rows = kernel_rows.kernel_rows(networks[:3])

    sums = network_rows.network_rows(networks[:3], rows.joined)

    first, second = (graph_fits.fit_graphs(rows, sums, 7, networks=1, steps=3) for _ in range(2))

    assert dict(first.files) == dict(second.files)
    assert first.curves == second.curves


@pytest.mark.parametrize("system", ["boosted", "forests", "gnn", "gnn-raw"])
def test_questions_asked_together_are_answered_as_if_alone(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...], system: str) -> None:
    """Batching graphs and slices changes no answer, and every answer is a finite number within what was measured."""
    estimator = fitted[system].estimator
    parts = [(sample.work, measured.slice_) for sample in networks[:3] for measured in sample.measured.values()]

    together = estimator.efficiencies(parts)

    for part, outcome in zip(parts, together, strict=True):
        alone = estimator.efficiencies([part])[0]
        assert not isinstance(alone, CannotJudge)
        assert not isinstance(outcome, CannotJudge)
        assert outcome.log_ratio == pytest.approx(alone.log_ratio, abs=1e-4)
        assert np.isfinite(outcome.log_ratio).all()
        ranges = estimator.table.ranges.values()
        assert outcome.log_ratio.max() <= max(item.log_ratio_upper for item in ranges)
        assert outcome.log_ratio.min() >= min(item.log_ratio_lower for item in ranges)


def test_boosted_trees_learn_what_they_are_shown(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...]) -> None:
    """On the very networks it learned from, the sum over kernels comes within a third of the measured time."""
    for sample in networks:
        measured = sample.measured["cpu:1"]
        if not measured.profile_agrees:
            continue
        found = fitted["boosted"].efficiencies(sample, "cpu:1")
        assert float((measured.roofline_ms * np.exp(found.log_ratio)).sum()) == pytest.approx(measured.truth_ms, rel=0.34)


def test_a_blend_is_the_mean_of_its_systems(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...]) -> None:
    """What a bundle of both serves is what averaging their answers says, members that disagree are told apart by their spread."""
    parts = [fitted["boosted"], fitted["gnn"]]
    joined = kernel_models.blend(parts)

    served = joined.efficiencies(networks[0], "cpu:1")
    expected = kernel_models.blended([part.efficiencies(networks[0], "cpu:1") for part in parts])

    assert served.log_ratio == pytest.approx(expected.log_ratio, abs=0.05)
    assert served.error_log == pytest.approx(expected.error_log)
    assert (served.spread > 0).any()
    assert joined.files.keys() == fitted["boosted"].files.keys() | fitted["gnn"].files.keys()


def test_what_the_bundle_holds_opens_again(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...]) -> None:
    """The files alone give the same answers, types of kernels included."""
    files = fitted["gnn"].files
    opened = open_kernels(files[KERNELS], files)
    sample = networks[0]
    part = (sample.work, sample.measured["cpu:1"].slice_)

    again, before = opened.efficiencies([part])[0], fitted["gnn"].estimator.efficiencies([part])[0]

    assert not isinstance(again, CannotJudge)
    assert not isinstance(before, CannotJudge)
    assert again.log_ratio.tolist() == before.log_ratio.tolist()
    assert opened.runtime_types(*part) == fitted["gnn"].estimator.runtime_types(*part)
    guesses = opened.runtime_types(*part)
    assert all(1 <= len(names) <= 5 and len(set(names)) == len(names) for names in guesses)
    anchors = [sample.graph.operators[kernel.anchor].op_type for kernel in sample.kernels]
    assert all(own in names for own, names in zip(anchors, guesses, strict=True) if "/" not in own)


def test_types_are_judged_where_the_runtime_was_seen(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...]) -> None:
    """One row a profiled network; the first guess is never right more often than the first five."""
    rows = list(type_judgements(fitted["gnn"], networks, 0, "gnn"))

    assert [row.network for row in rows] == [sample.name for sample in networks if any(sample.runtime_types)]
    assert all(row.kernels == sum(map(bool, sample.runtime_types)) for row, sample in zip(rows, networks, strict=True))
    assert sum(row.top5 for row in rows) > sum(row.kernels for row in rows) / 2


def test_a_kernel_like_no_other_is_refused_alone(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...]) -> None:
    """A type nobody measured, heavier than every memory-bound kernel: its graph is refused by name, its neighbour in the batch is answered."""
    estimator = fitted["boosted"].estimator
    sample = networks[0]
    slice_ = sample.measured["cpu:1"].slice_
    numbers = sample.work.numbers.copy()
    numbers[0, :4] = 1e15
    strange = replace(sample.work, types=(KernelType("Unheard"), *sample.work.types[1:]), numbers=numbers)

    refused, answered = estimator.efficiencies([(strange, slice_), (sample.work, slice_)])

    assert isinstance(refused, CannotJudge)
    assert "Unheard" in refused.message
    assert not isinstance(answered, CannotJudge)


def test_far_kernels_are_marked(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...]) -> None:
    """A thousand times the size of anything measured is far by that factor; what was measured itself is not far at all."""
    estimator = fitted["boosted"].estimator
    sample = networks[0]
    slice_ = sample.measured["cpu:1"].slice_
    numbers = sample.work.numbers.copy()
    numbers[:, 0] *= 1e9

    near, far = estimator.efficiencies([(sample.work, slice_), (replace(sample.work, numbers=numbers), slice_)])

    assert not isinstance(near, CannotJudge)
    assert not isinstance(far, CannotJudge)
    assert not near.extrapolated.any()
    assert far.extrapolated.any()
    assert far.distance.max() > np.log(1e5)


def test_a_table_of_other_features_is_refused(fitted: dict[str, FittedKernels]) -> None:
    """A bundle trained on other features must not be asked: its columns mean something else."""
    table = replace(fitted["boosted"].table, features=("log_flops",))

    with pytest.raises(ValueError, match="train the bundle again"):
        KernelEstimator(table, fitted["boosted"].models)
    with pytest.raises(ValueError, match=r"kernels\.json"):
        open_kernels(b"{}", {})
    with pytest.raises(ValueError, match="missing"):
        KernelEstimator(fitted["boosted"].table, {})


def test_networks_teach_what_no_profile_does(networks: tuple[Sample, ...]) -> None:
    """Training on sums brings the networks' predicted times closer to the measured ones, kernels without a profile included."""
    rows = kernel_rows.kernel_rows(networks)
    sums = network_rows.network_rows(networks, rows.joined)
    assert sums is not None
    words = Vocabulary((), tuple(np.unique(rows.types)), ())
    everyone = np.arange(len(sums))
    nothing = everyone[:0]
    parts = Parts(np.arange(len(rows)), np.arange(len(rows)), everyone, nothing, nothing)
    training = Training(rows, sums, words, parts, 0, raw=False, steps=40)
    assert training.sums is not None

    with torch.no_grad():
        before = float(training.sums.errors(training.network, training.dispatch, everyone).abs().mean())
    training.run()
    with torch.no_grad():
        after = float(training.sums.errors(training.network, training.dispatch, everyone).abs().mean())

    assert after < before / 2


def test_merged_kernels_stand_for_all_of_them(networks: tuple[Sample, ...]) -> None:
    """However kernels are merged, every kernel of every network is counted once on each slice."""
    rows = kernel_rows.kernel_rows(networks)
    sums = network_rows.network_rows(networks, rows.joined)
    assert sums is not None

    for number in range(len(sums)):
        assert sums.count[sums.starts[number] : sums.starts[number + 1]].sum() == sums.kernels[number]


def test_every_kernel_is_judged(fitted: dict[str, FittedKernels], networks: tuple[Sample, ...]) -> None:
    """One row a kernel, its prediction as the estimator says it; what the profiler did not see has no measurement instead of a zero."""
    sample = networks[0]
    measured = sample.measured["cpu:1"]
    assert measured.kernel_ms is not None
    found = fitted["boosted"].efficiencies(sample, "cpu:1")

    rows = list(kernel_judgements(sample, "cpu:1", found, 3, "boosted"))

    assert [row.position for row in rows] == list(range(len(sample.kernels)))
    assert [row.predicted_ms for row in rows] == pytest.approx((measured.roofline_ms * np.exp(found.log_ratio)).tolist())
    assert [row.measured_ms is None for row in rows] == np.isnan(measured.kernel_ms).tolist()
