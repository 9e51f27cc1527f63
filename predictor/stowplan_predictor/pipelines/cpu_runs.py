"""Networks alone on slices of CPUs: all their kernels go through each model in one call."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.slices import SliceClass

from stowplan_predictor.bundles.loading import Bundle
from stowplan_predictor.colocation.demands import Demand, demand
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import Distance, device_distance, slice_distance
from stowplan_predictor.kernels.latencies import Isolated, isolated
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.kernels.resources import SliceResources, slice_resources
from stowplan_predictor.kernels.workloads import Workloads

# What is computed at once takes some kilobytes a kernel: thousands of slices of a large graph, asked in one call, must not fill the process.
_KERNELS_AT_A_TIME: Final = 16_384


@dataclass(frozen=True, slots=True)
class Run:
    """A network alone on a slice of a CPU. Its kernels stay with the graph, so that a graph that is forgotten leaves little behind."""

    device: CpuDevice
    slice_: SliceResources
    isolated: Isolated
    demand: Demand


@dataclass(frozen=True, slots=True)
class _Part:
    work: Workloads
    slice_: SliceResources
    device: CpuDevice
    distance: Distance


def runs(parts: Sequence[tuple[Workloads, SliceClass, CpuDevice]], bundle: Bundle) -> list[Run | CannotJudge]:
    """A run, or why there is none, for each of (kernels, slice, device)."""
    known = [_known(*part, bundle) for part in parts]
    efficiencies = _efficiencies([part for part in known if isinstance(part, _Part)], bundle)
    return [part if isinstance(part, CannotJudge) else _run(part, next(efficiencies), bundle) for part in known]


def _known(work: Workloads, slice_class: SliceClass, device: CpuDevice, bundle: Bundle) -> _Part | CannotJudge:
    try:
        slice_ = slice_resources(device, slice_class.slice)
        distance = device_distance(device, bundle.devices)
        distance += slice_distance(slice_, bundle.networks.device(distance.nearest).measured_millicores)
    except CannotJudge as error:
        return error
    return _Part(work, slice_, device, distance)


def _efficiencies(parts: Sequence[_Part], bundle: Bundle) -> Iterator[Efficiencies | CannotJudge]:
    first = kernels = 0
    for index, part in enumerate(parts, start=1):
        kernels += len(part.work.types)
        if index == len(parts) or kernels >= _KERNELS_AT_A_TIME:
            yield from bundle.kernels.efficiencies([(item.work, item.slice_) for item in parts[first:index]])
            first, kernels = index, 0


def _run(part: _Part, efficiencies: Efficiencies | CannotJudge, bundle: Bundle) -> Run | CannotJudge:
    if isinstance(efficiencies, CannotJudge):
        return efficiencies
    try:
        alone = isolated(part.work, part.slice_, efficiencies, bundle.networks, part.distance)
        return Run(part.device, part.slice_, alone, demand(part.work, alone.busy_ms, part.device))
    except CannotJudge as error:
        return error
