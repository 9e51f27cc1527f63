"""`stowplan slices`: which slices a GPU can be cut into, and what each has."""
# ruff: noqa: PLC0415 - what is heavy is imported by the command that needs it, so that --help starts at once

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from stowplan_cli.terminal import outputs
from stowplan_cli.terminal.exits import Refused
from stowplan_cli.terminal.outputs import Format, OutputOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from stowplan_fleet.gpus.catalogue import Gpu

# Ways of sharing that people set up; the device plugin takes any number of replicas up to 48.
_REPLICAS: Final = (2, 3, 4, 5, 6, 7, 8, 10)
_NOT_KNOWN: Final = "?"


def register(app: typer.Typer) -> None:
    """Adds the command of this module."""
    app.command()(slices)


def slices(
    device: Annotated[
        str, typer.Option("--device", metavar="PRODUCT", help="A GPU, as its node's label nvidia.com/gpu.product names it; all where not given.")
    ] = "",
    output: OutputOption = Format.TABLE,
) -> None:
    """List the slice classes of a GPU with their resources, or the GPUs that are known."""
    from stowplan_fleet.gpus.catalogue import find, gpus

    if not device:
        document: dict[str, Any] = {"gpus": [_gpu(gpu) for gpu in gpus()]}
        outputs.emit(document, output, lambda console: _print_gpus(console, document))
        return
    gpu = find(device)
    if gpu is None:
        raise Refused(f"--device {device}: no GPU of that name is in the catalogue; `stowplan slices` lists those that are")
    listed = {**_gpu(gpu), "sources": gpu.sources, "slices": list(_slices(gpu))}
    outputs.emit(listed, output, lambda console: _print_slices(console, listed))


def _gpu(gpu: "Gpu") -> dict[str, Any]:
    return {
        "device": gpu.product, "computeCapability": gpu.compute_capability, "multiprocessors": gpu.multiprocessors, "memoryBytes": gpu.memory_bytes,
        "bandwidthBytesPerSecond": gpu.bandwidth_bytes_per_second, "l2Bytes": gpu.l2_bytes, "fp32FlopsPerSecond": gpu.fp32_flops_per_second,
        "mig": gpu.mig is not None,
    }  # fmt: skip


def _slices(gpu: "Gpu") -> "Iterator[dict[str, Any]]":
    from stowplan_fleet.devices import GpuDevice
    from stowplan_fleet.errors import ShareRefused
    from stowplan_fleet.gpus.shares import doubt_of, share_of
    from stowplan_fleet.slices import DeviceName, mps_percent, parse_slice

    names = [("full", 1)]
    names += [(f"mig-{item.profile}", item.max_instances) for item in (gpu.mig.profiles if gpu.mig else ())]
    names += [(f"mps-{mps_percent(replicas)}", replicas) for replicas in _REPLICAS]
    names += [(f"time-{replicas}", replicas) for replicas in _REPLICAS]
    for name, most in names:
        part = parse_slice(name)
        try:
            share = share_of(GpuDevice(DeviceName(gpu.product)), part)
        except ShareRefused as error:
            yield {"slice": name, "mostOnOneGpu": most, "unknown": str(error)}
            continue
        doubt = doubt_of(gpu, part, share.multiprocessors)
        yield {
            "slice": name, "mostOnOneGpu": most, "multiprocessors": share.multiprocessors, "memoryBytes": share.memory_bytes,
            "bandwidthBytesPerSecond": round(share.bandwidth_bytes_per_second), "l2Bytes": share.l2_bytes, "fp32FlopsPerSecond": round(share.flops_per_second),
            "timeShare": share.time_share, "isolated": share.isolated, **({"doubt": doubt} if doubt else {}),
        }  # fmt: skip


def _print_gpus(console: "Console", document: dict[str, Any]) -> None:
    rows = [
        [
            gpu["device"], gpu["computeCapability"], str(gpu["multiprocessors"]), f"{gpu['memoryBytes'] / 2**30:.0f} GiB",
            f"{gpu['bandwidthBytesPerSecond'] / 1e9:.0f} GB/s", f"{gpu['fp32FlopsPerSecond'] / 1e12:.1f} T", "yes" if gpu["mig"] else "no",
        ]
        for gpu in document["gpus"]
    ]  # fmt: skip
    outputs.print_rows(console, ["device", "compute", "SMs", "memory", "bandwidth", "FP32 FLOP/s", "MIG"], rows)


def _print_slices(console: "Console", document: dict[str, Any]) -> None:
    console.print(f"{document['device']}: {document['multiprocessors']} SMs, compute capability {document['computeCapability']}", markup=False)
    rows = []
    for item in document["slices"]:
        if "unknown" in item:
            rows.append([item["slice"], str(item["mostOnOneGpu"]), *[_NOT_KNOWN] * 5, "?"])
            continue
        rows.append([
            item["slice"], str(item["mostOnOneGpu"]), str(item["multiprocessors"]), f"{item['memoryBytes'] / 2**30:.1f} GiB",
            f"{item['bandwidthBytesPerSecond'] / 1e9:.0f} GB/s", f"{item['l2Bytes'] / 2**20:.0f} MiB", f"{item['timeShare']:.0%}",
            "own" if item["isolated"] else "shared",
        ])  # fmt: skip
    outputs.print_rows(console, ["slice", "most", "SMs", "memory", "bandwidth", "L2", "time", "bandwidth and L2"], rows)
    for item in document["slices"]:
        if said := item.get("unknown") or item.get("doubt"):
            console.print(f"{item['slice']}: {said}", markup=False)
