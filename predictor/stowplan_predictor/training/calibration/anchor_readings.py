"""Anchor kernels measured on this machine: what `stowplan calibrate` learns from. Under a minute for twenty anchors on two slices."""

from collections.abc import Callable, Sequence
from typing import Final

from stowplan_fleet.devices import CpuDevice
from stowplan_fleet.slices import Slice

from stowplan_predictor.fusion.layouts import channel_block
from stowplan_predictor.fusion.serving import Fusion
from stowplan_predictor.graphs import loading
from stowplan_predictor.kernels.resources import slice_resources
from stowplan_predictor.kernels.workloads import Workloads, workloads
from stowplan_predictor.measuring import batches, networks
from stowplan_predictor.measuring.batches import BatchRules
from stowplan_predictor.training.calibration import anchor_kernels
from stowplan_predictor.training.calibration.calibrations import Reading

# Six visits spread over some seconds: neighbours of the machine come and go, and the quietest visit counts.
_RULES: Final = BatchRules(rounds=6, min_runs=6, min_s=0.05)
# A short look at the machine's own best: the quietest visit is sought by its times, the reference only tells when the cores are placed well.
_REFERENCE_S: Final = 3.0


def work_of(name: str, device: CpuDevice, fusion: Fusion) -> Workloads:
    """The kernels of an anchor, as the pipeline that serves sees them on a device."""
    graph, block = loading.load_graph(anchor_kernels.blueprint(name).structure()), channel_block(device.isa)
    return workloads(graph, fusion.kernels(graph, block), block)


def read_anchors(
    device: CpuDevice,
    fusion: Fusion,
    slices: Sequence[Slice],
    names: Sequence[str] = anchor_kernels.NAMES,
    *,
    rules: BatchRules = _RULES,
    on_wait: Callable[[str], None],
) -> list[Reading]:
    """Measures anchors on whole-core slices of this machine.

    Args:
        device: this machine's descriptor.
        fusion: of the bundle that is to be calibrated.
        slices: whole cores.
        names: of anchors.
        rules: how long.
        on_wait: told where the machine is held by others, and which slice is measured.

    Raises:
        MachineBusy: another measurement holds the machine.
        MeasurementError: a slice is fractional, or has more cores than the machine.
    """
    works = {name: work_of(name, device, fusion) for name in names}
    found = []
    for part in slices:
        on_wait(f"measuring {len(works)} anchor kernels on {part}")
        best = networks.best_reference(part, seconds=_REFERENCE_S, on_wait=on_wait)
        measured = batches.measure_batch([(name, anchor_kernels.blueprint(name).network()) for name in works], part, best, rules=rules, on_wait=on_wait)
        resources = slice_resources(device, part)
        for name, work in works.items():
            quietest = min((visit for visit in measured.visits if visit.name == name), key=lambda visit: (visit.p25_ms, visit.repeat))
            found.append(Reading(name, work, resources, quietest.median_ms))
    return found
