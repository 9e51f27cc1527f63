"""Networks of the zoo as the bundle sees them: exported, cut as PyTorch runs them, and estimated kernel by kernel on parts of a GPU."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from stowplan_fleet.answers import UnknownReason
from stowplan_fleet.devices import GpuDevice
from stowplan_fleet.errors import GraphRefused, ValueRefused
from stowplan_fleet.slices import DeviceName, Slice, parse_slice

from stowplan_predictor.errors import CannotJudge, DatasetRefused
from stowplan_predictor.fusion.serving import FusionSource
from stowplan_predictor.fusion.tables import OPERATORS, FusionTable
from stowplan_predictor.gpus.estimators import Estimate
from stowplan_predictor.gpus.machines import Place, place
from stowplan_predictor.gpus.measurements import LAUNCH, TERMS, kin
from stowplan_predictor.gpus.tasks import Matrix, Network, tasks_of
from stowplan_predictor.graphs import loading
from stowplan_predictor.pipelines.cuts import Cuts

NetworkOf = Callable[[str], Network]
"""From a zoo name to its kernels; raises CannotJudge or GraphRefused where the bundle cannot judge it."""
FUSION: Final = FusionTable.operators()


def from_onnx(model: bytes) -> Network:
    """The kernels of an ONNX file.

    Raises:
        GraphRefused: the file is broken, or holds what nobody can judge.
        CannotJudge: a kernel of which nothing is known.
    """
    return tasks_of(_cuts().works(loading.load_graph(model, {}))[OPERATORS])


@cache
def _cuts() -> Cuts:
    return Cuts([FusionSource(FUSION)])


def from_zoo(name: str) -> Network:
    """A network of the zoo, exported unless that was done before (needs torch and the network's library).

    Raises:
        DatasetRefused: the zoo has none of that name.
        CannotJudge: it cannot be exported, or has a kernel of which nothing is known.
        GraphRefused: it holds what nobody can judge.
    """
    from stowplan_predictor.training.zoo import entries, exports  # noqa: PLC0415 - the libraries take seconds to load

    entry = next((entry for entry in entries.entries() if entry.name == name), None)
    if entry is None:
        raise DatasetRefused(f"networks.parquet: the zoo has no network {name}: measured by another version of this project?")
    try:
        return from_onnx(exports.export(entry).read_bytes())
    except exports.ExportFailed as error:
        raise CannotJudge(UnknownReason.KERNEL_NOT_SUPPORTED, f"{name} cannot be exported: {error}") from error


@dataclass(frozen=True, slots=True)
class Known:
    """Networks that can be judged, and why others cannot."""

    networks: dict[str, Network]
    refused: dict[str, str]


def known(names: Sequence[str], network_of: NetworkOf) -> Known:
    """Each network once."""
    networks, refused = {}, {}
    for name in dict.fromkeys(names):
        try:
            networks[name] = network_of(name)
        except (CannotJudge, GraphRefused) as error:
            refused[name] = str(error)
    return Known(networks, refused)


def part_of(sharing: str) -> Slice:
    """The slice that a part of the GPU stands for: a green context of a percentage is as large as an MPS share of it."""
    return parse_slice(sharing.replace("green-", "mps-"))


def where(product: str, sharing: str) -> Place:
    """A part of a GPU.

    Raises:
        DatasetRefused: the GPU has no such part.
    """
    try:
        return place(GpuDevice(DeviceName(product)), part_of(sharing))
    except (CannotJudge, ValueRefused) as error:
        raise DatasetRefused(f"{sharing} of {product}: {error}") from error


def terms(network: Network, estimate: Estimate) -> Matrix:
    """Milliseconds on the part by `measurements.TERMS`, (terms,)."""
    families = kin(network, estimate.families)
    busy = estimate.part_ms - estimate.launch_ms
    return np.array([estimate.launch_ms.sum() if term == LAUNCH else busy[families == term].sum() for term in TERMS])
