"""What is to be read of a data set: one job a network, with all that was measured of it. Plain values, so that jobs travel between processes."""

from collections.abc import Mapping
from dataclasses import dataclass

from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.measuring import structures
from stowplan_predictor.training.data import profiler_overheads
from stowplan_predictor.training.data.datasets import Dataset
from stowplan_predictor.training.data.generated_rows import IsolatedRow, RandomRow
from stowplan_predictor.training.data.measurements import Visit
from stowplan_predictor.training.data.profiler_overheads import ProfilerOverhead
from stowplan_predictor.training.data.rows import KernelRow, NetworkRow
from stowplan_predictor.training.generated import kinds as random_kinds
from stowplan_predictor.training.generated import single_kernels as isolated_specs


@dataclass(frozen=True, slots=True)
class Job:
    """One network to read. Generated graphs are drawn again by whoever reads them."""

    name: str
    family: str
    split: str
    source: str
    structure: bytes
    """Packed; for generated graphs what they are drawn from, as text."""
    input_shapes: Mapping[str, tuple[int, ...]]
    optimized: bytes
    """What the runtime made of it; empty where that is not known."""
    digest: str
    """What a generated graph's digest must be; empty for stored ones."""
    visits: Mapping[str, tuple[Visit, ...]]
    """By slice."""
    kernels: tuple[KernelRow, ...]
    isolated: tuple[IsolatedRow, ...]
    """Quietest visits of an isolated kernel, one a slice."""
    overheads: Mapping[str, ProfilerOverhead]
    """What profiling adds, by slice."""
    device: bytes
    """Its descriptor: the device itself does not travel between processes."""

    def model(self) -> bytes:
        """The ONNX file without weights."""
        match self.split:
            case "fnn" | "cnn":
                return random_kinds.structure(self.split, int(self.structure))
            case "isolated":
                return isolated_specs.structure(self.structure.decode())
            case _:
                return structures.unpack(self.structure)


def visits(dataset: Dataset) -> dict[str, dict[str, tuple[Visit, ...]]]:
    """Every visit to every network, by network and slice."""
    found: dict[str, dict[str, list[Visit]]] = {}
    alone: list[NetworkRow | RandomRow] = [*dataset.networks, *dataset.randoms]
    for row in alone:
        visit = Visit(row.repeat, row.median_ms, row.p25_ms, row.mean_ms, row.cv, row.noisy)
        found.setdefault(row.network, {}).setdefault(row.slice, []).append(visit)
    for one in dataset.isolated:
        # A single kernel is never judged: its mean is not kept, nor asked for.
        visit = Visit(one.repeat, one.median_us / 1000, one.p25_us / 1000, one.median_us / 1000, one.cv, one.noisy)
        found.setdefault(one.network, {}).setdefault(one.slice, []).append(visit)
    return {
        network: {name: tuple(sorted(some, key=lambda visit: visit.repeat)) for name, some in sorted(by_slice.items())} for network, by_slice in found.items()
    }  # fmt: skip


def jobs(dataset: Dataset, device: CpuDevice) -> dict[str, Job]:
    """Every network that was measured alone or in a pair, by name."""
    kernels: dict[str, list[KernelRow]] = {}
    for kernel in dataset.kernels:
        kernels.setdefault(kernel.network, []).append(kernel)
    found, descriptor = visits(dataset), descriptors.write_device(device)
    paired = {name for row in dataset.pairs for name in (row.network, row.tenant)}
    randoms = {row.network: row for row in dataset.randoms}
    isolated: dict[str, dict[str, IsolatedRow]] = {}
    for one in sorted(dataset.isolated, key=lambda row: row.median_us):
        isolated.setdefault(one.network, {}).setdefault(one.slice, one)
    overheads, todo = profiler_overheads.fit(dataset), {}
    for name in sorted(found.keys() | paired):
        quietest = tuple(isolated.get(name, {}).values())
        measured = (found.get(name, {}), tuple(kernels.get(name, ())), quietest, overheads, descriptor)
        optimized = dataset.optimized[name].optimized if name in dataset.optimized else b""
        if (random := randoms.get(name)) is not None:
            drawn = str(random.seed).encode()
            todo[name] = Job(name, random.family, random.kind, "generated", drawn, {}, optimized, random.digest, *measured)
        elif quietest:
            spec = quietest[0]
            todo[name] = Job(name, spec.family, "isolated", "generated", spec.spec.encode(), {}, optimized, spec.digest, *measured)
        else:
            row = dataset.structures[name]
            shapes = dict(zip(row.input_names, row.input_shapes, strict=True))
            optimized = structures.unpack(row.optimized) if row.optimized else b""
            todo[name] = Job(name, row.family, row.split, row.source, row.structure, shapes, optimized, "", *measured)
    return todo
