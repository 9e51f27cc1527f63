"""Who measured what, where, when, how, and how noisy it was: what `provenance.json` of a data set says."""

import importlib.metadata
import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stowplan_fleet.devices import CpuDevice

from stowplan_predictor.measuring import networks, noises, references
from stowplan_predictor.training.campaigns import plans
from stowplan_predictor.training.data import noise_floors

_VERSIONED: Final = ("stowplan", "onnxruntime", "onnx", "numpy", "torch", "torchvision", "timm", "transformers")
# Tables whose rows are moments: they carry a date and a verdict on their noise.
_TIMED: Final = ("networks", "pairs", "loads", "randoms", "isolated")


def provenance(device: CpuDevice, rows: Mapping[str, Sequence[Any]], failed: Mapping[str, str], spreads: Mapping[str, float]) -> dict[str, Any]:
    """What a reader must know of a campaign to trust its rows, as plain JSON; `spreads` is how far the probes of the device itself spread."""
    timed = [table for table in _TIMED if rows.get(table)]
    measured = sorted(row.measured_at for table in timed for row in rows[table])
    slices = (*plans.WHOLE, *plans.FRACTIONAL)
    return {
        "host": platform.node(),
        "cpu": device.model,
        "cores": device.cores,
        "system": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "versions": {package: importlib.metadata.version(package) for package in _VERSIONED},
        "date": {"first": measured[0], "last": measured[-1]} if measured else {},
        "protocol": {
            "runtime": "onnxruntime, CPUExecutionProvider, ORT_ENABLE_ALL, inter-operator threads 1, intra-operator threads = cores of the slice",
            "placement": "fresh process pinned to the last cores; a CFS quota (period 100 ms) and no spinning where the slice is fractional",
            "limit_foreign_and_steal": noises.LIMIT,
            "limit_cv": networks.MAX_CV,
            "visits": "one process a network, one session a slice; profiled, then the quietest of several bursts without the profiler, in the same session",
            "limit_placed_slowdown": references.MAX_PLACED_SLOWDOWN,
            "attempts": networks.MAX_ATTEMPTS,
            "limit_product_slowdown": references.MAX_PRODUCT_SLOWDOWN,
            "limit_copy_slowdown": references.MAX_COPY_SLOWDOWN,
            "weights": "random: times, not accuracy, are the matter",
        },
        "rows": {table: len(given) for table, given in rows.items()},
        "noisy": {table: sum(row.noisy for row in rows[table]) for table in timed},
        "test_retest": {
            "visits": noise_floors.floors([row for row in rows["networks"] if row.repeat >= noise_floors.FIRST_VISIT], slices),
            "earlier_protocol": noise_floors.floors([row for row in rows["networks"] if row.repeat < noise_floors.FIRST_VISIT], slices),
            "random_networks": noise_floors.floors(rows["randoms"], plans.WHOLE),
        },
        "device_spreads": dict(spreads),
        "left_out": dict(failed),
    }
