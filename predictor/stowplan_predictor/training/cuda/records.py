"""What a reader must know of a machine to trust its rows: kept once for each machine, driver and set of versions."""

import importlib.metadata
import platform
import sys
from typing import Any, Final

from stowplan_predictor.measuring.processes import now_utc
from stowplan_predictor.training.cuda.machines import Machine
from stowplan_predictor.training.cuda.tables import GpuDataset

_VERSIONED: Final = ("stowplan", "torch", "triton", "torchvision", "timm", "transformers")


def machine_index(dataset: GpuDataset, machine: Machine) -> int:
    """Where this machine stands in the provenance; it is added where it is new."""
    document = provenance(machine)
    alike = [index for index, known in enumerate(dataset.machines) if {**known, "date": None, "state": None} == {**document, "date": None, "state": None}]
    if alike:
        return alike[0]
    dataset.machines.append(document)
    return len(dataset.machines) - 1


def provenance(machine: Machine) -> dict[str, Any]:
    """What a reader must know of a machine to trust its rows, as plain JSON."""
    gpu = machine.gpu
    return {
        "gpu": {"name": gpu.name, "driver": gpu.driver, "memoryMib": gpu.memory_mib, "computeMode": gpu.compute_mode, "mig": gpu.mig_enabled,
                "multiprocessors": machine.torch.multiprocessors, "computeCapability": machine.torch.compute_capability, "maxClockMhz": gpu.max_clock_mhz,
                "powerLimitWatts": gpu.power_limit_watts},
        "gpusInMachine": machine.gpus,
        "state": {"clockMhz": gpu.clock_mhz, "temperatureCelsius": gpu.temperature_celsius},
        "cuda": machine.torch.cuda,
        "versions": {name: _version(name) for name in _VERSIONED} | {"torch": machine.torch.version, "triton": machine.torch.triton},
        "python": sys.version.split()[0],
        "system": f"{platform.system()} {platform.release()}",
        "date": now_utc(),
        "protocol": {
            "precision": "float32, TF32 off", "weights": "random, seed 0", "clocks": "not fixed",
            "warmUp": "windows of 0.1 s until three in a row agree within 2 %, at most 2 s",
            "kernels": "torch.profiler (Kineto), ten runs, joined to the compiler's own provenance",
        },
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
