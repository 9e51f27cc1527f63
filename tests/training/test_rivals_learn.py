"""Rivals: each learns something from real measurements, says the same twice, and answers for every network it is asked about."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

# Imports it without the warnings of what torch is about to give up.
pytest.importorskip("torch_geometric", reason="needs the training extra")

import torch
from stowplan_predictor.training.harness.cases import Case, FitPredict, cases
from stowplan_predictor.training.rivals import batches, flattened_networks, graph_convolutions, graph_transformers, learners, linears, means
from stowplan_predictor.training.rivals.graph_tensors import NODE_FEATURES, OPERATOR_TYPES, TOTALS, graph_tensor, slice_features
from support.real_samples import smallest_samples

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def measured() -> list[Case]:
    """Two slices each of the smallest networks."""
    return [case for case in cases(smallest_samples(8, 8, 1).networks.values()) if case.slice in ("cpu:1", "cpu:2")]


@pytest.fixture
def briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes shortened to what a test may take: fewer steps, one depth."""
    for module in (graph_convolutions, flattened_networks, graph_transformers):
        monkeypatch.setattr(module, "RECIPE", replace(module.RECIPE, steps=40, epochs=20, graphs_a_batch=8))
    monkeypatch.setattr(flattened_networks, "DEPTHS", (2,))
    torch.set_num_threads(1)


def log_error(found: Iterable[float], asked: Sequence[Case]) -> float:
    return float(np.mean([abs(np.log(value / case.truth_ms)) for value, case in zip(found, asked, strict=True)]))


RIVALS = {
    "linear": linears.fit_predict,
    "gcn": graph_convolutions.fit_predict,
    "dnn": flattened_networks.fit_predict,
    "transformer": graph_transformers.fit_predict,
}


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("name", RIVALS)
def test_each_rival_learns(name: str, measured: list[Case]) -> None:
    """On the networks it learned from, every rival is far better than the mean, and finite and positive everywhere."""
    found = RIVALS[name](measured, measured, 0)

    assert np.isfinite(found).all()
    assert (found > 0).all()
    assert log_error(found, measured) < 0.6 * log_error(means.fit_predict(measured, measured, 0), measured)


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize("name", ["gcn", "dnn", "transformer"])
def test_the_same_seed_gives_the_same_predictions(name: str, measured: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit by bit; another seed gives others."""
    for module in (graph_convolutions, flattened_networks, graph_transformers):
        monkeypatch.setattr(module, "RECIPE", replace(module.RECIPE, steps=4, epochs=2))
    rival: FitPredict = RIVALS[name]
    first, again, other = (rival(measured, measured[:6], seed) for seed in (3, 3, 4))

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_the_mean_is_of_the_same_slice_and_kind(measured: list[Case]) -> None:
    """Geometric, over the training networks of the case's split on its slice."""
    asked = next(case for case in measured if case.sample.split == "zoo" and case.slice == "cpu:2")
    alike = [case.truth_ms for case in measured if case.sample.split == "zoo" and case.slice == "cpu:2"]

    assert means.fit_predict(measured, [asked], 0)[0] == pytest.approx(float(np.exp(np.mean(np.log(alike)))))


def test_the_line_follows_its_slice(measured: list[Case]) -> None:
    """Twice the latency on one slice doubles what is said there, and nothing elsewhere."""
    slow = [
        replace(case, sample=replace(case.sample, measured={case.slice: doubled(case)})) if case.slice == "cpu:2" else case for case in measured
    ]  # fmt: skip
    before, after = linears.fit_predict(measured, measured, 0), linears.fit_predict(slow, measured, 0)
    on_two = np.array([case.slice == "cpu:2" for case in measured])

    np.testing.assert_allclose(after[on_two], 2 * before[on_two])
    np.testing.assert_array_equal(after[~on_two], before[~on_two])


def doubled(case: Case) -> Any:
    """The same measurement, of a machine half as fast."""
    return replace(case.measured, visits=tuple(replace(visit, median_ms=2 * visit.median_ms) for visit in case.measured.visits))


def test_a_graph_becomes_arrays_that_agree_with_it() -> None:
    """Types, edges and totals are the graph's own; every edge goes forward; sizes are logarithms."""
    for sample in list(smallest_samples(8, 8, 1).networks.values())[:6]:
        found = graph_tensor(sample.graph)

        assert [OPERATOR_TYPES[index] for index in found.types] == [operator.op_type for operator in sample.graph.operators]
        assert found.nodes.shape == (len(sample.graph.operators), len(NODE_FEATURES))
        assert np.isfinite(found.nodes).all()
        assert (found.edges[0] < found.edges[1]).all()
        assert np.exp(found.totals[TOTALS.index("log_flops")]) == pytest.approx(sample.flops, rel=1e-4)
        assert np.exp(found.totals[TOTALS.index("log_operators")]) == pytest.approx(len(found.types), rel=1e-4)


def test_slices_differ(measured: list[Case]) -> None:
    """One core and two cores are not the same to a rival."""
    one, two = (next(case.measured.slice_ for case in measured if case.slice == name) for name in ("cpu:1", "cpu:2"))

    assert slice_features(one).tolist() != slice_features(two).tolist()


def test_batches_hold_everyone_once(measured: list[Case]) -> None:
    """Shuffled or not, however small the batches: every case is there once, beside its own graph."""
    prepared = batches.prepare(measured, learn=True)
    by = batches.scales(prepared)
    for generator in (None, np.random.default_rng(1)):
        seen: list[int] = []
        for item in batches.epochs(prepared, by, 3, 10_000, generator):
            seen += item.positions.tolist()
            for position, graph in zip(item.positions, item.graph_of_case, strict=True):
                assert np.array_equal(item.graphs[int(graph)].nodes, graph_tensor(measured[position].sample.graph).nodes)
        assert sorted(seen) == list(range(len(measured)))


def test_what_is_flattened_can_be_read_back(measured: list[Case]) -> None:
    """The upper half of the adjacency matrix holds exactly the edges between the operators that fit."""
    prepared = batches.prepare(measured, learn=True)
    item = batches.batch(prepared, [0, len(prepared.graphs) - 1], batches.scales(prepared))
    flat = flattened_networks.flattened(item, flattened_networks.type_columns(measured))
    size = flattened_networks.OPERATORS
    for row, graph in zip(flat, item.graphs, strict=True):
        adjacency = torch.zeros(size, size)
        adjacency[tuple(torch.triu_indices(size, size, 1))] = row[-size * (size - 1) // 2 :]
        found = {(int(first), int(second)) for first, second in adjacency.nonzero()}

        assert found == {(first, second) for first, second in graph.edges.T.tolist() if second < size}


@pytest.mark.usefixtures("briefly")
@pytest.mark.parametrize(("module", "limit"), [(flattened_networks, "OPERATORS"), (graph_transformers, "TOKENS")])
def test_graphs_beyond_the_cap_are_cut_and_still_judged(module: Any, limit: str, measured: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    """A network larger than what a rival holds gets a prediction all the same."""
    monkeypatch.setattr(module, limit, 6)
    if limit == "OPERATORS":
        monkeypatch.setattr(module, "_EDGES", 15)
    found = module.fit_predict(measured, measured, 0)

    assert max(len(case.sample.graph.operators) for case in measured) > 6
    assert np.isfinite(found).all()


def test_attention_sees_no_padding_and_sees_edges(measured: list[Case]) -> None:
    """A graph's latency does not depend on what it is batched with, and does depend on its edges."""
    torch.manual_seed(0)
    prepared = batches.prepare(measured, learn=True)
    by = batches.scales(prepared)
    module = graph_transformers.GraphTransformer().eval()
    alone, together = batches.batch(prepared, [0], by), batches.batch(prepared, [0, 1, 2], by)
    with torch.inference_mode():
        first = module(alone)
        beside = module(together)[: len(first)]
        cut = module(replace(alone, edges=alone.edges[:, :0]))

    torch.testing.assert_close(first, beside, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first, cut)


def test_training_stops_early_and_keeps_its_best(measured: list[Case]) -> None:
    """The curve ends before all epochs where nothing gets better, and the error kept is its least."""
    recipe = replace(graph_convolutions.RECIPE, steps=1000, epochs=40, patience=0.05, learning_rate=0.5)
    learned = learners.learn(graph_convolutions.GraphConvolutions, measured[:16], 0, recipe)

    assert len(learned.curve) < 40
    assert learned.validation_error == min(learned.curve)
