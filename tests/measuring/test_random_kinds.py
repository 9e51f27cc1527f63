"""Random networks by kind and seed: reproducible, within their bounds, and what is stored of them is what was measured."""

from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_predictor.graphs import loading
from stowplan_predictor.measuring import structures
from stowplan_predictor.training.generated import cnn as random_cnn
from stowplan_predictor.training.generated import fnn as random_fnn
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.generated import weights as random_weights
from stowplan_predictor.training.generated.weights import SharedPlaces

_SEEDS = st.integers(0, 100_000)
_KINDS = st.sampled_from(random_kinds.KINDS)


@settings(max_examples=12, deadline=None)
@given(_KINDS, _SEEDS)
def test_a_seed_is_a_network(kind: str, seed: int) -> None:
    """The same seed draws the same structure, of at most fifty million parameters, that the reader takes with valid shapes."""
    drawn = random_kinds.blueprint(kind, seed)
    structure = drawn.structure()

    assert structure == random_kinds.structure(kind, seed)
    assert drawn.parameters <= random_fnn.MOST_PARAMETERS
    graph = loading.load_graph(structure)
    # The rest are constants: bounds of activations, shapes.
    assert 0 <= graph.parameters - drawn.parameters < 500
    assert all(size > 0 for tensor in graph.tensors.values() for size in tensor.shape)


@settings(max_examples=12, deadline=None)
@given(_SEEDS)
def test_fully_connected_networks_are_the_papers(seed: int) -> None:
    """Three to ten layers whose widths are powers of two up to 16,384."""
    drawn = random_fnn.draw(seed)
    weights = [weight.shape for weight in drawn.weights.values() if len(weight.shape) == 2]
    widths = {size for shape in weights for size in shape}

    assert 3 <= len(weights) <= 10
    assert f"d{len(weights):02d}" in random_kinds.configuration("fnn", seed)
    assert widths <= {1 << power for power in range(15)}


@pytest.mark.parametrize("form", ["plain", "residual", "separable", "branching"])
def test_convolutional_forms(form: str) -> None:
    """Each form holds what it is named after."""
    wanted = {"plain": "Conv", "residual": "Add", "separable": "depthwise", "branching": "Concat"}[form]
    seeds = [seed for seed in range(64) if f"-{form}-" in random_kinds.configuration("cnn", seed)][:6]
    for seed in seeds:
        drawn = random_cnn.draw(seed)
        types = {node.op_type for node in drawn.nodes}
        types |= {"depthwise" for node in drawn.nodes if node.attributes.get("group", 1) > 1}
        assert wanted in types


def test_convolutional_sizes_are_spread() -> None:
    """Costs of the networks cover well over an order of magnitude and stay below a run of some sixty milliseconds."""
    flops = np.array([loading.load_graph(random_kinds.structure("cnn", seed)).flops for seed in range(48)])

    assert np.percentile(flops, 90) > 20 * np.percentile(flops, 10)
    assert flops.max() < 2.5e9


@pytest.mark.parametrize("kind", random_kinds.KINDS)
def test_configurations_take_turns(kind: str) -> None:
    """Any sixteen seeds in a row hold every configuration."""
    assert {random_kinds.configuration(kind, seed) for seed in range(32, 48)} == set(random_kinds.configurations(kind))
    assert 8 <= len(random_kinds.configurations(kind)) <= 16


def _small(kind: str) -> int:
    return next(seed for seed in range(200) if random_kinds.blueprint(kind, seed).parameters < 50_000)


@pytest.mark.parametrize("kind", random_kinds.KINDS)
def test_structures_are_those_of_the_networks(kind: str) -> None:
    """The full network is valid ONNX, runs, and has the digest of its structure; stripping it changes nothing either."""
    seed = _small(kind)
    full = random_kinds.network(kind, seed)
    onnx.checker.check_model(onnx.load_model_from_string(full), full_check=True)
    digest = loading.load_graph(full).digest

    assert digest == loading.load_graph(random_kinds.structure(kind, seed)).digest
    assert digest == loading.load_graph(structures.strip_weights(full)).digest
    session = onnxruntime.InferenceSession(full, providers=["CPUExecutionProvider"])
    feeds = {item.name: np.ones(item.shape, np.float32) for item in session.get_inputs()}
    assert all(np.isfinite(result).all() for result in session.run(None, feeds))


def test_shared_weights_do_not_overlap() -> None:
    """Each large weight has a place of its own in the shared file; small ones stay inside; too many are refused."""
    places = SharedPlaces()
    tensors = [places.tensor(f"w{number}", (300, width)) for number, width in enumerate((40, 300, 1000, 20))]
    outside = [{entry.key: entry.value for entry in tensor.external_data} for tensor in tensors]
    ends = sorted((int(entry["offset"]) % (4 * 51_380_224), int(entry["length"])) for entry in outside)

    assert all(entry["location"] == random_weights.SHARED for entry in outside)
    assert all(begin + length <= following for (begin, length), (following, _) in pairwise(ends))
    assert not places.tensor("bias", (100,)).external_data
    with pytest.raises(ValueError, match="more than"):
        places.tensor("w", (8192, 8192))
