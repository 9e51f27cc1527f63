"""Isolated service times of many (graph, slice) pairs at once: all their kernels go through each model in one call."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.devices import CpuDevice, Device
from stowplan_fleet.services import GraphDigest
from stowplan_fleet.slices import DeviceName, SliceClass

from stowplan_predictor.bundles.loading import Bundle
from stowplan_predictor.colocation.demands import Demand, demand
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import Distance, device_distance, slice_distance
from stowplan_predictor.kernels.latencies import Isolated, isolated
from stowplan_predictor.kernels.regressors import Efficiencies
from stowplan_predictor.kernels.resources import SliceResources, slice_resources
from stowplan_predictor.kernels.workloads import Workloads
from stowplan_predictor.pipelines.analyses import Analyses
from stowplan_predictor.pipelines.caches import LruCache
from stowplan_predictor.pipelines.footprints import footprint_bytes

# A run or a refusal with its place, arrays and reasons apart.
_RUN_BYTES: Final = 1500


@dataclass(frozen=True, slots=True)
class Run:
    """A network alone on a slice of a device. Its kernels stay with the graph, so that a graph that is forgotten leaves little behind."""

    device: CpuDevice
    slice_: SliceResources
    isolated: Isolated
    demand: Demand


# What is computed at once takes some kilobytes a kernel: thousands of slices of a large graph, asked in one call, must not fill the process.
_KERNELS_AT_A_TIME: Final = 16_384

Place = tuple[GraphDigest, SliceClass, CpuDevice]


def _run_bytes(outcome: Run | CannotJudge) -> int:
    return _RUN_BYTES + (footprint_bytes(outcome.isolated) if isinstance(outcome, Run) else len(outcome.message))


def cpu_of(slice_class: SliceClass, devices: Mapping[DeviceName, Device]) -> CpuDevice:
    """The CPU a slice is cut from.

    Raises:
        CannotJudge: it has no descriptor, or is no CPU.
    """
    device = devices.get(slice_class.device)
    if device is None:
        raise CannotJudge(UnknownReason.DEVICE_NOT_DESCRIBED, f"device {slice_class.device} has no descriptor; run `stowplan device` there and publish it")
    if not isinstance(device, CpuDevice):
        raise CannotJudge(UnknownReason.DEVICE_NOT_SUPPORTED, f"device {slice_class.device} is a GPU, and this bundle was measured on CPUs only")
    return device


class Isolations:
    """Runs by place, computed once. Thread-safe: a run computed twice is the same run."""

    def __init__(self, bundle: Bundle, analyses: Analyses, isolations_bytes: int) -> None:
        self._bundle = bundle
        self._analyses = analyses
        self._runs: LruCache[Place, Run | CannotJudge] = LruCache(isolations_bytes, lambda _, outcome: _run_bytes(outcome))

    def __len__(self) -> int:
        return len(self._runs)

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return self._runs.bytes

    def prepare(self, places: Iterable[Place]) -> dict[Place, Run | CannotJudge]:
        """A run, or why there is none, for each place."""
        wanted = list(dict.fromkeys(places))
        found = {place: run for place in wanted if (run := self._runs.get(place)) is not None}
        missing = [place for place in wanted if place not in found]
        found.update(self._compute(missing))
        for place in missing:
            outcome = found[place]
            # What this process has not analysed yet may be analysed the next moment.
            if not (isinstance(outcome, CannotJudge) and outcome.reason is UnknownReason.GRAPH_NOT_FOUND):
                self._runs.put(place, outcome)
        return found

    def _efficiencies(self, parts: Sequence[tuple[Workloads, SliceResources]]) -> list[Efficiencies | CannotJudge]:
        found: list[Efficiencies | CannotJudge] = []
        first = kernels = 0
        for index, (work, _) in enumerate(parts, start=1):
            kernels += len(work.types)
            if index == len(parts) or kernels >= _KERNELS_AT_A_TIME:
                found += self._bundle.kernels.efficiencies(parts[first:index])
                first, kernels = index, 0
        return found

    def _compute(self, places: list[Place]) -> dict[Place, Run | CannotJudge]:
        found: dict[Place, Run | CannotJudge] = {}
        parts: list[tuple[Place, SliceResources, Workloads, Distance]] = []
        for place in places:
            digest, slice_class, device = place
            try:
                slice_ = slice_resources(device, slice_class.slice)
                distance = device_distance(device, self._bundle.devices)
                distance += slice_distance(slice_, self._bundle.networks.device(distance.nearest).measured_millicores)
                parts.append((place, slice_, self._analyses.work(digest, device), distance))
            except CannotJudge as error:
                found[place] = error
        outcomes = self._efficiencies([(work, slice_) for _, slice_, work, _ in parts])
        for (place, slice_, work, distance), efficiencies in zip(parts, outcomes, strict=True):
            if isinstance(efficiencies, CannotJudge):
                found[place] = efficiencies
                continue
            try:
                alone = isolated(work, slice_, efficiencies, self._bundle.networks, distance)
                found[place] = Run(place[2], slice_, alone, demand(work, alone.busy_ms, place[2]))
            except CannotJudge as error:
                found[place] = error
        return found
