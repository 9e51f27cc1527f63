"""Physics of slices: more multiprocessors, bandwidth, cache or clients never do what they cannot."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.gpus.catalogue import gpus
from stowplan_fleet.gpus.shares import GpuShare
from stowplan_fleet.slices import DeviceName, SliceKind, parse_slice
from stowplan_predictor.gpus.estimators import GpuEstimator
from stowplan_predictor.gpus.machines import Place, machine_of, place
from stowplan_predictor.gpus.sharings import Client, slowdown
from stowplan_predictor.gpus.tasks import BYTES, COLUMNS, KINDS, Tasks
from support.synthetic_gpu_bundles import synthetic_files, synthetic_table

ESTIMATOR = GpuEstimator(synthetic_table(), synthetic_files())
GPUS = st.sampled_from(gpus())
SIZES = st.integers(1, 4096).map(float)
SHARES = st.floats(0.02, 1.0)


@st.composite
def tasks(draw: st.DrawFn) -> Tasks:
    count = draw(st.integers(1, 4))
    kinds = tuple(draw(st.sampled_from((*KINDS, BYTES))) for _ in range(count))
    rows = []
    for _ in kinds:
        batch, m, n, k, width = (draw(SIZES) for _ in range(5))
        rows.append((batch, m, n, k, width, 2 * batch * m * n * k, 4 * batch * (m * k + k * n + m * n)))
    return Tasks(kinds, np.array(rows, dtype=np.float64).reshape(count, len(COLUMNS)), np.ones(count, dtype=np.bool_))


def milliseconds(some: Tasks, where: Place, **less: Any) -> np.ndarray:
    part = replace(where.whole, **less)
    return ESTIMATOR.estimates([(some, Place(where.whole, part, where.share))])[0].part_ms


def whole_place(gpu: object) -> Place:
    machine = machine_of(gpu)  # type: ignore[arg-type]
    share: GpuShare = place(GpuDevice(DeviceName(machine.product)), parse_slice("full")).share
    return Place(machine, machine, share)


@settings(max_examples=60, deadline=None)
@given(tasks(), GPUS, st.tuples(SHARES, SHARES), st.sampled_from(["multiprocessors", "bandwidth_bytes_per_second", "l2_bytes"]))
def test_more_of_anything_is_never_slower(some: Tasks, gpu: object, shares: tuple[float, float], what: str) -> None:
    """Of two slices of one GPU that differ in multiprocessors, bandwidth or cache alone, the larger takes no longer for any kernel."""
    where = whole_place(gpu)
    small, large = sorted(shares)

    def of(share: float) -> np.ndarray:
        full = getattr(where.whole, what)
        if what != "multiprocessors":
            return milliseconds(some, where, **{what: full * share})
        count = max(1, int(full * share))
        return milliseconds(some, where, multiprocessors=count, flops_per_second=where.whole.flops_per_second * count / full)

    assert (of(small) >= of(large) * (1 - 1e-9)).all()
    assert np.isfinite(of(small)).all()
    assert (of(large) >= of(1.0) * (1 - 1e-9)).all()


@functools.cache
def places() -> dict[str, list[Place]]:
    """Of each GPU of the catalogue: the whole, half of an MPS share, and each MIG profile whose multiprocessors are known."""
    found = {}
    for gpu in gpus():
        texts = ["full", "mps-50", *(f"mig-{item.profile}" for item in (gpu.mig.profiles if gpu.mig else []) if item.multiprocessors)]
        found[gpu.product] = [place(GpuDevice(DeviceName(gpu.product)), parse_slice(text)) for text in texts]
    return found


@settings(max_examples=30, deadline=None)
@given(tasks())
def test_every_slice_of_the_catalogue_has_a_finite_time(some: Tasks) -> None:
    """Whatever the GPU and its MIG profile, every kernel gets a time above zero, and none shorter than on the whole GPU."""
    estimates = iter(ESTIMATOR.estimates([(some, where) for of_gpu in places().values() for where in of_gpu]))
    for of_gpu in places().values():
        found = [next(estimates) for _ in of_gpu]
        for one in found:
            assert np.isfinite(one.part_ms).all()
            assert (one.part_ms > 0).all()
            assert (one.part_ms >= found[0].part_ms * (1 - 1e-9)).all()


CLIENTS = st.builds(Client, st.floats(0.1, 100.0), st.floats(0.0, 1e4), st.floats(0.0, 1.0), st.floats(0.0, 1.0))


@settings(max_examples=80, deadline=None)
@given(CLIENTS, st.lists(CLIENTS, max_size=5), CLIENTS)
def test_more_tenants_never_speed_anyone_up(subject: Client, tenants: list[Client], another: Client) -> None:
    """Under MPS and under time slicing a tenant more never lowers the slowdown, which is at least 1 and at most the number of clients."""
    for kind in (SliceKind.MPS, SliceKind.TIME):
        before, after = slowdown(kind, subject, tenants), slowdown(kind, subject, [*tenants, another])
        assert 1.0 <= before.median <= before.upper <= 1 + len(tenants)
        assert after.median >= before.median * (1 - 1e-3)
        assert after.upper >= before.upper * (1 - 1e-3)


@given(CLIENTS, st.lists(CLIENTS, max_size=5))
def test_instances_and_whole_gpus_are_not_disturbed(subject: Client, tenants: list[Client]) -> None:
    """MIG instances and whole GPUs run as if they were alone."""
    for kind in (SliceKind.MIG, SliceKind.FULL):
        assert slowdown(kind, subject, tenants).upper == 1.0
