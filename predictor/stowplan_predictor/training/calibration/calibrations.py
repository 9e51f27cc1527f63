"""Adapts a bundle to another machine: twenty anchor kernels measured there, under a minute, instead of a data set and a training.

What carries over is what kernel models learned relative to the roofline; what does not is how near the matrix-like and the memory-bound kernels of this
machine come to its own roofline. That is one log factor for each of the two classes and each number of threads: the median over anchors of
log(measured / predicted). The spread around it says how sure it is, and widens every interval. No network was measured there, and every answer says so.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from stowplan_fleet import descriptors
from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.bundles.loading import DEVICES, NETWORKS, Bundle, load_bundle
from stowplan_predictor.bundles.manifests import MANIFEST, canonical
from stowplan_predictor.bundles.writing import write_bundle
from stowplan_predictor.errors import CannotJudge
from stowplan_predictor.kernels.distances import Distance, device_distance
from stowplan_predictor.kernels.latencies import DeviceTable, NetworkModel, Offset, isolated
from stowplan_predictor.kernels.resources import SliceResources
from stowplan_predictor.kernels.summaries import heavy
from stowplan_predictor.kernels.workloads import Workloads

# More anchors would be a data set; with fewer the median of a class is one or two kernels.
MOST_ANCHORS: Final = 20
_LEAST_ANCHORS: Final = 6
# From the median absolute deviation to a standard deviation of normal errors (Rousseeuw and Croux, "Alternatives to the median absolute deviation", 1993),
# and the two-sided 90 % quantile of the normal distribution.
_MAD_TO_SD: Final = 1.4826
_SURE: Final = 1.645


@dataclass(frozen=True, slots=True)
class Reading:
    """One anchor measured on one slice of the new machine."""

    name: str
    work: Workloads
    slice_: SliceResources
    """Of the new machine."""
    measured_ms: float
    """Of an unprofiled run, on the quietest of its visits."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """What anchors teach about a machine."""

    offsets: Mapping[str, Offset]
    """By number of threads."""
    anchors: tuple[str, ...]
    readings: int
    base_device: str
    """The measured device that the machine is nearest to."""
    before_log_error: float
    """Mean |log(measured / predicted)| of the anchors by the bundle as it was."""
    after_log_error: float
    """The same with the offsets, each anchor judged by offsets that the others gave."""
    millicores: tuple[int, ...]


def _log_errors(readings: Sequence[Reading], bundle: Bundle, nearest: str) -> NDArray[np.float64]:
    """log(measured / predicted) of each, by the bundle without offsets.

    Raises:
        CannotJudge: the bundle does not know one of the anchors.
    """
    outcomes = bundle.kernels.efficiencies([(reading.work, reading.slice_) for reading in readings])
    found = []
    for reading, outcome in zip(readings, outcomes, strict=True):
        if isinstance(outcome, CannotJudge):
            raise CannotJudge(outcome.reason, f"anchor {reading.name}: {outcome.message}")
        alone = isolated(reading.work, reading.slice_, outcome, bundle.networks, Distance(nearest=nearest))
        found.append(np.log(reading.measured_ms / alone.median_ms))
    return np.array(found)


def is_heavy(reading: Reading) -> bool:
    """Whether an anchor's largest kernel is bound by arithmetic."""
    work = reading.work
    return bool(heavy(work)[int(np.argmax(np.maximum(work.column("flops"), work.bytes)))])


def _offset(errors: NDArray[np.float64], heavies: NDArray[np.bool_]) -> Offset:
    """Medians by class; a class without anchors takes the median of all."""
    centres, doubts = [], []
    for own in (heavies, ~heavies):
        some = errors[own] if own.any() else errors
        centres.append(float(np.median(some)))
        doubts.append(_SURE * _MAD_TO_SD * float(np.median(np.abs(some - centres[-1]))) / np.sqrt(len(some)))
    return Offset(centres[0], centres[1], float(max(doubts)))


def _left_over(errors: NDArray[np.float64], heavies: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What is left of each error by offsets that the other anchors gave."""
    found = np.empty(len(errors))
    for index in range(len(errors)):
        others = np.arange(len(errors)) != index
        offset = _offset(errors[others], heavies[others])
        found[index] = errors[index] - (offset.heavy if heavies[index] else offset.light)
    return found


def fit(readings: Sequence[Reading], bundle: Bundle, device: CpuDevice) -> Calibration:
    """Offsets of a machine from readings of anchors there. Pure: nothing is measured or written.

    Args:
        readings: of at most MOST_ANCHORS anchors, on any slices of whole cores.
        bundle: trained on other machines.
        device: the new machine's descriptor.

    Raises:
        CannotJudge: the machine is too far from all that were measured, or an anchor is unknown to the bundle.
        ValueError: too many or too few anchors, or a slice under a quota.
    """
    anchors = tuple(sorted({reading.name for reading in readings}))
    if not _LEAST_ANCHORS <= len(anchors) <= MOST_ANCHORS:
        raise ValueError(f"{len(anchors)} anchors; a calibration takes {_LEAST_ANCHORS} to {MOST_ANCHORS}")
    if any(reading.slice_.fractional for reading in readings):
        raise ValueError("an anchor was measured under a quota; measure anchors on whole cores")
    base = device_distance(device, bundle.devices).nearest
    offsets, left = {}, []
    errors, heavies = _log_errors(readings, bundle, base), np.array([is_heavy(reading) for reading in readings])
    threads = np.array([reading.slice_.threads for reading in readings])
    for count in sorted(set(threads.tolist())):
        own = threads == count
        offsets[str(count)] = _offset(errors[own], heavies[own])
        left.append(_left_over(errors[own], heavies[own]))
    millicores = tuple(sorted({reading.slice_.millicores for reading in readings}))
    after = float(np.mean(np.abs(np.concatenate(left))))
    return Calibration(offsets, anchors, len(readings), base, float(np.mean(np.abs(errors))), after, millicores)


def table(bundle: Bundle, calibration: Calibration) -> DeviceTable:
    """The new machine's table: that of the nearest measured device with the offsets."""
    base = bundle.networks.device(calibration.base_device)
    return replace(base, offsets=dict(calibration.offsets), anchors=calibration.readings, measured_millicores=calibration.millicores)


def model(bundle: Bundle, calibration: Calibration, name: str, files: Mapping[str, bytes]) -> NetworkModel:
    """The whole-network part with the new machine in it."""
    networks = bundle.networks.table
    return NetworkModel(replace(networks, devices={**networks.devices, name: table(bundle, calibration)}), files)


def write(base: Path, device: CpuDevice, calibration: Calibration, output: Path, made: Mapping[str, Any]) -> str:
    """Writes a bundle that knows the new machine too; what the base bundle says of its own errors and data stays.

    Args:
        base: folder of the bundle that was calibrated.
        device: the new machine.
        calibration: of it.
        output: folder to write; it is replaced.
        made: when and with which versions it was measured.

    Returns:
        The new bundle's version.

    Raises:
        BundleRefused: the base bundle is not whole.
    """
    bundle = load_bundle(base)
    manifest = json.loads((base / MANIFEST).read_bytes())
    files = {path: (base / path).read_bytes() for path in bundle.manifest.files}
    networks = bundle.networks.table
    files[NETWORKS] = canonical(asdict(replace(networks, devices={**networks.devices, str(device.name): table(bundle, calibration)})))
    files[f"{DEVICES}/{device.name}.json"] = descriptors.write_device(device)
    errors = {"before": calibration.before_log_error, "after": calibration.after_log_error}
    provenance = {
        "base": {"name": bundle.manifest.name, "version": bundle.manifest.version},
        "anchors": list(calibration.anchors),
        "readings": calibration.readings,
        "nearest_device": calibration.base_device,
        "mean_absolute_log_error_of_anchors": {name: round(value, 5) for name, value in errors.items()},
        "measured": dict(made),
    }
    calibrated = {**manifest["provenance"].get("calibrations", {}), str(device.name): provenance}
    return write_bundle(
        output,
        name=bundle.manifest.name,
        runtime=bundle.manifest.runtime,
        files=files,
        models=manifest["models"],
        provenance={**manifest["provenance"], "calibrations": calibrated},
        errors=manifest["errors"],
    )
