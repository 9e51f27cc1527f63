"""Features of kernels: invariances and units."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stowplan_fleet.devices import CoreThroughput
from stowplan_fleet.slices import parse_slice
from stowplan_predictor.fusion import rules
from stowplan_predictor.graphs import loading
from stowplan_predictor.kernels.features import FEATURES, feature_matrix
from stowplan_predictor.kernels.resources import slice_resources
from stowplan_predictor.kernels.rooflines import roofline_ms
from stowplan_predictor.kernels.subgraphs import NODES, SubGraphs, join
from stowplan_predictor.kernels.workloads import COLUMNS, Workloads, workloads
from support.synthetic_bundles import DEVICE, chain_model

_NO_EDGES = (np.zeros(0, dtype=np.int64), np.zeros((2, 0), dtype=np.int64))
ONE = slice_resources(DEVICE, parse_slice("cpu:1"))


@lru_cache(maxsize=4)
def chain(channels: int = 32, side: int = 28) -> Workloads:
    graph = loading.load_graph(chain_model(channels, side))
    return workloads(graph, rules.fuse(graph))


def test_a_convolution_is_seen_as_a_matrix_product() -> None:
    """3x3 convolutions of 32 channels on 28x28: m = 784, n = 32, k = 288, and twice their product in operations (bias and activation beside it)."""
    work = chain()

    assert work.column("m").tolist() == [784.0] * 3
    assert work.column("n").tolist() == [32.0] * 3
    assert work.column("k") == pytest.approx(288.0, rel=0.01)
    assert work.column("window").tolist() == [9.0] * 3
    assert work.column("flops") == pytest.approx(2 * 784 * 32 * 288, rel=0.02)


def test_bytes_are_bytes() -> None:
    """Single precision: four bytes an element of input, output and weights."""
    work = chain()

    assert work.column("input_bytes").tolist() == [4.0 * 32 * 28 * 28] * 3
    assert work.column("parameter_bytes").tolist() == [4.0 * 32 * 32 * 9] * 3


def test_roofline_is_in_milliseconds() -> None:
    """A kernel bound by arithmetic takes FLOPs / FLOP/s: 14.45 MFLOP at 100 GFLOP/s are 0.1445 ms."""
    work = chain()

    assert roofline_ms(work, ONE) == pytest.approx(1000 * work.column("flops") / 1e11)


def test_a_kernel_that_does_nothing_still_has_a_time() -> None:
    """No operations and no bytes give a nanosecond and finite features, not a logarithm of zero."""
    work = replace(chain(), numbers=np.zeros((3, len(COLUMNS))))

    assert roofline_ms(work, ONE).tolist() == [1e-6] * 3
    assert np.isfinite(feature_matrix(work, ONE)).all()


@given(st.floats(0.01, 100))
def test_a_device_that_is_faster_in_all_is_seen_the_same(factor: float) -> None:
    """Features are ratios: throughput and bandwidth scaled together change nothing but the roofline time, and that by exactly the factor."""
    scaled = replace(DEVICE, throughputs=tuple(
        CoreThroughput(t.cores, t.flops_per_second * factor, t.bandwidth_bytes_per_second * factor) for t in DEVICE.throughputs
    ))  # fmt: skip
    work = chain()

    before, after = feature_matrix(work, ONE), feature_matrix(work, slice_resources(scaled, parse_slice("cpu:1")))

    timed = FEATURES.index("log_roofline_ms")
    assert np.delete(after, timed, axis=1) == pytest.approx(np.delete(before, timed, axis=1), abs=1e-4)
    assert after[:, timed] == pytest.approx(before[:, timed] - np.log(factor), abs=1e-4)


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_features_are_finite_for_any_shape(flops: int, traffic: int) -> None:
    """However large or small a kernel, every feature is a finite single-precision number."""
    numbers = np.ones((1, len(COLUMNS)))
    numbers[0, :4] = flops * 1e9, traffic, traffic * 1e9, 0
    work = Workloads(chain().types[:1], ("k",), numbers, SubGraphs((), np.zeros((0, len(NODES)), dtype=np.float32), *_NO_EDGES))

    found = feature_matrix(work, ONE)

    assert found.shape == (1, len(FEATURES))
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_names_of_tensors_do_not_matter() -> None:
    """The same network under other names has the same digest and the same numbers."""
    assert np.array_equal(chain().numbers, chain().numbers)
    renamed = loading.load_graph(chain_model().replace(b"conv", b"CONV"))

    assert renamed.digest == loading.load_graph(chain_model()).digest
    assert np.array_equal(workloads(renamed, rules.fuse(renamed)).numbers, chain().numbers)


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e4))
def test_more_bytes_never_look_like_fewer(traffic: float, factor: float) -> None:
    """Traffic enters logarithms of bytes, against each cache, never as a smaller number; intensity falls with it."""
    numbers = np.ones((2, len(COLUMNS)))
    numbers[:, COLUMNS.index("input_bytes")] = traffic, traffic * factor
    work = Workloads(chain().types[:2], ("a", "b"), numbers, chain().subgraphs)

    small, large = feature_matrix(work, ONE)

    for name in ("log_bytes", "log_input_bytes", "log_bytes_over_l2", "log_bytes_over_l3", "log_roofline_ms"):
        assert large[FEATURES.index(name)] >= small[FEATURES.index(name)]
    assert large[FEATURES.index("log_intensity")] <= small[FEATURES.index("log_intensity")]


def test_a_kernel_deep_in_a_large_network_finds_cold_parameters() -> None:
    """The whole network's parameters stand against the caches: the same convolution is seen otherwise in a larger network."""
    lone = feature_matrix(chain(), ONE)
    graph = loading.load_graph(chain_model(convolutions=40))
    crowd = feature_matrix(workloads(graph, rules.fuse(graph)), ONE)

    at = FEATURES.index("log_network_over_l3")
    assert (crowd[:, at] > lone[0, at] + 1).all()


def test_kernels_that_are_alike_share_one_sub_graph() -> None:
    """Three equal convolutions, in two graphs, are one sub-graph of two operators with an edge in both directions."""
    work = chain()

    joined = join([work.subgraphs, work.subgraphs], [3, 3])

    assert joined.count == 1
    assert [place.tolist() for place in joined.places] == [[0, 0, 0], [0, 0, 0]]
    assert joined.operators == ("Conv", "Relu")
    assert joined.edges.tolist() == [[0, 1], [1, 0]]
    assert joined.nodes.shape == (2, len(NODES))
    assert np.isfinite(joined.nodes).all()


def test_a_kernel_measured_alone_is_seen_without_copies() -> None:
    """Copies into blocks and back are left out of its time, and so of its numbers; nothing else changes."""
    work = chain()

    alone = work.without_copies()

    assert work.column("reorder_in_bytes").sum() > 0
    assert alone.column("reorder_in_bytes").sum() == alone.column("reorder_out_bytes").sum() == 0
    assert (alone.bytes == work.bytes).all()
